"""A finished run's folder: what was asked of the run, what it found, which files it left."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.client.local.reports import find_reports
from components.core.artifacts import read_sealed, sha256, write_sealed
from components.core.errors import InputError
from components.core.reading import read_json

log = logging.getLogger(__name__)

RUN = "run.json"  # the run's parameters, and whether it finished
METRICS = "metrics.json"
LOG = "run.log"
SUFFIXES = (".tsv", ".csv", ".json", ".md", ".log")  # of a run's other files
FILES = {
    "predictions": "the ensemble's codes of the test products",
    "predictions_detail": "how sure it is of each, its next guesses, and whether to accept it unseen",
    "review_queue": "the products to look at, the look that is worth most first",
    "predictions_text": "the same of the best text model",
    "predictions_image": "the same of the best image model",
    "label_issues": "labels that are probably wrong, worst first",
    "quarantine": "rows that were not taken as they came",
    "quarantine_new": "the same of the products to categorize",
    "profile": "the catalog's profile, for a later run's --earlier-profile",
    "plan": "whether it trained and why, and how the catalog has drifted",
    "metrics": "every figure",
    "summary": "the verdict in Markdown",
    "run": "everything that was printed",
}


@dataclass(frozen=True)
class FinishedRun:
    """A run that ended well.

    Attributes:
        name: what the run is called.
        parameters: every parameter of the pipeline and the value it had.
        seconds: how long the run took.
        metrics: what `metrics.json` holds.
    """

    folder: Path
    name: str
    parameters: dict[str, Any]
    seconds: float
    metrics: dict[str, Any]


def read_run(folder: Path) -> FinishedRun:
    """Reads a run's folder.

    Raises:
        InputError: it is no run's folder, the run did not finish, or a file of it is missing or damaged.
    """
    folder = folder.resolve()
    if not (folder / RUN).is_file():
        raise InputError(
            f"{folder}: not the folder of a run: it has no {RUN}. Name what `run --output` was given, "
            "such as runs/sample, or with --host a server's run"
        )
    if why := without_figures(folder):
        reports = "".join(f"\n  {report.path}" for report in find_reports(folder))
        listed = f"\nIts reports so far:{reports}" if reports else ""
        raise InputError(f"{folder}: {why}{listed}")
    record = read_sealed(folder / RUN, "the record of a run")
    changed = [name for name, digest in record["files"].items() if _digest(folder / name) != digest]
    if METRICS in changed:
        raise InputError(
            f"{folder / METRICS}: missing or changed since the run wrote it: start it again with the same "
            "--output: it goes on from its finished stages"
        )
    for name in changed:
        log.warning("%s: missing or changed since the run wrote it", folder / name)
    metrics = read_json(folder / METRICS, "the figures of a run")
    name = record.get("name", folder.name)
    return FinishedRun(folder, name, record["parameters"], record["seconds"], metrics)


def without_figures(folder: Path) -> str:
    """Why a run has no figures: it did not finish, or trained nothing; "" where it has, or is none."""
    if not (folder / RUN).is_file():
        return ""
    record = read_sealed(folder / RUN, "the record of a run")
    if record.get("finished"):
        nothing = "this run trained nothing, so it has no figures; plan.json says why."
        return "" if METRICS in record["files"] else nothing
    again = "Start it again with the same --output: it goes on from its finished stages."
    lines = (folder / LOG).read_text(encoding="utf-8").splitlines() if (folder / LOG).is_file() else []
    errors = [line.strip() for line in lines if "] error: " in line]
    why = errors[-1] if errors else "it is at work, or it was stopped; run.log has what it printed"
    return f"this run did not finish: {why}. {again}"


def earlier_times(folder: Path) -> dict[str, float]:
    """When each task of the last whole run into a folder ended, in seconds from its start; {} if unknown."""
    try:
        return read_sealed(folder / RUN, "the record of a run").get("ended", {})
    except (InputError, OSError):
        return {}


def write_record(folder: Path, **record: Any) -> None:
    """Writes the record of a finished run: its parameters, how long it took, the digests of what it left."""
    paths = [path for path in folder.iterdir() if path.suffix in SUFFIXES and path.name not in (RUN, LOG)]
    paths += [*(folder / "reports").glob("*.html"), *folder.glob("report.html")]
    digests = {path.relative_to(folder).as_posix(): sha256(path) for path in sorted(paths)}
    write_sealed(folder / RUN, {**record, "finished": True, "files": digests})


def _digest(path: Path) -> str:
    return sha256(path) if path.is_file() else ""


def files(folder: Path) -> list[tuple[str, str]]:
    """The run's other files that are there: name and what it holds."""
    paths = [path for path in folder.iterdir() if path.suffix in SUFFIXES and path.name != RUN]
    there = {path.stem: path.name for path in paths}
    return [(there[stem], what) for stem, what in FILES.items() if stem in there]
