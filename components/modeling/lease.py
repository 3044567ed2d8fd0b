"""Who trains in which folder, where several runs share a volume.

A folder is held by its file `lease-<number>` of the highest number. It names the run that trains there, and
a thread touches it twice a minute. Who takes a folder over creates the next number, which a file system,
shared or not, grants to one alone (O_EXCL). Ages are measured by the file system's own clock: nodes' differ.
"""

import json
import logging
import os
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from components.core.environment import CHECKPOINT_DAYS_VARIABLE, run_id
from components.core.errors import InputError
from components.core.reading import parse_json_object
from components.modeling.processes import from_first, process_rank

log = logging.getLogger(__name__)

DAYS = "14"  # without the variable
RENEW_SECONDS = 30.0
DEAD_SECONDS = 300.0  # so long without a renewal: longer than any pause of a volume that is in order
FOLDER = re.compile(r"[0-9a-f]{16}(-[\w.-]+)?")


@contextmanager
def training_folder(root: Path | None, training: str) -> Iterator[Callable[[], Path] | None]:
    """Gives what names the folder of a training's checkpoints, held for this run while the block lasts.

    That is the folder in which a run of the same training was stopped, or one with this run's own name where
    another run is at work there. It is to be asked anew at every save: a run that was cut off from the volume
    for so long that another took its place goes on in a folder of its own. Of processes that train together
    number 0 alone holds the lease and may save.

    Args:
        root: the folder of all trainings, on a cluster a mounted volume; None keeps nothing.
        training: the `fingerprint` of the training.
    """
    if root is None:
        yield None
    elif process_rank() > 0:
        folder = from_first(None)
        yield lambda: folder
    else:
        _remove_untouched(root)
        lease = _Lease(root, training[:16])
        from_first(lease.folder())
        try:
            yield lease.folder
        finally:
            lease.release()


def remove_training(folder: Path) -> None:
    """Deletes a training's folder, unless another run has begun to train there."""
    lease = _take(folder, wait=False) if folder.exists() else None
    if lease is None:
        return
    for path in folder.iterdir():  # the lease goes last: as long as it is there nobody comes in
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path != lease:
            path.unlink(missing_ok=True)
    lease.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def _this_run() -> str:
    """The run's id; without one this process."""
    return run_id() or f"{socket.gethostname()}-{os.getpid()}"


class _Lease:
    def __init__(self, root: Path, training: str) -> None:
        self.own = root / f"{training}-{re.sub(r'[^A-Za-z0-9_.-]', '_', _this_run())}"
        # A retry of a run that had to have a folder of its own goes on there.
        self.file = (not self.own.exists() and _take(root / training, wait=True)) or self._move()
        if self.file.parent == self.own:
            log.warning("another run trains in %s: this one keeps its checkpoints in %s", training, self.own)
        self.ended = threading.Event()
        self.renewal = threading.Thread(target=self._renew, daemon=True)
        self.renewal.start()

    def folder(self) -> Path:
        if _newest(self.file.parent) != self.file:
            log.warning("another run has taken %s over: this one goes on in %s", self.file.parent, self.own)
            self.file = self._move()
        return self.file.parent

    def release(self) -> None:
        self.ended.set()
        self.renewal.join()
        with suppress(OSError):
            os.utime(self.file, (0, 0))  # older than any that is alive

    def _move(self) -> Path:
        file = _take(self.own, wait=False)
        if file is None:
            raise RuntimeError(f"{self.own}: held by another run, though it has this run's name")
        return file

    def _renew(self) -> None:
        while not self.ended.wait(RENEW_SECONDS):
            with suppress(OSError):  # taken over, or the volume is away for a while
                os.utime(self.file)


def _take(folder: Path, *, wait: bool) -> Path | None:
    """The folder's lease, ours now; None where another run is at work there.

    Args:
        wait: watch a lease whose run may have died until it is renewed or too old.
    """
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        current = _newest(folder)
        number = int(current.name.removeprefix("lease-")) if current else 0
        ours = folder / f"lease-{number + 1:06d}"
        try:
            if current and not _is_free(current, wait=wait):
                return None
            with ours.open("x", encoding="utf-8") as file:
                json.dump(
                    {"run": _this_run(), **_process(), "since": time.strftime("%Y-%m-%dT%H:%M:%S%z")}, file
                )
        except (FileExistsError, FileNotFoundError):
            continue  # another run was faster, or has just removed the folder
        for old in folder.glob("lease-*"):
            if old.name < ours.name:
                old.unlink(missing_ok=True)
        return ours


def _newest(folder: Path) -> Path | None:
    return max(folder.glob("lease-*"), default=None)


def _is_free(lease: Path, *, wait: bool) -> bool:
    holder = _holder(lease)
    if holder.get("run") == _this_run() or _has_ended(holder):
        return True
    seen = lease.stat().st_mtime
    if wait and _now(lease.parents[1]) - seen <= DEAD_SECONDS:
        log.info("%s: run %s may be at work there; watching", lease.parent, holder.get("run", "unknown"))
    while True:
        renewed = lease.stat().st_mtime
        if _now(lease.parents[1]) - renewed > DEAD_SECONDS:
            return True
        if renewed != seen or not wait:
            return False
        time.sleep(RENEW_SECONDS / 10)


def _holder(lease: Path) -> dict[str, Any]:
    try:
        return parse_json_object(lease.read_bytes())
    except ValueError:  # its run is just writing it
        return {}


def _process() -> dict[str, Any]:
    """This process, and where its number means this process: a boot of a machine, a namespace."""
    machine = socket.gethostname()
    with suppress(OSError):  # not on every system
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        machine = f"{machine} {boot} {os.readlink('/proc/self/ns/pid')}"
    return {"machine": machine, "pid": os.getpid()}


def _has_ended(holder: dict[str, Any]) -> bool:
    if holder.get("machine") != _process()["machine"]:
        return False
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _now(folder: Path) -> float:
    """The time by the clock of the folder's file system."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock-") as probe:
        os.utime(probe.name)
        return os.stat(probe.name).st_mtime


def _remove_untouched(root: Path) -> None:
    given = os.environ.get(CHECKPOINT_DAYS_VARIABLE) or DAYS
    try:
        days = float(given)
    except ValueError as error:
        raise InputError(
            f"{CHECKPOINT_DAYS_VARIABLE} = {given!r}: expected a number of days, 0 for no limit"
        ) from error
    if not days or not root.is_dir():
        return
    oldest = _now(root) - days * 24 * 3600
    for folder in root.iterdir():
        if not FOLDER.fullmatch(folder.name):
            continue
        try:
            if max(path.stat().st_mtime for path in (folder, *folder.rglob("*"))) < oldest:
                log.info("%s: untouched for %g days (%s), removed", folder, days, CHECKPOINT_DAYS_VARIABLE)
                remove_training(folder)
        except OSError as error:  # another run is removing it, or it is another user's
            log.info("%s: left alone: %s", folder, error)
