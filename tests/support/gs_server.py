"""A stand-in for Google Cloud Storage: the part of its JSON API that a store of models needs.

Written from cloud.google.com/storage/docs/json_api; no real bucket has been tried.
"""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


class GoogleStorage(ThreadingHTTPServer):
    """Listens on 127.0.0.1.

    Attributes:
        objects: "bucket/key" -> (generation, content).
        keeps_conditions: whether ifGenerationMatch counts.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, tuple[int, bytes]] = {}
        self.keeps_conditions = True
        self.lock = threading.Lock()
        self.address = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: GoogleStorage  # type: ignore[assignment]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        bucket, key, query = self._asked()
        if not key:
            self._list(bucket, query.get("prefix", ""), query.get("delimiter", ""))
        elif (found := self.server.objects.get(f"{bucket}/{key}")) is None:
            self._refuse(404, "No such object")
        elif query.get("alt") == "media":
            self._send(200, found[1])
        else:
            self._answer(_described(bucket, key, *found))

    def do_POST(self) -> None:
        bucket, _, query = self._asked()
        content = self.rfile.read(int(self.headers["Content-Length"]))
        key = query.get("name", "")
        if query["uploadType"] == "multipart":
            described, content = re.findall(rb"\r?\n\r?\n(.*?)\r?\n--==0==", content, re.DOTALL)
            key = json.loads(described)["name"]
        condition = query.get("ifGenerationMatch")
        with self.server.lock:
            generation, _ = self.server.objects.get(f"{bucket}/{key}", (0, b""))
            if self.server.keeps_conditions and condition not in (None, str(generation)):
                self._refuse(412, "At least one of the pre-conditions you specified did not hold.")
                return
            self.server.objects[f"{bucket}/{key}"] = generation + 1, content
        self._answer(_described(bucket, key, generation + 1, content))

    def do_DELETE(self) -> None:
        bucket, key, _ = self._asked()
        found = self.server.objects.pop(f"{bucket}/{key}", None)
        self._send(204, b"") if found else self._refuse(404, "No such object")

    def _asked(self) -> tuple[str, str, dict[str, str]]:
        """Bucket, key and query of a request for /b/BUCKET/o/KEY."""
        address = urlsplit(self.path)
        _, _, rest = address.path.partition("/b/")
        bucket, _, key = rest.partition("/o")
        return (
            bucket,
            unquote(key.strip("/")),
            {name: values[0] for name, values in parse_qs(address.query).items()},
        )

    def _list(self, bucket: str, prefix: str, delimiter: str) -> None:
        items, folders = [], set()
        for name, found in sorted(self.server.objects.items()):
            key = name.removeprefix(f"{bucket}/")
            inner = key.removeprefix(prefix)
            if not key.startswith(prefix):
                continue
            if delimiter and delimiter in inner:
                folders.add(prefix + inner.partition(delimiter)[0] + delimiter)
            else:
                items.append(_described(bucket, key, *found))
        self._answer({"kind": "storage#objects", "items": items, "prefixes": sorted(folders)})

    def _answer(self, value: dict) -> None:
        self._send(200, json.dumps(value).encode())

    def _refuse(self, status: int, message: str) -> None:
        self._send(status, json.dumps({"error": {"code": status, "message": message}}).encode())

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        return None


def _described(bucket: str, key: str, generation: int, content: bytes) -> dict[str, str]:
    counts = {"generation": str(generation), "size": str(len(content))}
    return {"bucket": bucket, "name": key, "updated": "9999-01-01T00:00:00.000Z", **counts}
