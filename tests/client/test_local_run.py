"""A run's folder: whose it is, what an earlier run left there, and stages whose run is gone."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock

from components.client.local import console
from components.client.local.console import Console
from components.client.local.finished_run import earlier_times, read_run, write_record
from components.client.local.run import LOCK, RESULTS, LocalRun
from components.core.environment import LOCK_VARIABLE, RUN_ID_VARIABLE
from components.core.errors import InputError

STAGE = """
import time
from types import SimpleNamespace
from components.core.stage import run_stage

def work():
    print("working", flush=True)
    time.sleep(300)

run_stage("text", work, inputs={}, outputs={}, metrics=None, report=SimpleNamespace(path="report"))
"""


class Pipeline:
    """A compiled pipeline that notes what it is given and fails."""

    def __init__(self, *, error: BaseException | None = None, **defaults: Any) -> None:
        self.error = error or RuntimeError("no stage")
        settings = {"cluster_accelerator_type": "", "cluster_accelerator_count": "0", **defaults}
        inputs = {name: SimpleNamespace(default=value) for name, value in settings.items()}
        self.component_spec = SimpleNamespace(inputs=inputs)
        self.given: dict[str, Any] = {}

    def __call__(self, **arguments: Any) -> None:
        self.given = arguments
        raise self.error


@pytest.fixture(autouse=True)
def environment_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "environ", os.environ.copy())


def catalog(folder: Path, **more: Any) -> dict[str, Any]:
    return {"catalog_products": str(folder / "X_train.tsv"), "seed": 0, **more}


def finished_run(folder: Path) -> None:
    LocalRun(folder, catalog(folder), fresh=False)._lock.release()
    for pattern in RESULTS:
        (folder / pattern.replace("*", "_text")).write_text("old")
    (folder / "reports").mkdir()
    (folder / "reports" / "text-gone.html").write_text("old")
    (folder / "model").mkdir()
    (folder / ".finished" / "text-1").mkdir(parents=True)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path):
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "model.bin").write_text("mine")
    with pytest.raises(InputError, match="holds 'artifacts' and is no run's folder"):
        LocalRun(tmp_path, catalog(tmp_path), fresh=True)
    assert (tmp_path / "artifacts" / "model.bin").read_text() == "mine"


def test_what_an_earlier_run_left_does_not_pass_for_this_ones(tmp_path: Path):
    finished_run(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    run = LocalRun(tmp_path, catalog(tmp_path), fresh=False)
    there = {path.name for path in run.folder.iterdir() if not path.name.startswith(LOCK)}
    assert there == {".finished", "notes.txt", "run.json"}
    assert (tmp_path / ".finished" / "text-1").exists()


def test_a_result_that_this_run_reads_stays(tmp_path: Path):
    finished_run(tmp_path)
    LocalRun(tmp_path, catalog(tmp_path, catalog_earlier_profile=str(tmp_path / "profile.json")), fresh=False)
    assert (tmp_path / "profile.json").read_text() == "old"
    assert not (tmp_path / "metrics.json").exists()


def test_fresh_forgets_what_is_finished(tmp_path: Path):
    finished_run(tmp_path)
    LocalRun(tmp_path, catalog(tmp_path), fresh=True)
    assert not (tmp_path / ".finished").exists()


def test_two_runs_do_not_share_a_folder(tmp_path: Path):
    first = LocalRun(tmp_path, catalog(tmp_path), fresh=False)
    with pytest.raises(InputError, match="another run is at work in this folder"):
        LocalRun(tmp_path, catalog(tmp_path), fresh=False)
    first._lock.release()
    first._alive.release()
    LocalRun(tmp_path, catalog(tmp_path), fresh=False)


def test_names_that_a_user_gives_win_over_the_samples(tmp_path: Path):
    pipeline = Pipeline()
    names = str(tmp_path / "names.json")
    with pytest.raises(SystemExit):
        LocalRun(tmp_path / "run", {"seed": 0, "catalog_class_names": names}, fresh=False).execute(pipeline)
    assert pipeline.given["catalog_class_names"] == names
    assert Path(pipeline.given["catalog_products"]).exists()


def test_a_gpu_that_is_not_here_is_refused_before_anything_starts(tmp_path: Path):
    pipeline = Pipeline(cluster_accelerator_type="nvidia.com/gpu", cluster_accelerator_count="64")
    run = LocalRun(tmp_path / "run", catalog(tmp_path), fresh=False)
    with pytest.raises(InputError, match="set cluster_accelerator_type to an empty string"):
        run.execute(pipeline)
    assert not pipeline.given


@pytest.mark.parametrize("name", ["run.json", "metrics.json"])
def test_a_damaged_or_missing_file_of_a_run_is_named(tmp_path: Path, name: str):
    (tmp_path / "metrics.json").write_text("{}")
    write_record(tmp_path, parameters={}, seconds=1)
    (tmp_path / name).write_text("{")
    with pytest.raises(InputError, match=name):
        read_run(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=name):
        read_run(tmp_path)


def test_a_stage_ends_when_its_run_is_killed(tmp_path: Path):
    lock = FileLock(tmp_path / LOCK)
    lock.acquire()
    environment = {**os.environ, LOCK_VARIABLE: str(tmp_path / LOCK)}
    stage = subprocess.Popen([sys.executable, "-c", STAGE], stdout=subprocess.PIPE, env=environment)
    assert stage.stdout
    while b"working" not in stage.stdout.readline():
        assert stage.poll() is None
    assert stage.poll() is None
    lock.release()  # as the system does for a process that is gone
    assert stage.wait(timeout=60) == -signal.SIGTERM


def test_a_run_that_trains_nothing_leaves_its_plan_and_the_champions_predictions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    class Skipping(Pipeline):
        def __call__(self, **arguments: Any) -> None:
            monitor = tmp_path / "artifacts" / "run" / "monitor"
            (monitor / "predictions").mkdir(parents=True)
            (monitor / "plan").write_text('{"training": "skip", "why": "unchanged"}')
            for name in ("predictions.tsv", "predictions_detail.tsv", "manifest.json"):
                (monitor / "predictions" / name).write_text(os.environ[RUN_ID_VARIABLE])

    seen = []
    for _ in range(2):
        run = LocalRun(tmp_path, catalog(tmp_path), fresh=False)
        run.execute(Skipping())
        run._lock.release()
        run._alive.release()
        seen.append((tmp_path / "predictions.tsv").read_text())
    assert len({*seen}) == 2  # every run has an id of its own
    assert seen[0].startswith(f"{tmp_path.name}-2")
    assert "its files lie in" in capsys.readouterr().out
    left = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert {"plan.json", "predictions.tsv", "predictions_detail.tsv", "run.json"} <= left
    with pytest.raises(InputError, match=r"this run trained nothing, so it has no figures"):
        read_run(tmp_path)


def test_the_screen_says_what_is_at_work_when_it_is_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(console, "QUIET", 0.0)
    running = Console(tmp_path / "run.log")
    running.write("[image small] started\n    [text tfidf fold 0] started\nnoise of the runner\n")
    running.write("[image small] of 12 epochs: epoch 3, loss 1.7, macro f1 0.2, seconds 100.0\n")
    running.write("[text tfidf fold 0] finished in 2 s\n")
    assert running.at_work() == "stage 4 of 7, image small: at work for 0 s, about 15 min left of its epochs"
    with running.ticking():
        time.sleep(1.5)
    shown = capsys.readouterr().out
    assert "... stage 4 of 7, image small: at work for" in shown
    assert "noise of the runner" not in shown
    running.write("[image small] finished in 900 s\n")
    assert running.at_work() == "between two tasks"


def test_the_rest_of_a_run_is_told_by_how_the_last_one_went(tmp_path: Path):
    earlier = {"preprocess": 10.0, "image small": 500.0, "evaluate": 610.0}
    running = Console(tmp_path / "run.log", earlier)
    running.write("[preprocess] started\n")
    assert "left of the run" not in running.at_work()
    running.write("[preprocess] finished in 3 s\n[image small] started\n")
    assert running.at_work().endswith("; about 10 min left of the run, going by the last one here")
    running.write("[image small] unchanged: taken over from an earlier run\n")
    assert running.at_work() == "between two tasks; about 2 min left of the run, going by the last one here"
    assert (list(running.ended), running.reused) == (["preprocess", "image small"], True)


def test_how_long_a_whole_run_took_is_kept_until_another_one_is_whole(tmp_path: Path):
    row = {"name": "vote", "macro_f1": 0.9, "accuracy": 0.9, "macro_f1_interval": [0.8, 1.0]}
    figures = json.dumps({"validation": {"products": 9, "rows": {"ensemble": row}}})

    class Says(Pipeline):
        said: tuple[str, ...] = ()

        def __call__(self, **arguments: Any) -> None:
            for line in self.said:
                print(f"[preprocess] {line}")
            made = tmp_path / "run" / "artifacts" / "r" / "evaluate" / "results"
            made.mkdir(parents=True)
            (made / "metrics.json").write_text(figures)

    pipeline, kept = Says(), []
    for said in (("started", "finished in 3 s"), ("unchanged: taken over from an earlier run",)):
        pipeline.said = said
        run = LocalRun(tmp_path / "run", catalog(tmp_path), fresh=False)
        kept.append(earlier_times(tmp_path / "run"))
        run.execute(pipeline)
        run._lock.release()
        run._alive.release()
        kept.append(earlier_times(tmp_path / "run"))
    assert kept[0] == {}
    assert list(kept[1]) == ["preprocess"]
    assert kept[1] == kept[2] == kept[3]


def test_a_run_that_is_stopped_says_how_it_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pipeline = Pipeline(error=KeyboardInterrupt())
    with pytest.raises(SystemExit) as ended:
        LocalRun(tmp_path / "run", catalog(tmp_path), fresh=False).execute(pipeline)
    assert ended.value.code == 130
    assert "Start it again with the same command" in capsys.readouterr().err
