"""A store that speaks the part of S3's API that reads: it lists, sizes and sends objects."""

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

DATE = "Mon, 05 Jan 2026 03:00:00 GMT"


def error(code: str, message: str) -> bytes:
    """The answer to a request that is refused."""
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


class ObjectStore(ThreadingHTTPServer):
    """Listens on 127.0.0.1.

    Attributes:
        objects: "bucket/key" -> content.
        access_keys: ids of the keys that requests were signed with.
        sent: names of the objects whose content was sent.
        redirects: "bucket/key" -> the address that whoever asks for it is sent on to.
    """

    def __init__(self, objects: dict[str, bytes], *, access_key: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects, self.access_key = objects, access_key
        self.access_keys: set[str] = set()
        self.sent: list[str] = []
        self.redirects: dict[str, str] = {}
        self.address = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: ObjectStore  # type: ignore[assignment]

    def do_HEAD(self) -> None:
        self._answer(whole=False)

    def do_GET(self) -> None:
        self._answer(whole=True)

    def _answer(self, *, whole: bool) -> None:
        signed = re.search(r"Credential=([^/]+)/", self.headers.get("Authorization", ""))
        self.server.access_keys.add(signed[1] if signed else "")
        address = urlsplit(self.path)
        name, query = unquote(address.path).strip("/"), parse_qs(address.query, keep_blank_values=True)
        if not signed or signed[1] != self.server.access_key:
            self._send(403, error("InvalidAccessKeyId", "No such key."), whole)
        elif "list-type" in query:
            self._send(200, self._listed(name, query.get("prefix", [""])[0]), whole)
        elif name in self.server.redirects:
            self._send(307, b"", whole, Location=self.server.redirects[name])
        elif name in self.server.objects:
            self.server.sent += [name] if whole else []
            self._send(200, self.server.objects[name], whole)
        else:
            self._send(404, error("NoSuchKey", "Not here."), whole)

    def _listed(self, bucket: str, prefix: str) -> bytes:
        entries = [
            f"<Contents><Key>{escape(name.partition('/')[2])}</Key><Size>{len(content)}</Size>"
            "<LastModified>2026-01-05T03:00:00.000Z</LastModified><ETag>1</ETag></Contents>"
            for name, content in self.server.objects.items()
            if name.startswith(f"{bucket}/{prefix}")
        ]
        return f"<ListBucketResult>{''.join(entries)}</ListBucketResult>".encode()

    def _send(self, status: int, content: bytes, whole: bool, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Last-Modified", DATE)
        self.send_header("ETag", '"1"')
        self.end_headers()
        if whole:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass
