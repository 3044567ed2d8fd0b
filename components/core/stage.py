"""Runs one stage as a process of its own: log lines, errors for people, reuse of finished work."""

import errno
import hashlib
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Protocol

from components.core.artifacts import read_manifest, sha256, write_manifest, write_text
from components.core.environment import FINISHED_VARIABLE, LOCK_VARIABLE
from components.core.errors import InputError
from components.core.project import TASKS
from components.core.reading import reason

log = logging.getLogger(__name__)

REUSED = "unchanged: taken over from an earlier run"  # what a stage says of finished work

CODE = Path(__file__).parents[1]
# What ships in a stage's image beside its own folder: only this code can change what it computes.
SHARED = ("core", "data", "modeling", "reports")
# What a stage computes with; other versions may compute something else.
LIBRARIES = (
    "cleanlab",
    "numpy",
    "pandas",
    "scikit-learn",
    "timm",
    "tokenizers",
    "torch",
    "torchvision",
    "transformers",
)


@dataclass(frozen=True)
class Result:
    """What a stage's work returns beside the files that it wrote.

    Attributes:
        metrics: scalars for the pipelines UI, all finite.
        report: the stage's report, one HTML page; "" of a task without one.
    """

    metrics: Mapping[str, float]
    report: str = ""


class Artifact(Protocol):
    """What Kubeflow Pipelines gives a component for an input or an output."""

    @property
    def path(self) -> str: ...


class Metrics(Protocol):
    """Where a component's scalars go."""

    def log_metric(self, metric: str, value: float) -> None: ...


def paths_of(**artifacts: Any) -> dict[str, Any]:
    """The paths of a component's artifacts, by name; a list of them for a list of artifacts."""
    return {
        name: [Path(each.path) for each in artifact] if isinstance(artifact, list) else Path(artifact.path)
        for name, artifact in artifacts.items()
    }


def run_stage(
    stage: str,
    work: Callable[[], Result],
    *,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Path],
    metrics: Metrics | None = None,
    report: Artifact | None = None,
    label: str = "",
    reuse: bool = True,
) -> Mapping[str, float]:
    """Does a stage's work, or takes over what an earlier run left where nothing changed; returns its metrics.

    Unchanged means: the same inputs (files and folders by content), parameters, versions of the libraries
    it computes with, and code (the stage's rooms and what ships beside them in every stage's image).

    Args:
        stage: name of the stage and of its folder.
        work: what to do.
        inputs: parameters, paths of files or folders, and functions that return the state of what lies
            elsewhere; they are called where finished work is kept.
        outputs: the paths that `work` writes.
        metrics: where its metrics go; `report` likewise; None for nowhere.
        label: tells tasks of one stage apart in the log.
        reuse: whether finished work may be taken over; not where the work is more than its outputs.

    Raises:
        SystemExit: with status 2 where the user's input is wrong; the message is on stdout.
    """
    with process_of(f"{stage} {label}".strip()):
        every = {**outputs, **({"report": Path(report.path)} if report else {})}
        finished = os.environ.get(FINISHED_VARIABLE) if reuse else None
        folder = Path(finished) / f"{stage}-{_key(stage, inputs)[:24]}" if finished else None
        scores = _reuse(folder, every) if folder else None
        if scores is None:
            scores = _timed(work, every.get("report"))
            if folder:
                _keep(folder, every, scores)
    if metrics is not None:
        for name, value in scores.items():
            metrics.log_metric(name, value)
    return scores


@contextmanager
def process_of(name: str) -> Iterator[None]:
    """What a task does in a process of its own: it marks its log lines with `name`, and ends with its run.

    Raises:
        SystemExit: with status 2 where the user's input is wrong; the message is on stdout.
    """
    logging.basicConfig(level=logging.WARNING, format=f"[{name}] %(message)s", stream=sys.stdout, force=True)
    logging.getLogger("components").setLevel(logging.INFO)
    if lock := os.environ.get(LOCK_VARIABLE):
        threading.Thread(target=_end_with_the_run, args=(lock,), daemon=True).start()
    try:
        yield
    except InputError as error:
        # Every line is marked as the stage's: a run shows marked lines alone.
        log.error("error: %s", str(error).replace("\n", f"\n[{name}] "))
        sys.exit(2)
    except (OSError, MemoryError, RuntimeError) as error:
        if not (cause := _limit(error)):
            raise
        log.error("error: %s (%s)", cause, reason(error))
        sys.exit(1)


