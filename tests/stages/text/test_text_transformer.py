"""The transformer text classifier as its users meet it: what it learns, leaves behind and resumes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from text_catalog import small_config, text_products
from transformers import pipeline

from components.core.errors import InputError
from components.data.products import training_task, write_products
from components.modeling.metrics import macro_f1
from components.modeling.trained import TrainingSetup
from components.modeling.training import TrainingLoop
from components.text.config import TEXT_KINDS
from components.text.kinds.transformer import TransformerConfig
from components.text.run import run_text
from components.text.transformer import train_transformer

ROOT = Path(__file__).resolve().parents[3]
TRAIN_AND_EXIT = """
import json, sys
from pathlib import Path
import torch
from components.data.products import read_products, training_task
from components.modeling import lease
from components.modeling.trained import TrainingSetup
from components.text.config import TEXT_KINDS
from components.text.transformer import train_transformer

torch.set_num_threads(1)
lease.RENEW_SECONDS = 0.2
folder, config = Path(sys.argv[1]), TEXT_KINDS.parse(json.loads(sys.argv[2]))
products = read_products(folder / "products.parquet")
task = training_task(products, fold=None, cleaned=False)
checkpoints = Path(sys.argv[3])
trained = train_transformer(products, task, config, TrainingSetup(3, folder / "model", checkpoints))
trained.delete_checkpoints()
"""


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def products():
    return text_products()


def train(products, folder, *, fold=None, checkpoints=False, seed=3, **changes):
    task = training_task(products, fold=fold, cleaned=False)
    return train_transformer(
        products,
        task,
        small_config(**changes),
        TrainingSetup(seed, folder / "model", folder / "checkpoints" if checkpoints else None),
    )


def weights(folder):
    model = folder / "model"
    return {str(path.relative_to(model)): path.read_bytes() for path in model.rglob("*.safetensors")}


def validation_f1(products, trained, checkpoint="best"):
    rows = products.rows("validation")
    found = trained.matrices[checkpoint]["validation"]
    return macro_f1(products.labels[rows], found.argmax(axis=1), len(products.classes))


def test_the_defaults_are_the_papers():
    config = TEXT_KINDS.parse({"name": "text"})
    assert isinstance(config, TransformerConfig)
    assert config.weights == "almanach/camembert-base"
    assert (config.learning_rate, config.batch_size, config.epochs) == (3e-5, 64, 40)
    assert (config.warmup, config.max_tokens) == (0.1, 128)
    off = (config.label_smoothing, config.ema, config.layer_decay, config.class_weights)
    assert off == (0.0, 0.0, 1.0, False)


def test_settings_out_of_range_are_named_together():
    with pytest.raises(InputError, match=r"epochs = 0 should be.*ema = 1.5 should be"):
        TEXT_KINDS.parse({"name": "t", "epochs": 0.0, "ema": 1.5})


def test_it_learns_a_catalog_and_predicts_every_split(products, tmp_path):
    trained = train(products, tmp_path, epochs=8)
    assert list(trained.matrices) == ["best"]
    assert trained.matrices["best"]["validation"].shape == (18, 3)
    assert trained.matrices["best"]["test"].shape == (12, 3)
    assert trained.features is not None
    assert trained.features.shape == (len(products.table), 32)
    assert validation_f1(products, trained) > 0.8
    assert [curve["epoch"] for curve in trained.curves] == list(range(1, 9))
    assert trained.curves[-1]["loss"] < trained.curves[0]["loss"]


def test_the_chosen_epoch_is_the_best_on_validation(products, tmp_path):
    trained = train(products, tmp_path, epochs=8)
    scores = [curve["macro_f1"] for curve in trained.curves]
    assert trained.metrics["chosen_epoch"] == 1 + int(np.argmax(scores))
    # Each product at the epoch that others chose: no better than the one that all chose.
    assert validation_f1(products, trained) <= max(scores) + 1e-12


def test_a_fold_is_predicted_by_the_last_epoch_and_leaves_no_features(products, tmp_path):
    trained = train(products, tmp_path, fold=1)
    assert list(trained.matrices) == ["last"]
    predict = training_task(products, fold=1, cleaned=False).predict
    shapes = {split: values.shape for split, values in trained.matrices["last"].items()}
    assert shapes == {"out_of_fold": (len(predict["out_of_fold"]), 3), "validation": (18, 3)}
    assert all("macro_f1" not in curve for curve in trained.curves)
    assert trained.features is None
    assert trained.metrics["chosen_epoch"] == 4


def test_late_epochs_become_further_classifiers(products, tmp_path):
    trained = train(products, tmp_path, epochs=6, late_checkpoints=2)
    best, *late = trained.matrices
    chosen = int(trained.metrics["chosen_epoch"])
    assert best == "best"
    newest = [epoch for epoch in range(1, 7) if epoch != chosen][-2:]
    assert late == [f"epoch-{epoch:03d}" for epoch in newest]
    for epoch, name in zip(newest, late, strict=True):
        assert set(trained.matrices[name]) == {"validation", "test"}
        assert validation_f1(products, trained, name) == pytest.approx(trained.curves[epoch - 1]["macro_f1"])


def test_a_fold_has_late_classifiers_besides_its_last_epoch(products, tmp_path):
    trained = train(products, tmp_path, fold=0, late_checkpoints=1)
    assert list(trained.matrices) == ["last", "epoch-003"]


def test_the_model_folder_serves_transformers_own_pipeline(products, tmp_path):
    trained = train(products, tmp_path)
    classify = pipeline("text-classification", model=str(tmp_path / "model"), top_k=None, device="cpu")
    table = products.table.iloc[products.rows("test")]
    texts = [
        {"text": title, "text_pair": description}
        for title, description in zip(table["title"], table["description"], strict=True)
    ]
    for text, expected in zip(texts, trained.matrices["best"]["test"], strict=True):
        scores = {item["label"]: item["score"] for item in classify(text, truncation=True)}
        np.testing.assert_allclose([scores[code] for code in products.classes], expected, atol=1e-5)


def test_a_trained_folder_is_weights_for_the_next_training(products, tmp_path):
    train(products, tmp_path / "first", epochs=8)
    again = train(
        products, tmp_path / "second", weights=str(tmp_path / "first" / "model"), epochs=1, warmup=1.0
    )
    assert validation_f1(products, again) > 0.8


def test_same_seed_same_bytes_and_another_seed_others(products, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        train(products, tmp_path / name, seed=seed, epochs=1)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


def test_gradient_accumulation_changes_no_loss(products, tmp_path):
    once = train(products, tmp_path / "a", epochs=1, dropout=0.0)
    split = train(products, tmp_path / "b", epochs=1, dropout=0.0, accumulation=5)
    assert split.curves[0]["loss"] == pytest.approx(once.curves[0]["loss"], abs=1e-5)
    np.testing.assert_allclose(split.matrices["best"]["test"], once.matrices["best"]["test"], atol=1e-4)


def test_a_loss_that_is_no_number_stops_with_step_and_rate(products, tmp_path):
    with pytest.raises(InputError, match=r"loss is (nan|inf) at step \d+ .* learning rate \d\.\d+e\+29"):
        train(products, tmp_path, learning_rate=1e30, warmup=0.0, max_grad_norm=0.0)


@pytest.mark.parametrize("steps", [3, 6, 17])
def test_a_training_cut_off_between_two_steps_ends_with_the_same_bytes(
    products, tmp_path, monkeypatch, steps
):
    settings = {
        "epochs": 3,
        "late_checkpoints": 1,
        "ema": 0.9,
        "checkpoint_minutes": 0.0,
        "checkpoints": True,
    }
    whole = train(products, tmp_path / "whole", **settings)
    take_step = TrainingLoop.take_step

    def cut_off(self, rows):
        if self.steps == steps:
            raise KeyboardInterrupt
        take_step(self, rows)

    monkeypatch.setattr(TrainingLoop, "take_step", cut_off)
    with pytest.raises(KeyboardInterrupt):
        train(products, tmp_path / "cut", **settings)
    monkeypatch.undo()
    resumed = train(products, tmp_path / "cut", **settings)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    for checkpoint, splits in whole.matrices.items():
        for split, expected in splits.items():
            np.testing.assert_array_equal(resumed.matrices[checkpoint][split], expected)
    went_on = [curve.pop("resumed_at_step") for curve in resumed.curves if "resumed_at_step" in curve]
    assert went_on == [steps]
    drop_time = [{**curve, "seconds": 0} for curve in resumed.curves]
    assert drop_time == [{**curve, "seconds": 0} for curve in whole.curves]


def test_a_checkpoint_of_other_settings_is_not_resumed(products, tmp_path):
    train(products, tmp_path / "a", epochs=2, checkpoints=True)
    changed = train(products, tmp_path / "a", epochs=3, checkpoints=True)
    fresh = train(products, tmp_path / "b", epochs=3)
    assert changed.curves[0]["loss"] == fresh.curves[0]["loss"]
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_checkpoints_stay_until_the_stages_outputs_are_written(products, tmp_path, monkeypatch):
    write_products(products, tmp_path / "products.parquet")
    outputs: dict[str, Any] = {name: tmp_path / name for name in ("probabilities", "features", "model")}
    outputs["checkpoints"] = tmp_path / "checkpoints"
    config = small_config(epochs=2)
    run = partial(run_text, tmp_path / "products.parquet", config, fold=None, seed=3, **outputs)

    def disk_is_full(*_):
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr("components.modeling.trained.write_classifier", disk_is_full)
        with pytest.raises(OSError, match="no space left"):
            run()
    assert list(tmp_path.glob("checkpoints/*/step-*/state.json"))
    assert run().metrics["epochs"] == 2
    assert not list(tmp_path.glob("checkpoints/*"))


def start_training(folder, *, checkpoints=None, **changes):
    settings = small_config(**changes).model_dump()
    checkpoints = checkpoints or folder / "checkpoints"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'support'}"}
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN_AND_EXIT, str(folder), json.dumps(settings), str(checkpoints)],
        env=environment,
        stdout=subprocess.DEVNULL,
    )


def wait_for_step(folder, step, process):
    """Waits until a checkpoint of `step` or later is there; False when the process ended first."""
    while process.poll() is None:
        saved = [int(path.parent.name[5:]) for path in folder.glob("checkpoints/*/step-*/state.json")]
        if saved and max(saved) >= step:
            return True
        time.sleep(0.002)
    return False


@pytest.mark.slow
def test_killed_at_five_random_steps_it_ends_with_the_same_bytes(products, tmp_path):
    settings = {"epochs": 6, "checkpoint_minutes": 0.0, "late_checkpoints": 1}
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        write_products(products, tmp_path / name / "products.parquet")
    assert start_training(tmp_path / "whole", **settings).wait() == 0
    for step in sorted(random.Random(0).sample(range(1, 34), 5)):
        process = start_training(tmp_path / "killed", **settings)
        assert wait_for_step(tmp_path / "killed", step, process), f"ended before step {step}"
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert start_training(tmp_path / "killed", **settings).wait() == 0
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


@pytest.mark.slow
def test_two_runs_of_one_configuration_on_one_volume_both_finish(products, tmp_path):
    settings = {"epochs": 90, "checkpoint_minutes": 0.0, "checkpoints": tmp_path / "volume"}
    runs = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_products(products, tmp_path / name / "products.parquet")
        runs.append(start_training(tmp_path / name, **settings))
        while not list(tmp_path.glob(f"volume/*{'-*' if runs[1:] else ''}/step-*/state.json")):
            assert runs[-1].poll() is None, "ended before it saved, or in the other's folder"
            time.sleep(0.002)
    assert runs[0].poll() is None, "the first run was too fast for the second"
    assert [run.wait() for run in runs] == [0, 0]
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert not list((tmp_path / "volume").iterdir())


@pytest.mark.slow
def test_sigterm_leaves_a_checkpoint_and_exits_143(products, tmp_path):
    write_products(products, tmp_path / "products.parquet")
    process = start_training(tmp_path, epochs=500, checkpoint_minutes=1 / 600)
    assert wait_for_step(tmp_path, 1, process), "ended before it saved"
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143
    assert list(tmp_path.glob("checkpoints/*/step-*/state.json"))
