"""A limit on the size of requests, before anything parses them."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
DISCARDED = 4  # times the limit


class BodyLimit:
    """ASGI middleware that answers status 413 to a request whose body is too large.

    Args:
        most: bytes.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], most: int) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await self._read(receive)
        if body is None:
            await self._refuse(send)
            return

        async def read_already() -> dict[str, Any]:
            return messages.pop() if messages else await receive()

        messages = [{"type": "http.request", "body": body, "more_body": False}]
        await self._app(scope, read_already, send)

    async def _read(self, receive: Receive) -> bytes | None:
        """The whole body; None where it is too large, or the client has gone."""
        body, size, more = bytearray(), 0, True
        # Who still sends when the connection closes never sees the answer, so some more is thrown away first.
        while more and size <= DISCARDED * self._most:
            message = await receive()
            part = message.get("body", b"")
            size += len(part)
            body += part if size <= self._most else b""
            more = message.get("more_body", False)
            if message["type"] == "http.disconnect":
                return None
        return bytes(body) if size <= self._most else None

    async def _refuse(self, send: Send) -> None:
        text = json.dumps({"error": f"the request is larger than {self._most:,} bytes"}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(text)).encode())]
        headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": text})
