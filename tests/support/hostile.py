"""A catalog that means harm, and a web server that notices who asks for what."""

import csv
import http.server
import io
import json
import threading
import zipfile
from pathlib import Path

from PIL import Image

SPEAK = "document.title='PWNED';parent.postMessage('PWNED','*')"
SHOUT = f"{SPEAK};alert(1)"
OVERRIDE, ZERO_WIDTH = "\u202e", "\u200b"
EVERY = 7  # one product in so many means harm


def hostile_titles(address: str) -> list[str]:
    """Titles that run a script, ask `address` for something, or break the page, if nobody stops them."""
    return [
        f"<script>{SHOUT}</script>",
        f'"><img src="{address}/img" onerror="{SHOUT}">',
        f"</title></style></svg><svg onload={SHOUT}>",
        f'<a href="javascript:{SHOUT}">free</a> <link rel=stylesheet href={address}/css>',
        f"<style>body{{background:url({address}/bg)}}</style>{{{{ 7 * 7 }}}}",
        f"cheap {OVERRIDE}gpj.exe{ZERO_WIDTH} \ufeffname",
        "W" * 5_000,
        "a" + "\u0301" * 300,
        # Never closed, so no tag for a cleaner to find; a browser would close it at the next one.
        f'<img src={address}/open onerror="{SHOUT}" ',
        '=HYPERLINK("http://localhost:9")',
    ]


def poison(catalog: dict[str, str], address: str) -> None:
    """Puts hostile titles, class names, and pictures' EXIF texts into a sample catalog."""
    titles = hostile_titles(address)
    for name in ("products", "test_products"):
        _poison_titles(Path(catalog[name]), titles)
    for name in ("images", "test_images"):
        _poison_images(Path(catalog[name]), titles[0])
    path = Path(catalog["class_names"])
    names = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**names, **dict(zip(names, titles, strict=False))}), encoding="utf-8")


def _poison_titles(path: Path, titles: list[str]) -> None:
    plain = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None}
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, **plain)
    at = header.index("Title")
    for number, row in enumerate(rows[::EVERY]):
        row[at] = f"{titles[number % len(titles)]} {row[at]}"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n", **plain).writerows([header, *rows])


def _poison_images(path: Path, text: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = text  # the image's description
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for number, (name, data) in enumerate(files.items()):
            if number % EVERY == 0:
                file = io.BytesIO()
                with Image.open(io.BytesIO(data)) as image:
                    image.save(file, "JPEG", exif=exif, comment=text.encode())
                data = file.getvalue()
            archive.writestr(name, data)


class Listener:
    """A web server that remembers what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(404)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Ends the server."""
        self._server.shutdown()
        self._server.server_close()
