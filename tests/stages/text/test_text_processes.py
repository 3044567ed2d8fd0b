"""Several processes that train one text classifier: on CPUs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from text_catalog import small_config, text_products

from components.core.errors import InputError
from components.data.products import training_task, write_products
from components.modeling.trained import TrainingSetup
from components.text.transformer import train_transformer

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = {"epochs": 2, "dropout": 0.0, "late_checkpoints": 1, "batch_size": 11}  # 72 texts: the last has 6
TRAIN = """
import json, sys
from pathlib import Path
from components.data.products import read_products, training_task
from components.modeling.trained import TrainingSetup
from components.text.transformer import train_transformer
from text_catalog import small_config

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    products = read_products(folder / "products.parquet")
    train_transformer(
        products, training_task(products, fold=None, cleaned=False), small_config(**json.loads(sys.argv[2])),
        TrainingSetup(3, folder / "model", folder / "checkpoints", gpus=2),
    )
"""


@pytest.fixture(scope="module")
def products():
    return text_products()


def train(products, folder, processes, **changes):
    return train_transformer(
        products,
        training_task(products, fold=None, cleaned=False),
        small_config(**{**SETTINGS, **changes}),
        TrainingSetup(3, folder / "model", gpus=processes),
    )


def start(folder, **changes):
    folder.mkdir(exist_ok=True)
    write_products(text_products(), folder / "products.parquet")
    (folder / "train.py").write_text(TRAIN)
    return subprocess.Popen(
        [sys.executable, folder / "train.py", folder, json.dumps(changes)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests/support'}"},
    )


def wait_for_checkpoint(folder, process):
    while not list(folder.glob("checkpoints/*/step-*/state.json")):
        assert process.poll() is None, "the training ended before it saved"
        time.sleep(0.02)


def weights(folder):
    return (folder / "model" / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(products, tmp_path):
    alone = train(products, tmp_path / "alone", 1, accumulation=2)
    together = train(products, tmp_path / "together", 2)
    assert list(together.matrices) == list(alone.matrices)
    for one, other in zip(together.curves, alone.curves, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
    for checkpoint, splits in alone.matrices.items():
        for split, expected in splits.items():
            np.testing.assert_allclose(together.matrices[checkpoint][split], expected, atol=1e-4)
    expected = load_file(tmp_path / "alone" / "model" / "model.safetensors")
    for name, got in load_file(tmp_path / "together" / "model" / "model.safetensors").items():
        if not name.endswith("key.bias"):  # its gradient is nought but for rounding, which Adam enlarges
            np.testing.assert_allclose(got, expected[name], atol=3e-4, err_msg=name)


@pytest.mark.slow
def test_a_last_batch_of_one_text_trains_two_processes_too(products, tmp_path):
    settings = {"batch_size": 71, "epochs": 1, "late_checkpoints": 0}
    alone, together = (train(products, tmp_path / str(count), count, **settings) for count in (1, 2))
    assert together.curves[0]["loss"] == pytest.approx(alone.curves[0]["loss"], abs=1e-5)


@pytest.mark.slow
def test_an_error_of_the_input_comes_out_as_such(products, tmp_path):
    with pytest.raises(InputError, match=r"classifier small: the loss is (nan|inf) at step \d+"):
        train(products, tmp_path, 2, learning_rate=1e30, warmup=0.0, max_grad_norm=0.0)


@pytest.mark.slow
def test_sigterm_leaves_a_checkpoint_from_which_both_go_on(tmp_path):
    settings = {"epochs": 8, "checkpoint_minutes": 0.0}
    assert start(tmp_path / "whole", **settings).wait() == 0
    process = start(tmp_path / "stopped", **settings)
    wait_for_checkpoint(tmp_path / "stopped", process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    assert not (tmp_path / "stopped" / "model").exists()
    assert start(tmp_path / "stopped", **settings).wait() == 0
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")


@pytest.mark.slow
def test_a_process_that_dies_ends_the_training(tmp_path):
    process = start(tmp_path, epochs=5000, checkpoint_minutes=0.0)
    wait_for_checkpoint(tmp_path, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    trainers = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(int(trainers[-1]), signal.SIGKILL)
    assert process.wait(timeout=60) not in (0, 143)
    assert not any(Path(f"/proc/{pid}").exists() for pid in trainers)
