"""A killed or terminated training goes on to the same bytes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from image_catalog import CONFIG, DCL, write_catalog
from image_catalog import run_image_stage as run

from components.image import predict as predicting
from components.image import stages
from components.modeling.checkpoint import Checkpoints
from components.modeling.image import cache
from components.modeling.termination import catch_sigterm
from components.modeling.training import TrainingLoop

PROGRAM = """
import json, sys, torch
from pathlib import Path
from components.image.config import IMAGE_KINDS
from components.image.run import run_image

torch.set_num_threads(1)
folder, out = Path(sys.argv[1]), Path(sys.argv[2])
run_image(
    folder / "products.parquet", folder / "images", IMAGE_KINDS.parse(json.loads(sys.argv[3])),
    fold=None, seed=0,
    probabilities=out / "probabilities", features=out / "features.npz", model=out / "model",
    checkpoints=out / "checkpoints",
)
"""
BOTH_STAGES = {**CONFIG, **DCL, "epochs": 2, "late_checkpoints": 1, "keep_stage1": True}
BOTH_STAGES["checkpoint_minutes"] = 0.0


def start(folder: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", PROGRAM, str(folder), str(out), json.dumps(BOTH_STAGES)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})


def outputs(out: Path) -> dict[str, bytes]:
    """What must be the same; the manifest holds times."""
    files = [*out.glob("features.npz/*.npz"), *out.glob("probabilities/*/*.npz")]
    files += (out / "model").rglob("*.safetensors")
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(files)}


class StopAt:
    """Stands for a signal that comes while a step is under way."""

    def __init__(self, step: int) -> None:
        self.step, self.take_step = step, TrainingLoop.take_step

    def __call__(self, loop: TrainingLoop, *arguments) -> None:
        self.take_step(loop, *arguments)
        if loop.steps == self.step and "plain" in loop.plan.name:
            loop.termination.requested = True


@pytest.mark.parametrize("step", [3, 6])
def test_sigterm_saves_and_ends_with_143_and_the_next_attempt_ends_with_the_same_bytes(
    tmp_path, monkeypatch, step
):
    config = {**DCL, "epochs": 2, "late_checkpoints": 1}
    run(tmp_path / "whole", config)
    with monkeypatch.context() as patch:
        stop = StopAt(step)
        patch.setattr(TrainingLoop, "take_step", lambda *arguments: stop(*arguments))
        with pytest.raises(SystemExit) as ended:
            run(tmp_path / "stopped", config, checkpoints=tmp_path / "checkpoints")
    assert ended.value.code == 143
    assert list((tmp_path / "checkpoints").rglob("state.json"))
    run(tmp_path / "stopped", config, checkpoints=tmp_path / "checkpoints")
    assert outputs(tmp_path / "stopped") == outputs(tmp_path / "whole")
    assert not list((tmp_path / "checkpoints").rglob("state.json"))


def test_another_configuration_does_not_take_these_checkpoints(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop = StopAt(2)
        patch.setattr(TrainingLoop, "take_step", lambda *arguments: stop(*arguments))
        with pytest.raises(SystemExit):
            run(tmp_path / "a", checkpoints=tmp_path / "checkpoints")
    run(tmp_path / "b", {"learning_rate": 0.03}, checkpoints=tmp_path / "checkpoints")
    run(tmp_path / "c", {"learning_rate": 0.03})
    assert outputs(tmp_path / "b") == outputs(tmp_path / "c")


def test_the_process_ends_with_143_once_sigterm_has_come_and_not_before():
    with catch_sigterm() as termination:
        termination.leave_if_requested()
        assert not termination.requested
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(SystemExit) as ended:
            termination.leave_if_requested()
    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


class SigtermDuring:
    """Stands for a signal that comes in the middle of a long call, after a number of its parts."""

    def __init__(self, parts: int, part: Callable) -> None:
        self.left, self.part = parts, part

    def __call__(self, *arguments, **options):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        assert self.left > -4, "went on after the signal"
        return self.part(*arguments, **options)


def test_sigterm_while_a_long_evaluation_runs_is_heeded_after_the_batch(tmp_path, monkeypatch):
    run(tmp_path / "whole")
    with monkeypatch.context() as patch:
        predicted = SigtermDuring(2, predicting.center_crop)
        patch.setattr(predicting, "center_crop", predicted)
        with pytest.raises(SystemExit) as ended:
            run(tmp_path / "stopped", checkpoints=tmp_path / "checkpoints")
    assert ended.value.code == 143
    run(tmp_path / "stopped", checkpoints=tmp_path / "checkpoints")
    assert outputs(tmp_path / "stopped") == outputs(tmp_path / "whole")


def test_sigterm_while_images_are_decoded_is_heeded_before_the_rest(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(cache, "decode", SigtermDuring(3, cache.decode))
        patch.setattr(cache.os, "cpu_count", lambda: 1)
        with pytest.raises(SystemExit) as ended:
            run(tmp_path / "stopped", checkpoints=tmp_path / "checkpoints")
    assert ended.value.code == 143


def test_sigterm_while_the_first_stage_saves_its_end_is_heeded_before_the_second(tmp_path, monkeypatch):
    config = {**DCL, "epochs": 2}
    run(tmp_path / "whole", config)
    with monkeypatch.context() as patch:
        signals = SigtermDuring(1, Checkpoints.save)  # nothing is due before the end
        patch.setattr(Checkpoints, "save", lambda *arguments: signals(*arguments))
        with pytest.raises(SystemExit) as ended:
            run(tmp_path / "stopped", config, checkpoints=tmp_path / "checkpoints")
    assert ended.value.code == 143
    assert signals.left == 0
    run(tmp_path / "stopped", config, checkpoints=tmp_path / "checkpoints")
    assert outputs(tmp_path / "stopped") == outputs(tmp_path / "whole")


def test_checkpoints_are_taken_wherever_images_are_kept_and_only_from_the_same_weights(
    tmp_path, monkeypatch, caplog
):
    run(tmp_path / "weights")
    weights = tmp_path / "start.safetensors"
    shutil.copy(tmp_path / "weights" / "model" / "model.safetensors", weights)
    config = {"weights": str(weights), "cache": "memory", "epochs": 1}
    monkeypatch.setattr(stages, "remove_training", lambda _: None)
    run(tmp_path / "first", config, checkpoints=tmp_path / "checkpoints")
    caplog.set_level("INFO")
    run(tmp_path / "other place", {**config, "cache": "stream"}, checkpoints=tmp_path / "checkpoints")
    assert "goes on from step 6" in caplog.text
    caplog.clear()
    run(tmp_path / "again", {**config, "learning_rate": 0.05})
    shutil.copy(tmp_path / "again" / "model" / "model.safetensors", weights)
    run(tmp_path / "other weights", config, checkpoints=tmp_path / "checkpoints")
    assert "goes on from" not in caplog.text


@pytest.mark.slow
def test_five_kills_at_random_steps_leave_the_same_bytes(tmp_path):
    write_catalog(tmp_path)
    assert start(tmp_path, tmp_path / "whole").wait() == 0
    random = np.random.default_rng(int(time.time()))
    # 2 epochs of 6 steps, then 2 of 3 pairs' steps: each is saved, and so is an epoch's end.
    steps = sorted(random.choice(np.arange(1, 22), 5, replace=False).tolist())
    killed = 0
    for step in steps:
        process = start(tmp_path, tmp_path / "killed")
        while process.poll() is None and saves(tmp_path / "killed") < step:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    assert killed >= 3, f"kills at {steps}: the training was too fast for them"
    assert start(tmp_path, tmp_path / "killed").wait() == 0, f"kills at {steps}"
    assert outputs(tmp_path / "killed") == outputs(tmp_path / "whole"), f"kills at {steps}"


def saves(out: Path) -> int:
    """How many checkpoints both stages have begun so far, from the newest one's number."""
    newest: dict[Path, int] = {}
    for path in out.glob("checkpoints/*/*/step-*"):
        newest[path.parent] = max(newest.get(path.parent, 0), int(path.name.removeprefix("step-")))
    return sum(newest.values())
