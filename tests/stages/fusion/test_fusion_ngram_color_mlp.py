"""The light feature-level fusion: what n-grams and colors say together, without either stage's models."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fusion_classifiers import run_fusion_stage, write_stage
from image_catalog import write_catalog

from components.core.errors import InputError
from components.data.probabilities import read_classifiers
from components.data.products import Products, read_products, write_products
from components.fusion.config import FUSION_KINDS
from components.fusion.feature_level.inputs import FeatureLevelData, Modality

CONFIG = {
    "name": "net",
    "kind": "ngram_color_mlp",
    "hidden": 16,
    "min_steps": 150,
    "min_train_products": 0,
}
NOTHING = Modality("text", [], [], [])
NO_IMAGE = (7, 85)
WORDS = ("shirt with sleeves", "shirt with sleeves", "pair of shoes")


def catalog(root: Path, *, titles: bool = True, images: bool = True) -> tuple[Products, Path]:
    """A catalog whose titles tell class 2 from the others, and whose images tell class 0 from the others."""
    path, store, products = write_catalog(root, without_image=NO_IMAGE)
    table = products.table
    labels = np.arange(len(table)) % 3
    if titles:
        table["title"] = [WORDS[label] for label in labels]
    keys = table["image"].to_list()
    table["image"] = [
        (keys[row - 1] if label == 2 else keys[row]) if images else None for row, label in enumerate(labels)
    ]
    products = Products(table, products.classes)
    write_products(products, path)
    return products, store


def fit(products: Products, store: Path, **changes: object) -> dict[str, np.ndarray]:
    config = FUSION_KINDS.parse({**CONFIG, **changes})
    data = FeatureLevelData(products, store, NOTHING, NOTHING, seed=0, model=store.parent / "model")
    fused = FUSION_KINDS.of(config).load_fit()(config, data)
    assert fused is not None
    return fused.splits


def train(
    root: Path, *, titles: bool = True, images: bool = True, **changes: object
) -> tuple[dict[str, np.ndarray], Products]:
    products, store = catalog(root, titles=titles, images=images)
    return fit(products, store, **changes), products


def share_right(splits: dict[str, np.ndarray], products: Products) -> float:
    truth = products.rows("test") % 3
    return float((splits["test"].argmax(axis=1) == truth).mean())


def test_both_modalities_together_tell_what_neither_tells_alone(tmp_path: Path) -> None:
    assert share_right(*train(tmp_path / "both")) > 0.9
    assert share_right(*train(tmp_path / "images", titles=False)) < 0.8


def test_every_row_gets_probabilities_with_or_without_an_image(tmp_path: Path) -> None:
    splits, products = train(tmp_path)
    assert {split: len(values) for split, values in splits.items()} == {
        split: len(products.rows(split)) for split in ("validation", "test")
    }
    for values in splits.values():
        assert values.dtype == np.float32
        np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-5)
    assert NO_IMAGE[1] in products.rows("test")


def test_the_same_seed_gives_the_same_bits_and_refitting_leaves_validation_as_it_was(tmp_path: Path) -> None:
    first, again = train(tmp_path / "a")[0], train(tmp_path / "b")[0]
    refit = train(tmp_path / "c", refit=True)[0]
    for split in first:
        np.testing.assert_array_equal(first[split], again[split])
    np.testing.assert_array_equal(first["validation"], refit["validation"])
    assert not np.array_equal(first["test"], refit["test"])


def test_products_that_denoising_removed_are_left_out_on_request(tmp_path: Path) -> None:
    products, store = catalog(tmp_path)
    removed = products.rows("train")[::2]
    products.table["removed"] = np.isin(np.arange(len(products.table)), removed)
    whole = fit(products, store)
    products.table.loc[removed, "label"] = 1  # of no weight to a training without them
    wrong = fit(products, store, cleaned=True)
    assert not np.array_equal(whole["test"], wrong["test"])
    assert share_right(wrong, products) > 0.9
    assert share_right(fit(products, store), products) < 0.9


@pytest.mark.parametrize("least", [1.0, 1000.0])
def test_the_stage_leaves_it_out_of_a_small_catalog_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, least: float
) -> None:
    stage, _ = write_stage(tmp_path, texts=1, images=1)
    store = tmp_path / "images"
    write_catalog(store)
    table = read_products(stage.products)
    table.table["image"] = [f"k{row % 90}" for row in range(len(table.table))]
    write_products(table, stage.products)
    light = {
        "name": "net",
        "kind": "ngram_color_mlp",
        "min_steps": 10.0,
        "min_train_products": least,
    }
    stage = replace(stage, images=store / "images")
    metrics = run_fusion_stage(stage, tmp_path, [{"name": "mean", "kind": "mean"}, light], folds=2)
    made = [classifier.name for classifier in read_classifiers(tmp_path / "feature-level")]
    assert made == (["net"] if least == 1 else [])
    assert ("best_feature_level_macro_f1" in metrics) == (least == 1)
    assert ("net is left out: " in caplog.text) == (least > 1)


def test_a_catalog_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="net: no product has an image; leave the kind ngram_color_mlp out"):
        train(tmp_path, images=False)


def test_texts_with_nothing_in_common_are_refused_by_name(tmp_path: Path) -> None:
    products, store = catalog(tmp_path)
    products.table["title"] = [chr(0x4E00 + row) for row in range(len(products.table))]
    products.table["description"] = ""
    with pytest.raises(InputError, match="classifier net: nothing to learn from titles and descriptions"):
        fit(products, store)
