"""Posts a text to a webhook that takes what Slack's takes: {"text": ...}."""

import http.client
import json
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from typing import Any

from components.core.errors import InputError

VARIABLE = "ALERT_WEBHOOK"  # its address, which is a secret: whoever knows it can post
TIMEOUT = 10.0  # seconds
WAITS = (1.0, 4.0)  # seconds before another try, where nobody was reached


def webhook() -> Callable[[str], None] | None:
    """What posts to the webhook of the environment; None where there is none."""
    address = os.environ.get(VARIABLE, "").strip()
    return partial(post, address) if address else None


def post(address: str, text: str) -> None:
    """Posts a text once. A second try is made only where the first reached nobody.

    Raises:
        InputError: it was not taken; the message does not hold the address.
    """
    if not address.startswith(("http://", "https://")):
        raise InputError(f"{VARIABLE}: expected an address that starts with https://")
    body = json.dumps({"text": text}).encode()
    headers = {"Content-Type": "application/json"}
    for wait in (*WAITS, None):
        try:
            request = urllib.request.Request(address, body, headers)
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT):
                return
        except urllib.error.HTTPError as error:
            raise InputError(f"{VARIABLE}: the webhook answers {error.code} {error.reason}") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            if wait is None or not _reached_nobody(error):
                raise InputError(f"{VARIABLE}: {_why(error)}") from None
            time.sleep(wait)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Another address would be asked without the text."""


def _reached_nobody(error: Exception) -> bool:
    return isinstance(getattr(error, "reason", None), ConnectionRefusedError | socket.gaierror)


def _why(error: Exception) -> str:
    found = getattr(error, "reason", error)
    cause = found.strerror if isinstance(found, OSError) and found.strerror else type(found).__name__
    return f"nobody answers ({cause})"
