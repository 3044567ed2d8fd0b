"""SIGTERM: a spot node's notice, a deleted pod."""

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

log = logging.getLogger(__name__)

TERMINATED = 128 + signal.SIGTERM  # the status of a process that left on it


class Termination:
    """Whether SIGTERM has come."""

    def __init__(self) -> None:
        self.requested = False

    def leave_if_requested(self) -> None:
        """Ends the process where SIGTERM has come: to be called where nothing is to be saved."""
        if self.requested:
            self.leave()

    def leave(self) -> NoReturn:
        """Ends the process with status 143."""
        log.warning("SIGTERM: what is saved stays; the next attempt goes on from it")
        sys.exit(TERMINATED)


@contextmanager
def catch_sigterm() -> Iterator[Termination]:
    """Within the block SIGTERM only sets a flag, so that a training can save before it ends."""
    termination = Termination()

    def request(_signal: int, _frame: Any) -> None:
        termination.requested = True

    previous = signal.signal(signal.SIGTERM, request)
    try:
        yield termination
    finally:
        signal.signal(signal.SIGTERM, previous)
