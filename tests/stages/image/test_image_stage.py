"""The image stage from files to files: stages, folds, late checkpoints, missing images."""

import json

import numpy as np
import pytest
import torch
from image_catalog import DCL
from image_catalog import run_image_stage as run
from safetensors import safe_open

from components.core.errors import InputError
from components.data.features import read_features


def test_a_small_catalog_is_learned_and_every_output_is_there(tmp_path):
    metrics, classifier, catalog = run(tmp_path, {"min_steps": 60, "schedule": "one_cycle"})
    assert metrics["macro_f1"] > 0.9
    assert list(classifier.matrices) == ["final"]
    assert {split: len(matrix.ids) for split, matrix in classifier.matrices["final"].items()} == {
        "validation": 18,
        "test": 18,
    }
    truth = np.arange(90)[72:] % 3
    assert (classifier.matrices["final"]["test"].pred_probs.argmax(1) == truth).mean() > 0.9
    features = read_features(tmp_path / "features.npz")
    assert features.values.shape == (90, 192)
    assert features.ids.tolist() == catalog.ids.tolist()
    assert len(classifier.metadata["curves"]) == 10  # 54 products make 6 steps of 8: 60 steps take 10 epochs
    with safe_open(tmp_path / "model" / "model.safetensors", "pt") as file:
        assert file.get_tensor("head.weight").shape == (3, 192)
    assert json.loads((tmp_path / "model" / "config.json").read_text())["classes"] == ["10", "20", "30"]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    models = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(tmp_path / name, seed=seed)
        models.append((tmp_path / name / "model" / "model.safetensors").read_bytes())
    assert models[0] == models[1] != models[2]


@pytest.mark.parametrize("swap", ["cls_2", "cls_2xmul"])
def test_dcl_follows_from_the_first_stage_which_may_vote_too(tmp_path, swap):
    config = {**DCL, "dcl_swap": swap, "late_checkpoints": 1, "keep_stage1": True}
    metrics, classifier, _ = run(tmp_path, config)
    assert list(classifier.matrices) == ["final", "epoch-1", "stage1"]
    assert [(curve["stage"], curve["epoch"]) for curve in classifier.metadata["curves"]] == [
        (1, 1),
        (1, 2),
        (1, 3),
        (2, 1),
        (2, 2),
    ]
    assert np.isfinite(metrics["final_loss"])
    plain = run(tmp_path / "plain")[1]
    stage1, alone = classifier.matrices["stage1"]["test"], plain.matrices["final"]["test"]
    assert np.array_equal(stage1.pred_probs, alone.pred_probs)


def test_a_fold_is_predicted_by_a_model_that_never_saw_it(tmp_path):
    _, classifier, catalog = run(tmp_path, fold=1)
    matrix = classifier.matrices["final"]["out_of_fold"]
    expected = catalog.ids[(catalog.table["fold"] == 1).fillna(False).to_numpy(dtype=bool)]
    assert matrix.ids.tolist() == expected.tolist()
    assert sorted(classifier.matrices["final"]) == ["out_of_fold", "validation"]
    assert all("macro_f1" not in curve for curve in classifier.metadata["curves"])
    assert read_features(tmp_path / "features.npz").values.shape == (90, 0)


def test_products_without_an_image_get_the_class_frequencies_and_are_not_trained_on(tmp_path):
    _, classifier, _ = run(tmp_path, without_image=(0, 3, 60, 89))
    prior = np.array([16, 18, 18]) / 52
    assert np.allclose(classifier.matrices["final"]["validation"].pred_probs[60 - 54], prior)
    assert np.allclose(classifier.matrices["final"]["test"].pred_probs[89 - 72], prior)
    assert classifier.metadata["products_without_image"] == 4
    assert (read_features(tmp_path / "features.npz").values[[0, 3, 60, 89]] == 0).all()


def test_late_checkpoints_vote_too_and_come_after_the_chosen_one(tmp_path):
    _, classifier, _ = run(tmp_path, {"late_checkpoints": 2})
    assert list(classifier.matrices) == ["final", "epoch-2", "epoch-1"]
    final, late = (classifier.matrices[name]["test"].pred_probs for name in ("final", "epoch-1"))
    assert not np.array_equal(final, late)


@pytest.mark.parametrize("change", [{"cache": "stream"}, {"fit": "pad"}])
def test_every_way_of_reading_images_trains(tmp_path, change):
    assert np.isfinite(run(tmp_path, {**change, "epochs": 1})[0]["final_loss"])


def test_streamed_images_train_the_same_model_as_cached_ones(tmp_path):
    for place in ("memory", "stream", "disk"):
        run(tmp_path / place, {"cache": place, "epochs": 2})
    models = {(tmp_path / place / "model" / "model.safetensors").read_bytes() for place in ("memory", "disk")}
    assert models == {(tmp_path / "stream" / "model" / "model.safetensors").read_bytes()}


def test_logit_adjustment_favors_the_rare_class(tmp_path):
    without = tuple(row for row in range(9, 54, 3))  # three products of the first class are left to train on
    shares = []
    for balance in (0.0, 1.0):
        _, classifier, _ = run(
            tmp_path / str(balance), {"logit_adjustment_tau": balance}, without_image=without
        )
        shares.append(classifier.matrices["final"]["test"].pred_probs[:, 0].mean())
    assert shares[1] > shares[0] + 0.02


def test_a_loss_that_is_not_a_number_stops_the_training_with_step_and_rate(tmp_path):
    with pytest.raises(InputError, match=r"the loss is (nan|inf) at step \d+ .* learning rate 1e\+20"):
        run(tmp_path, {"learning_rate": 1e20})
    assert not (tmp_path / "model").exists()


def test_a_catalog_without_images_is_refused(tmp_path):
    with pytest.raises(InputError, match="0 of 54 products to train on have an image"):
        run(tmp_path, without_image=tuple(range(90)))


@pytest.mark.parametrize("backbone", ["resnet18", "vit_tiny_patch16_224"])
def test_another_backbone_runs_through_both_stages(tmp_path, backbone):
    torch.manual_seed(0)
    config = {**DCL, "backbone": backbone, "epochs": 1, "dcl_epochs": 1, "dcl_resize": [72, 72]}
    assert np.isfinite(run(tmp_path, {**config, "dcl_crop": [64, 64]})[0]["final_loss"])


def test_a_backbone_that_cannot_serve_is_refused_before_anything_is_decoded(tmp_path):
    with pytest.raises(InputError, match="'efficientvim_m1' gives no feature map"):
        run(tmp_path, {"backbone": "efficientvim_m1", "weights": "pretrained"})
