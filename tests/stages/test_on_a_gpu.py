"""What a GPU promises: the CPU's order and figures within a tolerance, and a stopped training goes on.

bfloat16 keeps 8 bits of a number, so losses of about 1 may part by some hundredths; what is computed in
float32 on both parts in the order of its sums alone. Dropout draws other numbers there, so it is off wherever
the two are compared.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fusion_classifiers import run_fusion_stage, write_stage
from image_catalog import DCL, run_image_stage, write_catalog
from text_catalog import small_config, text_products

from components.data.probabilities import Classifier, read_classifier, read_classifiers
from components.data.products import training_task
from components.fusion.config import FUSION_KINDS
from components.fusion.decision_level import fits
from components.fusion.feature_level import baselines, inputs, ngram_color_mlp
from components.image import color_histogram
from components.image.config import IMAGE_KINDS
from components.image.run import run_image
from components.modeling.trained import Trained, TrainingSetup
from components.modeling.training import TrainingLoop
from components.text.transformer import train_transformer

BFLOAT16_LOSS = 0.05  # of losses of about 1
FLOAT32_PROBABILITY = 0.01  # after some hundred steps of Adam
POOLED = {"epochs": 5, "dropout": 0.0}


def train_text(folder: Path, *, checkpoints: Path | None = None, **changes: Any) -> Trained:
    products = text_products()
    task = training_task(products, fold=None, cleaned=False)
    return train_transformer(
        products, task, small_config(**changes), TrainingSetup(3, folder / "model", checkpoints)
    )


def curve(curves: list[dict[str, float]], key: str = "loss") -> np.ndarray:
    return np.array([epoch[key] for epoch in curves])


def stop_at(patch: pytest.MonkeyPatch, step: int) -> None:
    """Stands for SIGTERM while a step is under way."""
    take_step = TrainingLoop.take_step

    def stopping(loop: TrainingLoop, batch: Any) -> None:
        take_step(loop, batch)
        loop.termination.requested |= loop.steps == step

    patch.setattr(TrainingLoop, "take_step", stopping)


@pytest.mark.gpu
def test_texts_are_learned_in_the_same_order_with_the_losses_of_the_cpu(tmp_path: Path):
    settings = {"epochs": 3, "dropout": 0.0}
    ours = train_text(tmp_path / "gpu", **settings)
    theirs = train_text(tmp_path / "cpu", accelerator="cpu", **settings)
    assert ours.device == torch.cuda.get_device_name()
    assert theirs.device == "CPU"
    np.testing.assert_allclose(curve(ours.curves), curve(theirs.curves), atol=BFLOAT16_LOSS)


@pytest.mark.gpu
def test_texts_are_learned_and_predicted_on_a_gpu(tmp_path: Path):
    trained = train_text(tmp_path, epochs=8)
    assert max(curve(trained.curves, "macro_f1")) > 0.8
    for probabilities in trained.matrices["best"].values():
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("step", [3, 11])
def test_a_stopped_training_on_texts_goes_on_with_the_same_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
):
    whole = train_text(tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_at(patch, step)
        with pytest.raises(SystemExit) as ended:
            train_text(tmp_path / "stopped", checkpoints=tmp_path / "checkpoints")
    assert ended.value.code == 143
    resumed = train_text(tmp_path / "stopped", checkpoints=tmp_path / "checkpoints")
    assert any("resumed_at_step" in epoch for epoch in resumed.curves)
    np.testing.assert_allclose(curve(resumed.curves), curve(whole.curves), atol=BFLOAT16_LOSS)


def train_images(folder: Path, config: dict[str, Any], **options: Any) -> Classifier:
    return run_image_stage(folder, config, **options)[1]


@pytest.mark.gpu
def test_images_are_learned_in_the_same_order_with_the_losses_of_the_cpu(tmp_path: Path):
    ours = train_images(tmp_path / "gpu", {"epochs": 2})
    theirs = train_images(tmp_path / "cpu", {"epochs": 2, "accelerator": "cpu"})
    assert ours.metadata["device"] == torch.cuda.get_device_name()
    assert theirs.metadata["device"] == "CPU"
    np.testing.assert_allclose(
        curve(ours.metadata["curves"]), curve(theirs.metadata["curves"]), atol=2 * BFLOAT16_LOSS
    )


@pytest.mark.gpu
@pytest.mark.parametrize("step", [3, 8])
def test_a_stopped_training_on_images_goes_on_with_the_same_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
):
    config = {**DCL, "epochs": 2}
    whole = train_images(tmp_path / "whole", config)
    with monkeypatch.context() as patch:
        stop_at(patch, step)
        with pytest.raises(SystemExit) as ended:
            train_images(tmp_path / "stopped", config, checkpoints=tmp_path / "checkpoints")
    assert ended.value.code == 143
    resumed = train_images(tmp_path / "stopped", config, checkpoints=tmp_path / "checkpoints")
    got, expected = (curve(classifier.metadata["curves"]) for classifier in (resumed, whole))
    np.testing.assert_allclose(got, expected, atol=4 * BFLOAT16_LOSS)  # of three losses, with DCL


@pytest.mark.gpu
def test_the_nets_of_fusion_give_on_a_gpu_what_they_give_on_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fits, "GPU_ROWS", 0)
    monkeypatch.setattr(baselines, "GPU_FEATURES", 0)
    kinds: dict[str, dict[str, Any]] = {"linear": {}, "mlp": {}, "concat": POOLED, "sum": POOLED}
    stage, _ = write_stage(tmp_path)
    found = {}
    for accelerator in ("auto", "cpu"):
        configs = [
            {"name": kind, "kind": kind, "accelerator": accelerator, **settings}
            for kind, settings in kinds.items()
        ]
        run_fusion_stage(stage, tmp_path / accelerator, configs)
        folders = [tmp_path / accelerator / folder for folder in ("members", "feature-level")]
        found[accelerator] = [classifier for folder in folders for classifier in read_classifiers(folder)]
    for ours, theirs in zip(found["auto"], found["cpu"], strict=True):
        assert ours.metadata["device"] == torch.cuda.get_device_name()
        assert theirs.metadata["device"] == "CPU"
        got, expected = (each.matrices["chosen"]["validation"].pred_probs for each in (ours, theirs))
        np.testing.assert_allclose(got, expected, atol=FLOAT32_PROBABILITY, err_msg=ours.name)


@pytest.mark.gpu
def test_the_net_on_ngrams_and_colors_gives_on_a_gpu_what_it_gives_on_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ngram_color_mlp, "GPU_PRODUCTS", 0)
    _, store, products = write_catalog(tmp_path)
    products.table["title"] = [f"shirt {row % 3}" for row in range(len(products.table))]
    nothing = inputs.Modality("text", [], [], [])
    data = inputs.FeatureLevelData(products, store, nothing, nothing, seed=0, model=tmp_path / "model")
    fused = []
    for accelerator in ("auto", "cpu"):
        config = FUSION_KINDS.parse(
            {
                "name": "net",
                "kind": "ngram_color_mlp",
                "accelerator": accelerator,
                "hidden": 16,
                "min_steps": 150,
                "min_train_products": 0,
                "dropout": 0.0,
            }
        )
        fused.append(FUSION_KINDS.of(config).load_fit()(config, data))
    assert [each.device.type for each in fused] == ["cuda", "cpu"]
    got, expected = (each.splits["validation"] for each in fused)
    np.testing.assert_allclose(got, expected, atol=FLOAT32_PROBABILITY)


@pytest.mark.gpu
def test_the_color_classifier_gives_on_a_gpu_what_it_gives_on_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(color_histogram, "GPU_IMAGES", 0)
    products, images, _ = write_catalog(tmp_path)
    found = {}
    for accelerator in ("auto", "cpu"):
        settings = {"min_steps": 90, "dropout": 0.0, "accelerator": accelerator}
        config = IMAGE_KINDS.parse({"name": "color", "kind": "color_histogram", **settings})
        outputs: dict[str, Any] = {
            name: tmp_path / accelerator / name for name in ("probabilities", "features", "model")
        }
        run_image(products, images, config, fold=None, seed=0, **outputs)
        found[accelerator] = read_classifier(outputs["probabilities"])
    assert found["auto"].metadata["device"] == torch.cuda.get_device_name()
    got, expected = (one.matrices["final"]["validation"].pred_probs for one in found.values())
    np.testing.assert_allclose(got, expected, atol=FLOAT32_PROBABILITY)


LIGHT = [
    (fits, "GPU_ROWS", 120, [{"name": "linear", "kind": "linear"}]),
    (baselines, "GPU_FEATURES", 200, [{"name": "m", "kind": "mean"}, {"name": "sum", "kind": "sum"}]),
]


@pytest.mark.parametrize("module, size, rows, configs", LIGHT, ids=["decision level", "feature level"])
@pytest.mark.parametrize("accelerator", ["auto", "cpu"])
def test_light_kinds_ask_for_a_gpu_from_the_stated_size_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module, size, rows, configs, accelerator
):
    asked = []

    def choose(accelerator: str, *, enough: bool) -> torch.device:
        asked.append((accelerator, enough))
        return torch.device("cpu")

    stage, _ = write_stage(tmp_path)
    *others, config = configs
    configs = [*others, {**config, "accelerator": accelerator, "epochs": 1}]
    monkeypatch.setattr(module, "choose_device", choose)
    for stated in (rows, rows + 1):
        monkeypatch.setattr(module, size, stated)
        run_fusion_stage(stage, tmp_path / str(stated), configs)
    assert asked == [(accelerator, True), (accelerator, False)]
