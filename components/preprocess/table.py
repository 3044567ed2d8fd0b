"""Makes the product tables of a catalog's records: labels, groups of duplicates, splits, folds."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from components.data.products import SCHEMA
from components.preprocess.catalog.records import Record
from components.preprocess.duplicates import Placeholder, group_duplicates
from components.preprocess.split import assign_folds, split_validation
from components.reports.page import many

log = logging.getLogger(__name__)

COLUMNS = ("product_id", "image", "code")


@dataclass(frozen=True)
class SplitSettings:
    """How labeled products are split.

    Attributes:
        validation_share: of the products.
        folds: that train is dealt into, for out-of-fold predictions.
        seed: of split and folds.
        earlier: ids of the products that an earlier run validated on.
        train_only: ids of products that nothing is validated on: a model's answer led to their label.
    """

    validation_share: float
    folds: int
    seed: int
    earlier: frozenset[str] = frozenset()
    train_only: frozenset[str] = frozenset()


def split_settings(validation_share: float, folds: int, seed: int, earlier: dict | None) -> SplitSettings:
    """The settings of a split.

    Args:
        earlier: the profile that an earlier run left, whose validation products are validation again.
    """
    before = frozenset(earlier.get("validation", []) if earlier else [])
    return SplitSettings(validation_share, folds, seed, before)


@dataclass(frozen=True)
class Alike:
    """By what duplicates among the products are known.

    Attributes:
        titles: hash of each title by a record's row, 0 for none.
        pictures: key of an image -> of the first that it nearly equals; itself where it is not there.
    """

    titles: Sequence[int]
    pictures: Mapping[str, str]


def labeled_table(
    records: Sequence[Record], alike: Alike, classes: list[str], settings: SplitSettings
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table of the labeled products without their texts, and what the report says of its split.

    Args:
        classes: the records' codes, in the order of the labels.

    Raises:
        InputError: the products cannot be split.
    """
    table, labels, groups, placeholders = _table(records, alike, classes)
    ids = table["product_id"].tolist()
    before = {"earlier": settings.earlier, "train_only": settings.train_only}
    split = split_validation(ids, labels, groups, settings.validation_share, settings.seed, **before)
    folds = np.full(len(records), -1)
    fit = np.flatnonzero(~split.validation)
    folds[fit] = assign_folds(
        [ids[row] for row in fit], labels[fit], groups[fit], settings.folds, settings.seed
    )
    table["split"] = np.where(split.validation, "validation", "train")
    table["fold"] = _nullable(folds)
    notes = {
        "moved": split.moved,
        "not_validated": [classes[label] for label in split.not_validated],
        "placeholders": [
            {"what": each.what, "products": each.products, "classes": each.classes, "first": ids[each.first]}
            for each in placeholders
        ],
    }
    for _, sentence in split_sentences(notes):
        log.warning("split: %s", sentence)
    return table.reindex(columns=SCHEMA.names), notes


def new_table(records: Sequence[Record], alike: Alike, classes: Sequence[str]) -> pd.DataFrame:
    """The table of the products to categorize without their texts; all of them are the test split."""
    table, labels, _, _ = _table(records, alike, classes)
    table["split"], table["fold"] = "test", _nullable(np.full(len(labels), -1))
    return table.reindex(columns=SCHEMA.names)


def _table(
    records: Sequence[Record], alike: Alike, classes: Sequence[str]
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, list[Placeholder]]:
    """The table without splits and folds; its labels and groups, (N,); titles and pictures of no meaning."""
    table = pd.DataFrame({name: [getattr(each, name) for each in records] for name in COLUMNS}, dtype=object)
    label_of: dict[str | None, int] = {code: label for label, code in enumerate(classes)}
    labels = np.array([label_of.get(record.code, -1) for record in records], np.int64)
    titles = [alike.titles[record.row] or None for record in records]
    pictures = [record.image and alike.pictures.get(record.image, record.image) for record in records]
    groups, placeholders = group_duplicates(titles, pictures, labels)
    table["label"], table["group"], table["removed"] = _nullable(labels), groups, False
    return table, labels, groups, placeholders


def split_sentences(notes: dict[str, Any]) -> list[tuple[bool, str]]:
    """What is worth knowing of a split: whether it is in order, and a sentence."""
    sentences = [
        (
            False,
            f"One {each['what']} lies under {each['products']:,} products of {each['classes']} classes, the "
            f"first is {each['first']!r}: taken for a placeholder, it ties no products together.",
        )
        for each in notes.get("placeholders", [])
    ]
    if codes := notes.get("not_validated"):
        named = f"{', '.join(codes[:8])}{f' and {len(codes) - 8} more' if len(codes) > 8 else ''}"
        sentences.append((False, f"Classes of too few different products to validate: {named}."))
    return sentences + [
        (True, f"{many(count, 'product lies', 'products lie')} on another side than by hash: {why}.")
        for why, count in notes.get("moved", {}).items()
    ]


def _nullable(numbers: np.ndarray) -> pd.arrays.IntegerArray:
    """Int64 with null for -1."""
    return pd.arrays.IntegerArray(numbers.astype(np.int64), numbers < 0)
