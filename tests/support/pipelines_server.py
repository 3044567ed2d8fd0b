"""A server on 127.0.0.1 that stands in for Kubeflow Pipelines: HTTP, tokens, errors as it writes them."""

import email
import email.policy
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pipelines_api import CODES, PipelinesApi, Refused

USER = "ada@example.org"


class PipelinesServer(ThreadingHTTPServer):
    """Everything that was sent lies in `kept`, every request in `requests`.

    Args:
        token: what the server knows its user by; "" lets everybody in.
        version: what its v1 interface calls itself; None where it has no such interface.
        many_users: a server for many users; its own health is open to all.
        rights: see `PipelinesApi`.
    """

    def __init__(
        self,
        *,
        token: str = "",
        version: str | None = "2.17.0",
        many_users: bool = False,
        rights: set[tuple[str, str, str]] | None = None,
        page: int = 2,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.api = PipelinesApi(many_users=many_users, rights=rights, page=page)
        self.kept = self.api.kept
        self.token, self.version = token, version
        self.headers: list[dict[str, str]] = []
        self.requests: list[tuple[str, str]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, method: str, path: str, query: dict[str, str], body: Any, authorization: str) -> Any:
        """The answer to one request."""
        open_to_all = self.api.many_users and path.endswith("/healthz")
        if self.token and authorization != f"Bearer {self.token}" and not open_to_all:
            raise Refused(401, "Unauthenticated: Request header error: there is no user identity header.")
        self.api.user = USER
        if path == "/apis/v1beta1/healthz" and self.version is not None:
            return {"commit_sha": "0" * 40, "tag_name": self.version, "multi_user": self.api.many_users}
        if not path.startswith("/apis/v2beta1/"):
            raise Refused(404, "Not Found")
        return self.api.answer(method, path.removeprefix("/apis/v2beta1/"), query, body)


class _Handler(BaseHTTPRequestHandler):
    server: PipelinesServer

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def log_message(self, format: str, *args: Any) -> None:
        return None

    def _serve(self, method: str) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.headers.append(dict(self.headers))
        self.server.requests.append((method, parts.path))
        who = self.headers.get("Authorization") or ""
        try:
            self._send(200, self.server.answer(method, parts.path, query, self._body(raw), who))
        except Refused as refused:
            message = str(refused)
            error = {"error": message, "code": CODES[refused.status], "message": message, "details": []}
            if "/upload" in parts.path:
                error = {"error_message": "Failed to create a pipeline version", "error_details": message}
            self._send(refused.status, error)

    def _body(self, raw: bytes) -> Any:
        kind = self.headers.get("Content-Type") or ""
        if kind.startswith("multipart/"):
            header = f"Content-Type: {kind}\r\n\r\n".encode()
            message = email.message_from_bytes(header + raw, policy=email.policy.HTTP)
            part = next(message.iter_parts())  # type: ignore[attr-defined]
            return part.get_payload(decode=True).decode()  # type: ignore[union-attr]
        return json.loads(raw) if raw else {}

    def _send(self, status: int, answer: Any) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
