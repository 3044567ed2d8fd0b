"""A stand-in for the webhook of a chat, which remembers what is posted."""

import http.server
import json
import threading
from typing import Any


class Webhook:
    """A web server that takes what is posted, and remembers it."""

    def __init__(self) -> None:
        self.posted: list[Any] = []
        self.status = 200
        own = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                own.posted.append((self.headers["Content-Type"], json.loads(body)))
                self.send_response(own.status)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/services/SECRET"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def texts(self) -> list[str]:
        """The messages."""
        return [body["text"] for _, body in self.posted]

    def close(self) -> None:
        """Ends the server."""
        self._server.shutdown()
        self._server.server_close()
