"""What a run on this machine prints: everything to its log, the stages' own lines to the screen."""

import contextlib
import io
import logging
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from components.core.project import TASK_NAMES

STAGE_LINE = re.compile(rf"\s*(\[(?:{'|'.join((*TASK_NAMES, 'alert'))})\b[^\]]*\] .*)")


class Console(io.TextIOBase):
    """Standard output during a run: all of it to the log, the stages' own lines to the screen."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("w", encoding="utf-8")
        self._screen = sys.stdout
        self._pending = ""
        self._start = time.perf_counter()
        self.failures: list[str] = []

    def write(self, text: str) -> int:
        """Takes text as it comes, in pieces of lines."""
        self._file.write(text)
        self._file.flush()
        *lines, self._pending = (self._pending + text).split("\n")
        for line in lines:
            self._show(line)
        return len(text)

    def _show(self, line: str) -> None:
        if match := STAGE_LINE.match(line):
            seconds = int(time.perf_counter() - self._start)
            print(f"{seconds // 60:3d}:{seconds % 60:02d} {match[1]}", file=self._screen, flush=True)
            if "] error: " in match[1]:
                self.failures.append(match[1])

    @contextlib.contextmanager
    def logging(self) -> Iterator[None]:
        """Sends the runner's own log lines to the log file alone."""
        root = logging.getLogger()
        handlers = root.handlers[:]
        root.handlers = [logging.StreamHandler(self._file)]
        try:
            yield
        finally:
            root.handlers = handlers

    def explain(self, error: Exception) -> None:
        """Says why the run ended and ends the process: status 2 for the user's input, else 1."""
        if self.failures:
            click.echo(f"\nThe run stopped. Everything it printed is in {self.path}.", err=True)
            sys.exit(2)
        tail = self.path.read_text(encoding="utf-8").splitlines()[-30:]
        if not any("Traceback" in line for line in tail):
            tail += ["", "Its process ended without a word: most likely the system killed it for its memory."]
        click.echo(
            "\n".join(["", *tail, "", f"A stage failed ({error}). The whole log: {self.path}"]), err=True
        )
        sys.exit(1)
