"""Groups products that share a title or a picture; what stands in for a missing one ties nothing together."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

# A text or picture that more products have, of which no class has most, is a placeholder and no duplicate.
PLACEHOLDER_COUNT = 10
PLACEHOLDER_SHARE = 0.01
MOST = 0.75


@dataclass(frozen=True)
class Placeholder:
    """A title or picture that stands in for a missing one.

    Attributes:
        what: title or picture.
        products: that have it.
        classes: of these products.
        first: row of the first of them.
    """

    what: str
    products: int
    classes: int
    first: int


def group_duplicates(
    titles: Sequence[Any], pictures: Sequence[Any], labels: np.ndarray
) -> tuple[np.ndarray, list[Placeholder]]:
    """Group numbers, (N,) int64: products with one title or one picture share a group.

    3 % of the challenge's titles and about 10 % of its images occur more than once; on both sides of a
    split they let the validation leak. What over ten products and 1 % of all share is a placeholder, and ties
    nothing together, where no class has three quarters of them: "no picture available" lies under products
    of every kind, while duplicates nearly always have one label.

    Args:
        titles: by what each product's title is known (`title_key`, or its hash); None without a title.
        pictures: what each product's image shows, one key for near duplicates; None without an image.
        labels: (N,) classes, -1 where unlabeled.

    Returns:
        The groups, and the placeholders.
    """
    count = len(titles)
    columns = {"title": titles, "picture": pictures}
    rows, keys, placeholders, offset = [], [], [], 0
    for what, column in columns.items():
        codes, uniques = pd.factorize(np.array(column, dtype=object))
        found = _placeholders(codes, labels, len(uniques))
        placeholders += [_placeholder(what, codes == key, labels) for key in np.flatnonzero(found)]
        links = np.flatnonzero(codes >= 0)
        links = links[~found[codes[links]]]
        rows.append(links)
        keys.append(codes[links] + count + offset)
        offset += len(uniques)
    return _components(np.concatenate(rows), np.concatenate(keys), count, count + offset), placeholders


def title_key(title: str) -> str | None:
    """What two titles that differ in case, punctuation and spaces alone have in common; None for no title."""
    folded = unicodedata.normalize("NFKC", title).casefold()
    return re.sub(r"[\W_]+", " ", folded).strip() or folded.strip() or None


def _placeholders(keys: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Which keys are a placeholder's, (count,) bool."""
    sizes = np.bincount(keys[keys >= 0], minlength=count)
    known = (keys >= 0) & (labels >= 0)
    shape = (count, int(labels.max(initial=0)) + 1)
    by_class = csr_array((np.ones(int(known.sum()), np.int64), (keys[known], labels[known])), shape=shape)
    by_class.sum_duplicates()
    mixed = by_class.max(axis=1).toarray().reshape(-1) < MOST * by_class.sum(axis=1)
    return mixed & (sizes > max(PLACEHOLDER_COUNT, PLACEHOLDER_SHARE * len(keys)))


def _placeholder(what: str, has: np.ndarray, labels: np.ndarray) -> Placeholder:
    classes = len(np.unique(labels[has & (labels >= 0)]))
    return Placeholder(what, int(has.sum()), classes, int(np.flatnonzero(has)[0]))


def _components(rows: np.ndarray, keys: np.ndarray, count: int, size: int) -> np.ndarray:
    """Groups of the first `count` of `size` nodes, that edges from rows to keys connect."""
    graph = coo_array((np.ones(len(rows), np.int8), (rows, keys)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    return pd.factorize(component[:count])[0].astype(np.int64)
