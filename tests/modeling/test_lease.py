"""Who trains in which folder: live runs are left alone, dead ones followed, a retry comes back at once."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from components.core.environment import RUN_ID_VARIABLE
from components.core.errors import InputError
from components.modeling import lease
from components.modeling.lease import remove_training, training_folder

TRAINING = "0123456789abcdef" * 4
SHARED = TRAINING[:16]
DAY = 24 * 3600


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(lease, "DEAD_SECONDS", 3.0)
    monkeypatch.setenv(RUN_ID_VARIABLE, "run-b")


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def hold(root: Path, *, run: str = "run-a", seconds_ago: float = 0.0, machine: str = "elsewhere") -> Path:
    """The lease of a run that does not renew it."""
    file = root / SHARED / "lease-000007"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"run": run, "machine": machine, "pid": os.getpid()}))
    age(file, seconds_ago)
    return file


def child(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return pid


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def hold_until(root: Path, run: str, end: Path) -> Callable[[], None]:
    def work() -> None:
        os.environ[RUN_ID_VARIABLE] = run
        with training_folder(root, TRAINING) as folder:
            assert folder
            (folder() / run).touch()
            while not end.exists():
                time.sleep(0.01)
            (folder() / "finished").touch()

    return work


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def taken(root: Path) -> str:
    """The name of the folder that this run gets."""
    with training_folder(root, TRAINING) as folder:
        assert folder
        return folder().name


def test_two_runs_at_once_have_folders_of_their_own_and_both_finish(tmp_path: Path):
    end = tmp_path / "end"
    first = child(hold_until(tmp_path / "root", "run-a", end))
    wait_for(tmp_path / "root" / SHARED / "run-a")
    second = child(hold_until(tmp_path / "root", "run-b", end))
    wait_for(tmp_path / "root" / f"{SHARED}-run-b" / "run-b")
    time.sleep(2 * lease.DEAD_SECONDS)  # the first one's lease stays alive
    end.touch()
    assert (ended(first), ended(second)) == (0, 0)
    found = {path.parent.name for path in (tmp_path / "root").rglob("finished")}
    assert found == {SHARED, f"{SHARED}-run-b"}


def test_what_a_killed_run_left_is_taken_over_at_once_on_its_machine(tmp_path: Path):
    first = child(hold_until(tmp_path, "run-a", tmp_path / "never"))
    wait_for(tmp_path / SHARED / "run-a")
    os.kill(first, signal.SIGKILL)
    assert ended(first) == -signal.SIGKILL
    start = time.monotonic()
    assert taken(tmp_path) == SHARED
    assert time.monotonic() - start < lease.DEAD_SECONDS / 2


def test_a_lease_that_nobody_renews_is_watched_until_it_is_dead(tmp_path: Path):
    hold(tmp_path)
    start = time.monotonic()
    assert taken(tmp_path) == SHARED
    assert time.monotonic() - start > lease.DEAD_SECONDS - 0.1
    hold(tmp_path, seconds_ago=lease.DEAD_SECONDS + 1)
    start = time.monotonic()
    assert taken(tmp_path) == SHARED
    assert time.monotonic() - start < lease.DEAD_SECONDS / 2


@pytest.mark.parametrize("content", ["", "{", '{"run": "run-a", "machine": "elsewhere"}'])
def test_a_lease_that_is_being_written_counts_as_another_runs(tmp_path: Path, content: str):
    file = hold(tmp_path)
    file.write_text(content)
    start = time.monotonic()
    assert taken(tmp_path) == SHARED
    assert time.monotonic() - start > lease.DEAD_SECONDS - 0.1


def test_a_node_whose_clock_is_wrong_takes_nothing_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    end = tmp_path / "end"
    first = child(hold_until(tmp_path, "run-a", end))
    wait_for(tmp_path / SHARED / "run-a")
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + DAY)
    assert taken(tmp_path) == f"{SHARED}-run-b"
    end.touch()
    assert ended(first) == 0


def test_a_runs_own_retry_comes_back_at_once(tmp_path: Path):
    hold(tmp_path, run="run-b")
    start = time.monotonic()
    assert taken(tmp_path) == SHARED
    assert time.monotonic() - start < lease.DEAD_SECONDS / 2
    (tmp_path / f"{SHARED}-run-b").mkdir()  # it had to have a folder of its own
    assert taken(tmp_path) == f"{SHARED}-run-b"


def test_a_run_that_ended_in_order_leaves_its_folder_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(SystemExit), training_folder(tmp_path, TRAINING):
        raise SystemExit(143)
    monkeypatch.setenv(RUN_ID_VARIABLE, "run-c")
    start = time.monotonic()
    assert taken(tmp_path) == SHARED
    assert time.monotonic() - start < lease.DEAD_SECONDS / 2


def test_of_many_runs_that_find_a_dead_lease_one_alone_takes_it_over(tmp_path: Path):
    hold(tmp_path / "root", seconds_ago=DAY)
    end = tmp_path / "end"
    runs = [f"run-{number}" for number in range(8)]
    children = [child(hold_until(tmp_path / "root", run, end)) for run in runs]
    for run in runs:
        while not list((tmp_path / "root").rglob(run)):
            time.sleep(0.01)
    end.touch()
    assert [ended(pid) for pid in children] == [0] * 8
    folders = sorted(path.parent.name for path in (tmp_path / "root").rglob("finished"))
    assert len(folders) == len(set(folders)) == 8
    assert folders[0] == SHARED


def test_a_run_whose_folder_was_taken_over_goes_on_in_one_of_its_own(tmp_path: Path, caplog):
    with training_folder(tmp_path, TRAINING) as folder:
        assert folder
        assert folder().name == SHARED
        (tmp_path / SHARED / "lease-000099").write_text("{}")
        assert folder().name == f"{SHARED}-run-b"
    assert "has taken" in caplog.text
    assert (tmp_path / SHARED / "lease-000099").stat().st_mtime > 0


def test_a_finished_training_is_removed_unless_another_run_has_come(tmp_path: Path):
    folder = tmp_path / SHARED
    (folder / "plain").mkdir(parents=True)
    (folder / "plain" / "step-000000001").touch()
    hold(tmp_path)
    remove_training(folder)
    assert (folder / "plain" / "step-000000001").exists()
    hold(tmp_path, seconds_ago=DAY)
    remove_training(folder)
    assert not folder.exists()
    remove_training(folder)


@pytest.mark.parametrize(
    ("days", "left"),
    [
        (None, {"old but alive", "of late", "no training"}),
        ("0", {"old", "old but alive", "of late", "no training"}),
        ("3", {"old but alive", "no training"}),
    ],
)
def test_folders_that_nobody_touched_for_days_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: str | None, left: set[str]
):
    if days:
        monkeypatch.setenv(lease.CHECKPOINT_DAYS_VARIABLE, days)
    for name, days_ago in {"old": 15, "old but alive": 15, "of late": 13, "no training": 15}.items():
        folder = tmp_path / (name if name == "no training" else name.encode().hex()[-16:].zfill(16))
        (folder / "plain").mkdir(parents=True)
        (folder / "plain" / "step-000000001").write_text(name)
        if name == "old but alive":
            (folder / "lease-000001").write_text("{}")
        for path in (folder / "plain" / "step-000000001", folder / "plain", folder):
            age(path, days_ago * DAY)
    assert taken(tmp_path) == SHARED
    assert {path.read_text() for path in tmp_path.rglob("step-*")} == left


def test_days_that_are_no_number_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(lease.CHECKPOINT_DAYS_VARIABLE, "two weeks")
    with pytest.raises(InputError, match="PIPELINE_CHECKPOINT_DAYS = 'two weeks': expected a number"):
        taken(tmp_path)
