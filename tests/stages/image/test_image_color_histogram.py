"""The color classifier: what it sees, what it learns, what it does without an image."""

import json

import numpy as np
import pytest
import torch
from image_catalog import write_catalog

from components.core.errors import InputError
from components.data.features import read_features
from components.data.image_store import ImageStore
from components.data.probabilities import read_classifier
from components.data.products import read_products
from components.image.config import IMAGE_KINDS
from components.image.run import run_image
from components.modeling.image.color_histogram import describe, describe_all


def run(folder, config=None, *, fold=None, without_image=(), seed=0):
    folder.mkdir(exist_ok=True)
    products, images, catalog = write_catalog(folder, without_image=without_image)
    chosen = {"name": "color", "kind": "color_histogram", "min_steps": 90.0}
    metrics = run_image(
        products,
        images,
        IMAGE_KINDS.parse({**chosen, **(config or {})}),
        fold=fold,
        seed=seed,
        probabilities=folder / "probabilities",
        features=folder / "features.npz",
        model=folder / "model",
    ).metrics
    return metrics, read_classifier(folder / "probabilities", classes=catalog.classes), catalog


def patch(color, *, top=0, left=0):
    """A patch of one color on a white image, (1, 24, 24, 4) uint8."""
    image = torch.full((1, 24, 24, 4), 255, dtype=torch.uint8)
    image[0, top : top + 8, left : left + 8, :3] = torch.tensor(color, dtype=torch.uint8)
    return image


def test_a_color_counts_whole_whatever_its_area_and_background_counts_for_nothing():
    small, large = patch([200, 30, 30], top=8, left=8), patch([200, 30, 30], top=8, left=8)
    large[0, 8:16, 4:20, :3] = torch.tensor([200, 30, 30], dtype=torch.uint8)
    described = describe(torch.cat([small, large, torch.full_like(small, 255)]))
    bins = (described.shape[1] - 48) // 5
    whole = described[:, :bins]
    assert whole.max(dim=1).values.tolist() == [1, 1, 0]
    assert torch.equal(whole[0], whole[1])


def test_two_colors_share_a_description_by_their_area_and_their_place_is_reported():
    image = patch([200, 30, 30])
    image[0, 16:, :8, :3] = torch.tensor([30, 30, 200], dtype=torch.uint8)
    (described,) = describe(image)
    bins = (len(described) - 48) // 5
    whole, upper, middle, lower, _ = described[: 5 * bins].view(5, bins)
    assert sorted(whole[whole > 0].tolist()) == pytest.approx([0.5**0.5] * 2)
    assert upper.argmax() != lower.argmax()
    assert middle.sum() == 0
    assert described[5 * bins :].view(8, 6)[0].tolist() == pytest.approx([1, 1, 0, 0, 0, 0])


def test_near_grays_are_distinguished_where_equal_bins_would_not():
    described = describe(torch.cat([patch([60, 60, 60]), patch([58, 60, 74])]))
    assert not torch.equal(described[0], described[1])


def test_a_pixel_is_background_where_every_channel_is_at_least_240():
    background = describe(patch([240, 255, 247])[:, :8, :8].repeat(1, 3, 3, 1))
    assert background.count_nonzero() == 0
    for channel in range(3):
        color = [240, 240, 240]
        color[channel] = 239
        assert describe(patch(color)[:, :8, :8].repeat(1, 3, 3, 1))[0, -48:].tolist() == [1] * 48


def test_the_images_that_were_described_last_are_not_read_again_and_others_are(tmp_path, monkeypatch):
    products, images, _ = write_catalog(tmp_path)
    store, keys = ImageStore(images), read_products(products).table["image"].tolist()[:6]
    first = describe_all(store, keys)
    assert describe_all(store, list(keys)) is first
    torch.testing.assert_close(describe_all(store, keys[::-1]), first.flip(0))
    torch.testing.assert_close(describe_all(ImageStore(images), keys), first)
    monkeypatch.setattr("components.modeling.image.color_histogram.REMEMBERED", 5)
    assert describe_all(store, keys) is not describe_all(store, keys)


def test_colors_are_learned_and_every_output_is_there(tmp_path):
    metrics, classifier, _ = run(tmp_path)
    assert metrics["macro_f1"] > 0.9
    truth = np.arange(90)[72:] % 3
    assert (classifier.matrices["final"]["test"].pred_probs.argmax(1) == truth).mean() > 0.9
    assert read_features(tmp_path / "features.npz").values.shape == (90, 256)
    saved = json.loads((tmp_path / "model" / "config.json").read_text())
    assert (saved["classes"], saved["kind"]) == (["10", "20", "30"], "color_histogram")


def test_a_fold_is_predicted_by_a_training_without_it(tmp_path):
    _, classifier, catalog = run(tmp_path, fold=1)
    matrix = classifier.matrices["final"]["out_of_fold"]
    assert set(matrix.ids) == set(catalog.table.loc[catalog.table["fold"] == 1, "product_id"])


def test_a_product_without_an_image_gets_the_class_frequencies(tmp_path):
    _, classifier, _ = run(tmp_path, without_image=(0, 72, 73))
    test = classifier.matrices["final"]["test"]
    assert test.pred_probs[0] == pytest.approx([17 / 53, 18 / 53, 18 / 53])
    assert test.pred_probs[2].max() > 0.5


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    models = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(tmp_path / name, seed=seed)
        models.append((tmp_path / name / "model" / "model.safetensors").read_bytes())
    assert models[0] == models[1] != models[2]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"kind": "shapes"}, "not one of best_of, color_histogram, frozen, network"),
        ({"dropout": 1.0}, "dropout"),
        ({"hidden": 0}, "hidden = 0 should be greater than 0"),
        ({"backbone": "resnet50"}, "unknown key 'backbone'"),
    ],
)
def test_a_wrong_configuration_is_explained(tmp_path, config, words):
    with pytest.raises(InputError, match=words):
        run(tmp_path, config)


def test_a_refit_changes_the_test_split_alone(tmp_path):
    once = run(tmp_path / "once")[1].matrices["final"]
    again = run(tmp_path / "again", {"refit": True})[1].matrices["final"]
    np.testing.assert_array_equal(once["validation"].pred_probs, again["validation"].pred_probs)
    assert not np.array_equal(once["test"].pred_probs, again["test"].pred_probs)
