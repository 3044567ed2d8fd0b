"""Two processes that train one text or image classifier, on CPUs: started by the stage, or by torchrun."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_catalog import CONFIG, DCL
from safetensors.numpy import load_file
from training_program import write_inputs

from components.data.probabilities import read_classifier

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "tests/support/training_program.py"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
# 72 texts, 54 images: the last batch of texts has 6. Batch norm over two processes is for GPUs alone, so the
# image network has none.
SETTINGS: dict[str, dict[str, Any]] = {
    "text": {"epochs": 2, "dropout": 0.0, "late_checkpoints": 1, "batch_size": 11},
    "image": {
        **CONFIG,
        **DCL,
        "backbone": "test_convnext",
        "learning_rate": 0.002,
        "dcl_learning_rate": 0.002,
        "epochs": 2,
        "late_checkpoints": 1,
        "keep_stage1": True,
        "batch_size": 9,
        "dcl_batch_size": 7,
    },
}

pytestmark = pytest.mark.slow


def start(modality: str, out: Path, *, torchrun: bool = False, gpus: int = 0, **changes: Any):
    folder = out.parent / f"{modality} catalog"
    write_inputs(modality, folder)
    settings = json.dumps({**SETTINGS[modality], **changes})
    command = [sys.executable, *(TORCHRUN if torchrun else ()), PROGRAM]
    return subprocess.Popen(
        [*command, modality, folder, out, settings, str(gpus)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{PROGRAM.parent}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str], status: int = 0) -> str:
    """What the process printed."""
    said, _ = process.communicate(timeout=300)
    assert process.returncode == status, said
    return said


def wait_for_checkpoint(out: Path, process: subprocess.Popen[str]) -> None:
    while not list(out.glob("checkpoints/**/step-*/state.json")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


def workers(process: subprocess.Popen[str]) -> list[int]:
    """The processes that train."""
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in found}
    return [
        int(pid) for pid, line in commands.items() if b"spawn_main" in line or b"training_program" in line
    ]


def weights(out: Path) -> bytes:
    return (out / "model" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("modality", SETTINGS)
def test_two_processes_of_torchrun_learn_what_one_learns(tmp_path: Path, modality: str):
    finish(start(modality, tmp_path / "alone"))
    finish(start(modality, tmp_path / "together", torchrun=True))
    alone, together = (read_classifier(tmp_path / name / "probabilities") for name in ("alone", "together"))
    losses = [[curve["loss"] for curve in each.metadata["curves"]] for each in (together, alone)]
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-5)
    assert list(together.matrices) == list(alone.matrices)
    for checkpoint, splits in alone.matrices.items():
        for split, expected in splits.items():
            got = together.matrices[checkpoint][split].pred_probs
            np.testing.assert_allclose(got, expected.pred_probs, atol=1e-4)
    expected = load_file(tmp_path / "alone" / "model" / "model.safetensors")
    for name, got in load_file(tmp_path / "together" / "model" / "model.safetensors").items():
        if not name.endswith("key.bias"):  # its gradient is nought but for rounding, which Adam enlarges
            np.testing.assert_allclose(got, expected[name], atol=3e-4, err_msg=name)


@pytest.mark.gpu(2)
@pytest.mark.parametrize("modality", SETTINGS)
def test_two_gpus_learn_what_one_learns(tmp_path: Path, modality: str):
    losses = []
    for gpus in (1, 2):
        finish(start(modality, tmp_path / str(gpus), gpus=gpus))
        trained = read_classifier(tmp_path / str(gpus) / "probabilities")
        losses.append([curve["loss"] for curve in trained.metadata["curves"]])
    np.testing.assert_allclose(losses[1], losses[0], atol=0.1)  # bfloat16, with DCL's three losses


@pytest.mark.parametrize("modality", SETTINGS)
def test_two_processes_of_torchrun_that_were_killed_go_on_to_the_same_weights(tmp_path: Path, modality: str):
    settings: dict[str, Any] = {"epochs": 6, "checkpoint_minutes": 0.0, "torchrun": True}
    finish(start(modality, tmp_path / "whole", **settings))
    process = start(modality, tmp_path / "killed", **settings)
    wait_for_checkpoint(tmp_path / "killed", process)
    os.kill(workers(process)[-1], signal.SIGKILL)
    finish(process, status=1)
    assert not (tmp_path / "killed" / "model").exists()
    assert "goes on from step" in finish(start(modality, tmp_path / "killed", **settings))
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


@pytest.mark.parametrize("modality", SETTINGS)
def test_sigterm_leaves_a_checkpoint_from_which_both_go_on(tmp_path: Path, modality: str):
    settings: dict[str, Any] = {"epochs": 6, "checkpoint_minutes": 0.0, "gpus": 2}
    finish(start(modality, tmp_path / "whole", **settings))
    process = start(modality, tmp_path / "stopped", **settings)
    wait_for_checkpoint(tmp_path / "stopped", process)
    process.send_signal(signal.SIGTERM)
    said = finish(process, status=143)
    assert "Traceback" not in said
    assert said.count("SIGTERM") == 1
    assert not (tmp_path / "stopped" / "model").exists()
    assert "goes on from step" in finish(start(modality, tmp_path / "stopped", **settings))
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")


@pytest.mark.parametrize("modality", SETTINGS)
def test_a_wrong_input_is_one_line(tmp_path: Path, modality: str):
    said = finish(start(modality, tmp_path / "out", gpus=2, learning_rate=1e30), status=2)
    last = [line for line in said.splitlines() if "error: " in line]
    assert len(last) == 1, said
    assert "the loss is" in last[0]
    assert "Traceback" not in said


def test_a_last_batch_of_one_text_trains_two_processes_too(tmp_path: Path):
    settings: dict[str, Any] = {"batch_size": 71, "epochs": 1, "late_checkpoints": 0}
    for name, gpus in (("alone", 0), ("together", 2)):
        finish(start("text", tmp_path / name, gpus=gpus, **settings))
    alone, together = (read_classifier(tmp_path / name / "probabilities") for name in ("alone", "together"))
    losses = [each.metadata["curves"][0]["loss"] for each in (alone, together)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_a_process_that_dies_ends_the_training(tmp_path: Path):
    process = start("text", tmp_path / "out", gpus=2, epochs=5000, checkpoint_minutes=0.0)
    wait_for_checkpoint(tmp_path / "out", process)
    trainers = workers(process)
    os.kill(trainers[-1], signal.SIGKILL)
    assert process.wait(timeout=60) not in (0, 2, 143)
    assert not any(Path(f"/proc/{pid}").exists() for pid in trainers)
