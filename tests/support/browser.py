"""A real Chromium, headless, driven by its DevTools protocol: what a page shows, says and asks for."""

import base64
import html
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import websocket

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --remote-debugging-port=0"
)
HEARD = ("Runtime", "Log", "Network")
PATIENCE = 60  # seconds until the browser is given up


def find_chromium() -> str | None:
    """The browser's path; None where none is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A browser with a profile of its own; a context manager.

    Attributes:
        console: every warning, error and exception that pages wrote, since the start.
        requests: every address asked for that is neither a file nor part of a page.
        dialogs: the messages of alerts and the like; each is dismissed.
    """

    def __init__(self, chromium: str) -> None:
        self.console: list[str] = []
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        self._numbers = itertools.count(1)
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        command = [chromium, *OPTIONS.split(), f"--user-data-dir={self._profile.name}", "about:blank"]
        environment = {**os.environ, "HOME": self._profile.name}
        self._process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            self._socket = websocket.create_connection(
                self._page_address(), timeout=PATIENCE, suppress_origin=True
            )
        except BaseException:
            self.close()
            raise
        for domain in ("Page", *HEARD):
            self.call(f"{domain}.enable")
        # Sandboxed frames are processes of their own: listen to them too.
        self.call("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=False, flatten=True)

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self.close()

    def close(self) -> None:
        """Ends the browser and forgets its profile."""
        self._process.terminate()
        self._process.wait(PATIENCE)
        self._profile.cleanup()

    def _page_address(self) -> str:
        port_file = Path(self._profile.name) / "DevToolsActivePort"
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            lines = port_file.read_text().splitlines() if port_file.exists() else []
            if len(lines) == 2:
                with urllib.request.urlopen(f"http://127.0.0.1:{lines[0]}/json/list") as answer:
                    pages = [entry for entry in json.load(answer) if entry["type"] == "page"]
                if pages:
                    return pages[0]["webSocketDebuggerUrl"]
            time.sleep(0.1)
        raise TimeoutError(f"no page within {PATIENCE} s: {self._process.args}")

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Sends a command and waits for its answer; events in between are noted."""
        number = self._send(method, arguments)
        while (message := self._receive()).get("id") != number:
            pass
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']}")
        return message["result"]

    def _receive(self) -> dict[str, Any]:
        message = json.loads(self._socket.recv())
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, event: Mapping[str, Any]) -> None:
        if method == "Runtime.consoleAPICalled":
            self.console.append(" ".join(str(value.get("value", value)) for value in event["args"]))
        elif method == "Runtime.exceptionThrown":
            self.console.append(event["exceptionDetails"]["text"])
        elif method == "Log.entryAdded":
            self.console.append(event["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            address = event["request"]["url"]
            if not address.startswith(("file:", "data:", "about:")):
                self.requests.append(address)
        elif method == "Page.javascriptDialogOpening":
            self.dialogs.append(event["message"])
            self._send("Page.handleJavaScriptDialog", {"accept": False})
        elif method == "Target.attachedToTarget":
            for domain in HEARD:
                self._send(f"{domain}.enable", {}, sessionId=event["sessionId"])

    def _send(self, method: str, arguments: Mapping[str, Any], **more: str) -> int:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": arguments, **more}))
        return number

    def visit(self, page: Path, *, settle: float = 0.3) -> None:
        """Opens a file, waits until it has loaded, and `settle` seconds more for what it then starts."""
        self.call("Page.navigate", url=page.resolve().as_uri())
        while self.evaluate("document.readyState") != "complete":
            time.sleep(0.05)
        time.sleep(settle)
        self.evaluate("1")  # takes in the events of that time

    def forget(self) -> None:
        """Empties what was noted."""
        self.console.clear()
        self.requests.clear()
        self.dialogs.clear()

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def look(self, *, width: int, scheme: str = "light", media: str = "screen") -> None:
        """Sets the window's width in pixels, light or dark, and screen or print."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def picture(self, *, top: int = 0, height: int | None = None, scale: float = 1) -> bytes:
        """The page as PNG: all of it, or `height` pixels from `top` on."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        shown = height or size["height"] - top
        clip = {"x": 0, "y": top, "width": size["width"], "height": shown, "scale": scale}
        answer = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(answer["data"])


def framed(pages: list[str]) -> str:
    """A page that shows others as the pipelines UI does: in sandboxed frames that may run scripts."""
    frames = "".join(
        f'<iframe sandbox="allow-scripts" width="900" height="600" srcdoc="{html.escape(page)}"></iframe>'
        for page in pages
    )
    hear = "<script>addEventListener('message', event => { document.title = event.data })</script>"
    return f"<!doctype html><title>calm</title>{hear}{frames}"


def check_calm(browser: Browser, pages: list[Path], scratch: Path) -> None:
    """Opens every page as a file, wide and narrow, and all of them in sandboxed frames.

    Raises:
        AssertionError: a page ran a script, asked for something, opened a dialog, wrote to the console, or
            is wider than its window.
    """
    browser.forget()
    for page in pages:
        for width in (1100, 400):
            browser.look(width=width)
            browser.visit(page)
            assert browser.evaluate("document.querySelectorAll('h1').length") == 1, page
            assert browser.evaluate("document.title") != "PWNED", page
            wider = browser.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wider <= 0, f"{page} is {wider} pixels wider than a window of {width}"
    frame = scratch / "frames.html"
    frame.write_text(framed([page.read_text(encoding="utf-8") for page in pages]), encoding="utf-8")
    browser.visit(frame, settle=1)
    assert browser.evaluate("document.title") == "calm"
    assert browser.console == []
    assert browser.requests == []
    assert browser.dialogs == []
