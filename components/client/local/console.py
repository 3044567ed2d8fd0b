"""What a run on this machine prints: everything to its log, the stages' own lines to the screen."""

import contextlib
import io
import logging
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

import click

from components.core.project import STAGES, TASK_NAMES
from components.core.stage import REUSED

STAGE_LINE = re.compile(rf"\s*(\[(?:{'|'.join((*TASK_NAMES, 'alert'))})\b[^\]]*\] .*)")
EPOCHS = re.compile(r"of (\d+) epochs: epoch (\d+),.* seconds ([\d.]+)")
QUIET = 10  # seconds after which the screen says what is at work
NUMBER = {stage.name: number for number, stage in enumerate(STAGES, 1)}


class Console(io.TextIOBase):
    """Standard output during a run: all of it to the log, the stages' own lines to the screen.

    Args:
        path: of the log.
        earlier: when each task of an earlier run into the same folder ended, in seconds from its start.

    Attributes:
        failures: the stages' errors.
        ended: when each task of this run ended.
        reused: whether one was taken over from an earlier run.
    """

    def __init__(self, path: Path, earlier: Mapping[str, float] = {}) -> None:
        self.path, self.earlier = path, earlier
        self._file = path.open("w", encoding="utf-8")
        self._screen = sys.stdout
        self._pending = ""
        self._start = time.perf_counter()
        self.failures: list[str] = []
        self.ended: dict[str, float] = {}
        self.reused = False
        self._shown, self._at_work = self._start, {}
        self._left: dict[str, float] = {}  # task -> when its epochs will have ended, by the last one's time

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
            self._print(match[1])
            self._note(match[1])
            if "] error: " in match[1]:
                self.failures.append(match[1])

    def _print(self, text: str) -> None:
        self._shown = time.perf_counter()
        seconds = int(self._shown - self._start)
        print(f"{seconds // 60:3d}:{seconds % 60:02d} {text}", file=self._screen, flush=True)

    def _note(self, line: str) -> None:
        task, _, said = line[1:].partition("] ")
        if said == "started":
            self._at_work[task] = time.perf_counter()
        elif said.startswith(("finished", "error", REUSED)):
            self._at_work.pop(task, None)
            self.ended[task] = time.perf_counter() - self._start
            self.reused |= said.startswith(REUSED)
        elif found := EPOCHS.search(said):
            left = (int(found[1]) - int(found[2])) * float(found[3])
            self._left[task] = time.perf_counter() + left

    def at_work(self) -> str:
        """What is at work: each task, its place among the stages, and how long its epochs still take."""
        now, parts = time.perf_counter(), []
        for task, since in list(self._at_work.items()):
            number = NUMBER.get(task.split(" ")[0])
            place = f"stage {number} of {len(STAGES)}, " if number else ""
            left = self._left.get(task, 0) - now
            much = f", about {_duration(left)} left of its epochs" if left > 0 else ""
            parts.append(f"{place}{task}: at work for {_duration(now - since)}{much}")
        return ("; ".join(parts) or "between two tasks") + self._left_of_all()

    def _left_of_all(self) -> str:
        """How long the rest of the run still takes, where an earlier one shows how long its tasks take."""
        known = [task for task in self.ended if task in self.earlier]
        if not known:
            return ""
        last = max(known, key=self.earlier.__getitem__)
        since = time.perf_counter() - self._start - self.ended[last]
        left = max(self.earlier.values()) - self.earlier[last] - since
        return f"; about {_duration(left)} left of the run, going by the last one here" if left > 0 else ""

    @contextlib.contextmanager
    def ticking(self) -> Iterator[None]:
        """Says what is at work whenever the screen has been quiet for ten seconds."""
        ended = threading.Event()

        def tick() -> None:
            while not ended.wait(1):
                if time.perf_counter() - self._shown >= QUIET:
                    self._print(f"... {self.at_work()}")

        thread = threading.Thread(target=tick, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

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

    def stopped(self) -> NoReturn:
        """Says how a run that somebody stopped goes on, and ends the process with status 130."""
        click.echo(
            "\nStopped. Start it again with the same command: it goes on from its finished stages, and in a "
            f"training from its last epoch. Everything it printed is in {self.path}.",
            err=True,
        )
        sys.exit(130)

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


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
