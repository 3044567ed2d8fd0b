"""The frozen image classifier: features once a picture, a classifier on them, and what is refused."""

import json

import numpy as np
import pytest
import timm
import torch
from image_catalog import run_image_stage
from safetensors.torch import load_file, save_file

from components.core.errors import InputError
from components.data.features import read_features
from components.data.products import image_rows
from components.image.config import IMAGE_KINDS
from components.image.embedding import load_backbone

NAME = "small_resnet"


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A folder of weights as the hub's models of timm are; features are kept beside it."""
    monkeypatch.setattr("components.image.embedding.HF_HOME", str(tmp_path / "home"))
    torch.manual_seed(0)
    folder = tmp_path / "weights"
    folder.mkdir()
    save_file(timm.create_model(NAME).state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architecture": NAME}))
    return folder


def run(folder, weights, config=None, **options):
    frozen = {"kind": "frozen", "name": "frozen", "weights": str(weights), "size": [32, 32]}
    return run_image_stage(folder, {**frozen, **(config or {})}, defaults={}, **options)


@pytest.mark.parametrize("classifier", ["logistic", "mlp"])
def test_random_features_are_enough_for_colored_squares(tmp_path, weights, classifier):
    metrics, found, catalog = run(tmp_path / "run", weights, {"classifier": classifier})
    assert metrics["macro_f1"] > 0.9
    truth = np.arange(90)[72:] % 3
    assert (found.matrices["final"]["test"].pred_probs.argmax(1) == truth).mean() > 0.9
    features = read_features(tmp_path / "run" / "features.npz")
    assert features.values.shape == (90, 192)
    assert features.ids.tolist() == catalog.ids.tolist()


def test_features_are_the_backbones_on_resized_images(tmp_path, weights, monkeypatch):
    run(tmp_path / "run", weights)
    backbone = load_backbone("", str(weights), (32, 32))
    assert backbone.name == NAME
    kept = load_backbone("", str(tmp_path / "run" / "model" / "encoder"), (32, 32))
    state = kept.state_dict()
    assert all(torch.equal(state[key], value) for key, value in backbone.state_dict().items())


def test_another_run_and_a_fold_compute_no_feature_again(tmp_path, weights, monkeypatch):
    seen = []
    forward = torch.nn.Module.__call__

    def counted(module, *inputs, **options):
        if type(module).__name__ == "Backbone" and not inputs[0].is_meta:
            seen.append(len(inputs[0]))
        return forward(module, *inputs, **options)

    monkeypatch.setattr(torch.nn.Module, "__call__", counted)
    run(tmp_path / "one", weights)
    assert sum(seen) == 90
    first = read_features(tmp_path / "one" / "features.npz").values
    run(tmp_path / "two", weights, {"classifier": "mlp"}, seed=3)
    assert np.array_equal(read_features(tmp_path / "two" / "features.npz").values, first)
    run(tmp_path / "three", weights, fold=1)
    assert sum(seen) == 90
    run(tmp_path / "four", weights, {"size": [48, 32]})
    assert sum(seen) == 180


def test_a_product_without_an_image_gets_the_class_frequencies(tmp_path, weights):
    _, found, catalog = run(tmp_path / "run", weights, without_image=(0, 60, 80))
    labels = catalog.labels[1:54]
    expected = np.bincount(labels) / len(labels)
    np.testing.assert_allclose(found.matrices["final"]["validation"].pred_probs[6], expected, atol=1e-6)
    assert not read_features(tmp_path / "run" / "features.npz").values[80].any()
    assert image_rows(catalog, np.array([80]))[1][80] == -1


def test_refit_learns_from_validation_for_the_test_split_alone(tmp_path, weights):
    _, once, _ = run(tmp_path / "once", weights)
    _, again, _ = run(tmp_path / "again", weights, {"refit": True})
    before, after = once.matrices["final"], again.matrices["final"]
    assert np.array_equal(before["validation"].pred_probs, after["validation"].pred_probs)
    assert not np.array_equal(before["test"].pred_probs, after["test"].pred_probs)


def test_the_model_folder_holds_what_predicting_takes(tmp_path, weights):
    _, found, _ = run(tmp_path / "run", weights)
    kept = load_file(tmp_path / "run" / "model" / "model.safetensors")
    features = torch.from_numpy(read_features(tmp_path / "run" / "features.npz").values)
    logits = (features - kept["center"]) / kept["spread"] @ kept["weights"] + kept["bias"]
    expected = found.matrices["final"]["test"].pred_probs
    np.testing.assert_allclose(logits.softmax(1)[72:].numpy(), expected, atol=1e-4)
    settings = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert settings["classes"] == ["10", "20", "30"]
    assert "backbone" not in settings  # by this key end-to-end fusion finds networks to train


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": "pretrained"}, "backbone is missing"),
        ({"weights": "scratch"}, "scratch"),
        ({"backbone": "alex/net"}, "no name of timm's"),
        ({"backbone": "resnet18", "weights": "imagenet"}, "once 'imagenet'"),
        ({"l2": []}, "l2"),
        ({"classifier": "svm"}, "logistic"),
    ],
)
def test_a_wrong_configuration_is_refused(change, message):
    values = {"kind": "frozen", "name": "frozen", "weights": "some/folder", **change}
    with pytest.raises(InputError, match=message):
        IMAGE_KINDS.parse(values)


def test_weights_without_a_named_architecture_are_refused(tmp_path, weights):
    (weights / "config.json").unlink()
    with pytest.raises(InputError, match=r"without a backbone in the configuration.*config\.json"):
        run(tmp_path / "run", weights)
    assert run(tmp_path / "named", weights, {"backbone": NAME})[0]["macro_f1"] > 0.9
