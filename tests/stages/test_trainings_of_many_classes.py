"""Trainings of many classes leave what is kept of their matrices, whatever the blocks these are cut in."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from every_kind import COLORS, WEAK
from image_catalog import CONFIG, write_catalog
from text_catalog import WORDS, small_config

from components.data import top_classes
from components.data.probabilities import read_classifier
from components.data.products import Products, write_products
from components.data.top_classes import TopClasses
from components.image.config import IMAGE_KINDS
from components.image.run import run_image
from components.modeling import growing_matrix
from components.text.config import TEXT_KINDS
from components.text.run import run_text, run_text_folds

COUNT, ROWS = 60, 7  # products, and rows of a block, of which the last is short
TEXTS = {
    "linear": {"name": "tfidf", "kind": "linear", "features": 0, "refit": True},
    "transformer": small_config(epochs=2, late_checkpoints=1).model_dump(),
}
IMAGES = {
    "network": {**CONFIG, "kind": "network", "epochs": 2, "late_checkpoints": 1},
    "best_of": {"name": "best", "kind": "best_of", "candidates": [WEAK, COLORS]},
}
# A net's last bits depend on how many rows it is given at once.
TOLERANCE = {"best_of": 1e-6}


def train(folder: Path, kind: str) -> Iterator[Path]:
    """Trains a kind, the linear one in folds too; the folders of the classifiers."""
    folder.mkdir()
    products, images, catalog = write_catalog(folder, COUNT, without_image=(3, 40, 55))
    random, words = np.random.default_rng(0), list(WORDS.values())
    catalog.table["title"] = [" ".join(random.choice(words[row % 3], 3)) for row in range(COUNT)]
    write_products(Products(catalog.table, catalog.classes), products)
    probabilities, features, model = (folder / name for name in ("probabilities", "features", "model"))
    outputs: dict[str, Any] = {"probabilities": probabilities, "features": features, "model": model}
    if kind in TEXTS:
        run_text(products, TEXT_KINDS.parse(TEXTS[kind]), fold=None, seed=0, **outputs)
    else:
        run_image(products, images, IMAGE_KINDS.parse(IMAGES[kind]), fold=None, seed=0, **outputs)
    yield probabilities
    if kind == "linear":
        config, outputs = TEXT_KINDS.parse(TEXTS[kind]), {**outputs, "probabilities": folder / "folds"}
        run_text_folds(products, config, folds=[0, 1], seed=0, **outputs)
        yield from (folder / "folds" / f"fold-{fold}" for fold in (0, 1))


@pytest.mark.parametrize("kind", [*TEXTS, *IMAGES])
def test_a_training_leaves_the_part_of_the_whole_matrices(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [read_classifier(each) for each in train(tmp_path / "whole", kind)]
    monkeypatch.setattr(top_classes, "MANY_CLASSES", 2)
    monkeypatch.setattr(top_classes, "KEPT", 1)
    monkeypatch.setattr(top_classes, "BATCH", ROWS)
    for module in (top_classes, growing_matrix):
        monkeypatch.setattr(module, "CELLS", ROWS * 3)
    in_part = [read_classifier(each) for each in train(tmp_path / "part", kind)]
    for expected, classifier in zip(whole, in_part, strict=True):
        assert list(classifier.matrices) == list(expected.matrices)
        for checkpoint, splits in expected.matrices.items():
            for split, matrix in splits.items():
                found = classifier.matrices[checkpoint][split]
                assert isinstance(found.pred_probs, TopClasses)
                assert found.ids.tolist() == matrix.ids.tolist()
                assert len(found.ids) % ROWS
                cut = top_classes.top_classes(matrix.pred_probs)
                np.testing.assert_array_equal(found.pred_probs.kept, cut.kept)
                np.testing.assert_allclose(
                    found.pred_probs.values, cut.values, atol=TOLERANCE.get(kind, 0), rtol=1e-7
                )
