"""Validation and folds: the share that was asked for, and no duplicate on both sides."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from tiny_catalog import TinyCatalog, jpeg, prepare

from components.preprocess.split import split_validation


def train_and_validation(catalog: TinyCatalog, **config) -> dict[str, list]:
    """Columns of the labeled products."""
    table = prepare(catalog, **config).products.table
    labeled = table[: len(catalog.rows)]
    return {name: labeled[name].tolist() for name in labeled}


def straddling(table: dict[str, list], alike: list[str], side: str) -> list[str]:
    """What several products have alike that don't lie on one side."""
    sides = defaultdict(set)
    for key, where in zip(alike, table[side], strict=True):
        sides[key].add(where)
    return [key for key, found in sides.items() if len(found) > 1]


@pytest.mark.parametrize("side", ["split", "fold"])
def test_products_with_one_text_lie_on_one_side(tmp_path: Path, side: str):
    catalog = TinyCatalog(tmp_path, products=90)
    for i, row in enumerate(catalog.rows):
        row[1] = f"TITRE {i // 6}" if i % 2 else f"titre {i // 6}"  # three of each class
    table = train_and_validation(catalog, validation_share=0.3)
    assert set(table["split"]) == {"train", "validation"}
    assert straddling(table, [title.lower() for title in table["title"]], side) == []


@pytest.mark.parametrize("side", ["split", "fold"])
def test_products_with_one_image_lie_on_one_side(tmp_path: Path, side: str):
    catalog = TinyCatalog(tmp_path, products=90)
    for i, row in enumerate(catalog.rows):
        catalog.images[catalog.image_name(row)] = jpeg((i // 6 * 16, 0, 0))
    table = train_and_validation(catalog, validation_share=0.3)
    assert len(set(table["image"])) == 15
    assert straddling(table, table["image"], side) == []


@pytest.mark.parametrize("side", ["split", "fold"])
def test_a_chain_of_duplicates_lies_on_one_side(tmp_path: Path, side: str):
    catalog = TinyCatalog(tmp_path, products=90)
    for i, row in enumerate(catalog.rows):
        row[1] = f"Titre {i // 2}"  # by title 0-1, 2-3, 4-5 and by image 1-2, 3-4: chains of six
        if i % 6 in (2, 4):
            catalog.images[catalog.image_name(row)] = catalog.images[catalog.image_name(catalog.rows[i - 1])]
    table = train_and_validation(catalog, validation_share=0.3)
    assert straddling(table, [f"chain {i // 6}" for i in range(90)], side) == []


@pytest.mark.parametrize("share", [0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.15, 0.1, 0.05, 0.02])
def test_validation_gets_the_share_that_was_asked_for(share: float):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(6), [900, 500, 300, 200, 60, 40]))
    groups = np.random.default_rng(1).integers(0, 1900, len(labels))
    validation = split_validation(labels, groups, share, seed=0)
    assert not set(groups[validation]) & set(groups[~validation])
    assert validation.mean() == pytest.approx(share, abs=0.01)
    for label in range(4):
        assert validation[labels == label].mean() == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("share, expected", [(0.1, 5 / 45), (0.4, 0.44), (0.02, 5 / 45)])
def test_small_classes_are_split_as_finely_as_they_can_be(tmp_path: Path, share: float, expected: float):
    catalog = TinyCatalog(tmp_path, products=45, classes=5)
    table = train_and_validation(catalog, validation_share=share)
    held_out = [code for code, split in zip(table["code"], table["split"], strict=True) if split != "train"]
    assert len(held_out) / 45 == pytest.approx(expected, abs=0.05)
    assert len(set(held_out)) == 5
