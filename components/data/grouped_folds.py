"""Groups of products dealt into folds, classes spread evenly; the cost grows in line with the groups."""

import numpy as np
from scipy.sparse import csr_array


def deal_groups(group_of: np.ndarray, labels: np.ndarray, *, folds: int, position: np.ndarray) -> np.ndarray:
    """Deals whole groups, the largest first, each to the fold that has the least of its classes.

    Args:
        group_of: (N,) numbers of groups, 0..G-1.
        labels: (N,) classes.
        folds: no more than there are groups; none stays empty.
        position: (G,), by which groups of one size follow each other.

    Returns:
        (N,) int64 in 0..folds-1.
    """
    counts, sizes = class_counts(group_of, labels), np.bincount(group_of)
    part = 1 / np.maximum(np.bincount(labels), 1)
    held, total = np.zeros((len(part), folds)), np.zeros(folds)
    fold_of_group = np.empty(len(sizes), np.int64)
    for group in np.lexsort((position, -sizes)):
        entries = slice(counts.indptr[group], counts.indptr[group + 1])
        classes, parts = counts.indices[entries], counts.data[entries] * part[counts.indices[entries]]
        # An empty fold comes first: every fold has something to predict.
        fold = np.lexsort((total, parts @ held[classes], total > 0))[0]
        held[classes, fold] += parts
        total[fold] += sizes[group]
        fold_of_group[group] = fold
    return fold_of_group[group_of]


def class_counts(group_of: np.ndarray, labels: np.ndarray) -> csr_array:
    """Products by group and class, (G, C) int64."""
    counts = csr_array((np.ones(len(labels), np.int64), (group_of, labels)))
    counts.sum_duplicates()
    return counts
