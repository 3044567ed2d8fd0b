"""Groups duplicates, and splits and folds products so that a group stays on one side."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

# A text or image that more products than this share is a placeholder, not a duplicate.
PLACEHOLDER_COUNT = 100
PLACEHOLDER_SHARE = 0.01
PARTS = 20  # that a share of validation is met in, at most: finer parts are less alike


def group_duplicates(titles: Sequence[str], images: Sequence[str | None]) -> np.ndarray:
    """Group numbers, (N,) int64: products with one title (in any case) or one image share a group.

    3 % of the challenge's titles and about 10 % of its images occur more than once; on both sides of a
    split they let the validation leak. A title or image that over 1 % of the products (and over 100)
    share is taken for a placeholder and links nothing.
    """
    count = len(titles)
    products, keys, offset = [], [], 0
    for column in ([title.casefold() or None for title in titles], images):
        codes, uniques = pd.factorize(np.array(column, dtype=object))
        sizes = np.bincount(codes[codes >= 0], minlength=len(uniques))
        placeholder = sizes > max(PLACEHOLDER_COUNT, PLACEHOLDER_SHARE * count)
        links = np.flatnonzero(codes >= 0)
        links = links[~placeholder[codes[links]]]
        products.append(links)
        keys.append(codes[links] + count + offset)
        offset += len(uniques)
    rows, columns = np.concatenate(products), np.concatenate(keys)
    size = count + offset
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    return pd.factorize(component[:count])[0].astype(np.int64)


def split_validation(labels: np.ndarray, groups: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which labeled products are validation, (N,) bool: stratified, a group stays on one side.

    The paper splits 9:1 at random (section 4.1), so the default share is 0.1. A class whose every
    product would be validation stays in train.

    Args:
        share: of the products, up to 0.5; met as far as twentieths do, or parts of which the largest
            class has one product each.
        labels: at least two products of the largest class.
    """
    portion = _portion(share, int(np.bincount(labels).max()))
    validation = assign_folds(labels, groups, portion.denominator, seed) < portion.numerator
    for label in np.setdiff1d(labels, labels[~validation]):
        moved = np.isin(groups, groups[labels == label])
        validation &= ~moved
    return validation


def assign_folds(labels: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Fold numbers 0..folds-1 of the labeled products, (N,) int64: stratified, by group."""
    numbers = np.zeros(len(labels), np.int64)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
        numbers[held_out] = fold
    return numbers


def _portion(share: float, largest: int) -> Fraction:
    # scikit-learn refuses more parts than the largest class has products.
    parts = max(2, min(largest, max(PARTS, round(1 / share))))
    return max(Fraction(share).limit_denominator(parts), Fraction(1, parts))