def _limit(error: Exception) -> str:
    """What to do about a limit of the machine that an error comes from; "" for any other error."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, MemoryError) or number == errno.ENOMEM or "not enough memory" in str(error):
        return "the memory ran out: give the stage more, or take smaller batches"
    if number in (errno.ENOSPC, errno.EDQUOT):
        return f"a disk is full: free some space, in {tempfile.gettempdir()} (TMPDIR) too, and start again"
    if number == errno.EAGAIN or "can't start new thread" in str(error):
        return "no further process or thread may start: raise the limit of processes (pids)"
    if number in (errno.EMFILE, errno.ENFILE):
        return "no further file may be opened: raise the limit of open files"
    return ""


def _end_with_the_run(lock: str) -> None:
    # A run that was killed cannot stop its stages: they would compute on beside the next one.
    # Not at the top: only a run on one machine has it installed.
    from filelock import FileLock

    FileLock(lock).acquire(poll_interval=1)
    log.warning("the run has ended: this stage ends too")
    os.kill(os.getpid(), signal.SIGTERM)


def _timed(work: Callable[[], Result], report: Path | None) -> dict[str, float]:
    start = time.perf_counter()
    log.info("started")
    result = work()
    if report:
        write_text(report, result.report)
    log.info("finished in %.0f s", time.perf_counter() - start)
    return dict(result.metrics)


def _key(stage: str, inputs: Mapping[str, Any]) -> str:
    rooms = next(task.rooms for task in TASKS if task.name == stage)
    files = [path for room in (*SHARED, *rooms) for path in (CODE / room).rglob("*") if path.is_file()]
    code = {str(path.relative_to(CODE)): sha256(path) for path in files if path.suffix != ".pyc"}
    versions = {name: one.version for name in LIBRARIES for one in distributions(name=name)}
    contents = {name: described(value) for name, value in inputs.items()}
    return hashlib.sha256(json.dumps([code, versions, contents], sort_keys=True).encode()).hexdigest()


def described(value: Any) -> Any:
    """What changes when an input does, as JSON: a path by its files' digests, a function by its result."""
    if callable(value):
        return described(value())
    if isinstance(value, Path):
        files = [value] if value.is_file() else sorted(path for path in value.rglob("*") if path.is_file())
        return [[str(path.relative_to(value)), sha256(path)] for path in files]
    if isinstance(value, list):
        return [described(item) for item in value]
    return value


def _reuse(folder: Path, outputs: Mapping[str, Path]) -> dict[str, float] | None:
    """Links what a manifest lists in `folder` and returns its metrics; None where something is not right."""
    if not folder.exists():
        return None
    try:
        manifest = read_manifest(folder)
    except (InputError, OSError) as error:
        log.warning("what an earlier run finished cannot be used and is made again: %s", error)
        return None
    for name, path in outputs.items():
        _remove(path)
        if (folder / name).is_dir():
            path.mkdir(parents=True)
    for file in manifest["files"]:
        name, _, inner = file.partition("/")
        _link(folder / file, outputs[name] / inner if inner else outputs[name])
    log.info(REUSED)
    return manifest["metrics"]


def _keep(folder: Path, outputs: Mapping[str, Path], metrics: dict[str, float]) -> None:
    _remove(folder)
    for name, path in outputs.items():
        for file in [path, *path.rglob("*")]:
            if file.is_file() and not file.name.startswith("."):
                _link(file, folder / name / file.relative_to(path))
            elif file.is_dir():
                (folder / name / file.relative_to(path)).mkdir(parents=True, exist_ok=True)
    write_manifest(folder, metrics=metrics)


def _link(source: Path, target: Path) -> None:
    # Files are replaced, never rewritten, so a second name for one is as good as a copy.
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    os.link(source, target)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
