"""A run on this machine: where its files lie, what it prints, what it leaves."""

import contextlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from components.client.local.console import Console
from components.client.local.finished_run import (
    LOG,
    METRICS,
    RUN,
    earlier_times,
    read_run,
    write_record,
)
from components.client.local.reports import gather_reports
from components.core.artifacts import MANIFEST, write_sealed
from components.core.environment import (
    DECODED_VARIABLE,
    FINISHED_VARIABLE,
    LOCK_VARIABLE,
    RUN_FOLDER_VARIABLE,
    RUN_ID_VARIABLE,
)
from components.core.errors import InputError

LOCK = ".lock"
MODEL = "model"  # the package, in a run's folder
RESULTS = (
    *("predictions*.tsv", "predictions*.csv", "review_queue.tsv", "label_issues.*", "quarantine*.tsv"),
    *("profile.json", "plan.json", "metrics.json", "confusion.json", "lineage.json", "summary.md"),
    *("report.html", "index.html"),
)
CATALOG = tuple(f"catalog_{name}" for name in ("labels", "images", "test_products", "test_images"))


class LocalRun:
    """One run into one folder.

    Args:
        folder: where the results go; None for `runs/<name of the catalog's folder>`.
        arguments: the pipeline's parameters; with no `catalog_products` a sample catalog is generated.
        fresh: forget what an earlier run finished.

    Raises:
        InputError: a catalog without products, a folder that holds something else, or that a run is using.
    """

    def __init__(self, folder: Path | None, arguments: dict[str, Any], *, fresh: bool) -> None:
        products = arguments.get("catalog_products")
        if products is None and any(arguments.get(name) for name in CATALOG):
            raise InputError("--products is missing: name the products file beside its labels and images")
        name = Path(products).parent.name if products else "sample"
        self.folder = (folder or Path("runs") / name).resolve()
        self.finished, self.artifacts = self.folder / ".finished", self.folder / "artifacts"
        self.decoded = self.folder / ".decoded"
        self.arguments = arguments
        self._earlier = earlier_times(self.folder)
        self._take_folder()
        if fresh:
            shutil.rmtree(self.finished, ignore_errors=True)
            shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
        self._forget_results()

    def execute(self, pipeline: Callable[..., Any]) -> None:
        """Runs the pipeline, printing the stages' own lines, and gathers the results.

        Everything that is printed goes into `run.log`.

        Raises:
            InputError: the run asks for a GPU that is not here.
            SystemExit: a stage failed; its message was printed. Status 2 where the input is wrong.
        """
        # Not at the top: compiling imports this module and needs kfp alone.
        from components.client.sample.catalog import write_sample

        start = time.perf_counter()
        defaults = defaults_of(pipeline)
        wanted = {**defaults, **self.arguments}
        if wanted["cluster_accelerator_type"]:
            # Torch would stay in this process's memory for the whole run.
            from components.core.accelerators import check_accelerators

            check_accelerators(wanted["cluster_accelerator_type"], wanted["cluster_accelerator_count"])
        if "catalog_products" not in self.arguments:
            written = write_sample(self.folder / "sample", seed=self.arguments["seed"])
            sample: dict[str, Any] = {f"catalog_{name}": path for name, path in written.items()}
            self.arguments = {**sample, **self.arguments}
            click.echo(f"generated a sample catalog in {self.folder / 'sample'}")
        self._set_environment()
        console = Console(self.folder / LOG, self._earlier)
        arguments = {**self.arguments, "cluster_checkpoints": str(self.folder / "checkpoints")}
        record = {"parameters": {**defaults, **arguments}}
        self._mark_unfinished(record["parameters"])
        try:
            with (
                contextlib.redirect_stdout(console),
                contextlib.redirect_stderr(console),
                console.logging(),
                console.ticking(),
            ):
                pipeline(**arguments)
        except KeyboardInterrupt:
            console.stopped()
        except Exception as error:
            self._gather()
            console.explain(error)
        self._finish(console, record, start)

    def _finish(self, console: Console, record: dict[str, Any], start: float) -> None:
        """Gathers the results of a run that ended well, and prints what it found."""
        # Not at the top: compiling imports this module and needs kfp alone.
        from components.client.local.pages import ending, write_index
        from components.client.sample.catalog import denoising_seen

        self._gather()
        for folder in (self.folder / "checkpoints", self.decoded):
            shutil.rmtree(folder, ignore_errors=True)
        Path(self._alive.lock_file).unlink()
        # A run that took tasks over, or trained nothing, does not show how long one takes.
        whole = (self.folder / METRICS).exists() and not console.reused
        record["ended"] = console.ended if whole else self._earlier
        write_record(self.folder, **record, seconds=time.perf_counter() - start)
        if not (self.folder / METRICS).exists():
            click.echo(f"finished in {time.perf_counter() - start:.0f} s; its files lie in {self.folder}")
            return
        finished = read_run(self.folder)
        write_index(finished)
        click.echo(ending(finished))
        planted = self.folder / "sample" / "planted.tsv"
        if self.arguments["catalog_products"] == str(planted.with_name("X_train.tsv")):
            click.echo(denoising_seen(planted, self.folder / "label_issues.tsv"))
        click.echo(f"finished in {time.perf_counter() - start:.0f} s; open {self.folder / 'index.html'}")

    def _take_folder(self) -> None:
        # Not at the top: compiling imports this module and needs kfp alone.
        from filelock import FileLock, Timeout

        self.folder.mkdir(parents=True, exist_ok=True)
        # Freed when the process ends, however it ends. By the second its stages know that it lives; it is
        # this process's own, since the next run may be there before they look.
        self._lock = FileLock(self.folder / LOCK)
        self._alive = FileLock(self.folder / f"{LOCK}-{os.getpid()}")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"{self.folder}: another run is at work in this folder; wait, or name another --output"
            ) from None
        for left in self.folder.glob(f"{LOCK}-*"):
            left.unlink()
        self._alive.acquire()
        strangers = [path.name for path in self.folder.iterdir() if not path.name.startswith(LOCK)]
        if strangers and RUN not in strangers:
            raise InputError(
                f"{self.folder}: holds {strangers[0]!r} and is no run's folder; a run deletes what an "
                "earlier one left: name an empty or a new folder"
            )
        self._mark_unfinished(self.arguments)

    def _mark_unfinished(self, parameters: dict[str, Any]) -> None:
        unfinished = {"parameters": parameters, "ended": self._earlier, "finished": False}
        write_sealed(self.folder / RUN, unfinished)

    def _forget_results(self) -> None:
        # What an earlier run left must not pass for this one's, but may be what this one reads.
        read = {value for value in self.arguments.values() if isinstance(value, str)}
        for path in [path for pattern in RESULTS for path in self.folder.glob(pattern)]:
            if str(path) not in read:
                path.unlink()
        for folder in (self.artifacts, self.folder / "reports", self.folder / MODEL):
            shutil.rmtree(folder, ignore_errors=True)

    def _set_environment(self) -> None:
        root = str(Path(__file__).parents[2])
        os.environ |= {
            FINISHED_VARIABLE: str(self.finished),
            LOCK_VARIABLE: self._alive.lock_file,
            RUN_ID_VARIABLE: self._new_id(),
            RUN_FOLDER_VARIABLE: str(self.folder),
            DECODED_VARIABLE: str(self.decoded),
            "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
            "PYTHONUNBUFFERED": "1",
            # Threads that spin while they wait cost a busy machine ten times the work they do.
            "OMP_WAIT_POLICY": "PASSIVE",
            "TOKENIZERS_PARALLELISM": "false",
        }

    def _new_id(self) -> str:
        """What the store of models knows the run by; another one every time."""
        name = re.sub(r"[^\w.-]", "-", self.folder.name)
        return f"{name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(4)}"

    def _skips(self) -> bool:
        plan = self.folder / "plan.json"
        return plan.is_file() and json.loads(plan.read_text(encoding="utf-8"))["training"] == "skip"

    def _gather(self) -> None:
        gather_reports(self.folder)
        for path in self.artifacts.glob("*/ensemble/ensemble_model"):
            # Second names for the artifact's files, which nothing rewrites.
            shutil.copytree(path, self.folder / MODEL, copy_function=os.link)
        if self._skips():  # then the champion's predictions are the run's
            for path in self.artifacts.glob("*/monitor/predictions/*.?sv"):
                shutil.copyfile(path, self.folder / path.name)
        for path in self.artifacts.glob("*/evaluate/results/*"):
            if path.name != MANIFEST:
                shutil.copyfile(path, self.folder / path.name)


def defaults_of(pipeline: Callable[..., Any]) -> dict[str, Any]:
    """Every parameter of a pipeline and the value that it has where none is given."""
    inputs = pipeline.component_spec.inputs  # type: ignore[attr-defined]
    return {name: value.default for name, value in inputs.items()}
