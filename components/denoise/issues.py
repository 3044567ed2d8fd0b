"""Label issues: what confident learning flags, and which of it leaves train (paper, section 3.2.1)."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

from components.data.products import Products
from components.data.top_classes import PredProbs, TopClasses, blocks_of, opened
from components.denoise.config import DenoiseConfig

ROUNDING = 1e-6  # by which a probability may miss what it is compared with


@dataclass(frozen=True)
class LabelIssues:
    """Flagged products, worst first.

    Attributes:
        rows: row numbers in the product table.
        suggested: the label that the model suggests for each.
        scores: quality of each label by `DenoiseConfig.rank`, 0 (surely wrong) to 1.
        removed: whether each is removed from train.
    """

    rows: np.ndarray
    suggested: np.ndarray
    scores: np.ndarray
    removed: np.ndarray


def known_classes(products: Products, *, pictured: bool) -> np.ndarray:
    """Which classes every fold's training was fitted on, (C,) bool: those in two folds of train or more.

    Args:
        pictured: whether a classifier of images is among them, which is fitted on products with one.
    """
    table, rows = products.table, products.rows("out_of_fold")
    if pictured:
        rows = rows[table["image"].notna().to_numpy()[rows]]
    folds = table["fold"].to_numpy(dtype=np.int64, na_value=-1)[rows]
    fitted = np.unique(np.stack([products.labels[rows], folds]), axis=1)
    return np.bincount(fitted[0], minlength=len(products.classes)) >= 2


def find_issues(
    products: Products,
    pred_probs: dict[str, PredProbs],
    config: DenoiseConfig,
    *,
    known: np.ndarray,
    kept: frozenset[str],
    decided: frozenset[str] = frozenset(),
) -> LabelIssues:
    """Flags label issues (Northcutt et al., arXiv:1911.00068), ranks them, and marks the worst of train.

    Train and validation are looked through apart, so that no label of validation has a part in what leaves
    train. The last train product of a class stays.

    Args:
        pred_probs: split (`out_of_fold` for train, and validation) -> (its rows, C) probabilities.
        known: (C,) classes that every fold's training knew; products of others are not flagged.
        kept: product ids that are never removed.
        decided: product ids whose label a person has looked at: they are not flagged.
    """
    parts = [
        _flag(products, products.rows(split), values, config, known) for split, values in pred_probs.items()
    ]
    rows, suggested, scores = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    undecided = ~np.isin(products.ids[rows].astype(str), list(decided))
    rows, suggested, scores = rows[undecided], suggested[undecided], scores[undecided]
    order = np.argsort(scores, kind="stable")
    rows, suggested, scores = rows[order], suggested[order], scores[order]
    in_train = products.table["split"].to_numpy()[rows] == "train"
    may_go = in_train & ~np.isin(products.ids[rows].astype(str), list(kept))
    may_go &= ~_would_empty_class(products, rows, may_go)
    removed = may_go & (np.cumsum(may_go) <= round(config.share * int(in_train.sum())))
    return LabelIssues(rows, suggested, scores, removed)


def _flag(
    products: Products, rows: np.ndarray, pred_probs: PredProbs, config: DenoiseConfig, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flagged rows, what is suggested for each, and the scores of their labels."""
    usable = known[products.labels[rows]]
    rows, pred_probs = rows[usable], pred_probs[usable]
    labels = products.labels[rows]
    if len(np.unique(labels)) < 2:
        return rows[:0], labels[:0], np.zeros(0)
    with warnings.catch_warnings():
        # Validation need not have every class.
        warnings.filterwarnings("ignore", message="May not flag all label issues")
        found, scores = (
            _of_kept(labels, pred_probs, config)
            if isinstance(pred_probs, TopClasses)
            else _of_all(labels, pred_probs, config)
        )
    found, suggested = np.asarray(found, dtype=np.int64), pred_probs.argmax(axis=1)
    # A low score alone may flag a product whose own label is still the likeliest.
    found = found[suggested[found] != labels[found]]
    return rows[found], suggested[found], scores[found]


def _of_all(labels: np.ndarray, pred_probs: np.ndarray, config: DenoiseConfig) -> tuple[Any, np.ndarray]:
    found = find_label_issues(
        labels,
        pred_probs,
        filter_by=config.filter_by,
        return_indices_ranked_by=config.rank,
        n_jobs=1,
    )
    return found, get_label_quality_scores(labels, pred_probs, method=config.rank)


def _of_kept(labels: np.ndarray, pred_probs: TopClasses, config: DenoiseConfig) -> tuple[Any, np.ndarray]:
    """By cleanlab's `low_normalized_margin`, which asks for the label's probability and the largest alone.

    The other rules count every small probability in a confident joint of all classes.
    """
    scores: dict[str, list[np.ndarray]] = {"normalized_margin": [], config.rank: []}
    for part in blocks_of(*pred_probs.shape):
        whole = pred_probs[part].dense()
        for method, found in scores.items():
            found.append(get_label_quality_scores(labels[part], whole, method=method))
    margins = np.concatenate(scores["normalized_margin"])
    return margins.argsort()[: _count_of_kept(labels, pred_probs)], np.concatenate(scores[config.rank])


def _count_of_kept(labels: np.ndarray, pred_probs: TopClasses) -> int:
    """How many labels are wrong: rows off the diagonal of the confident joint (cleanlab's `off_diagonal`).

    A row counts for the likeliest class whose probability reaches the mean that products of this class have.
    """
    values, own, _ = opened(pred_probs, labels)
    support = np.bincount(labels, minlength=pred_probs.classes)
    of_labels = values[np.arange(len(labels)), own].astype(np.float64)
    means = np.bincount(labels, of_labels, minlength=pred_probs.classes) / np.maximum(support, 1)
    reached = (values[:, :-1] >= means[pred_probs.kept] - ROUNDING) & (support[pred_probs.kept] > 0)
    likeliest = np.where(reached, values[:, :-1], -1).argmax(axis=1)
    # A class that hardly any of its products is taken for is reached by nearly every row, kept there or not.
    of_others = ~reached.any(axis=1) & (values[:, -1] >= means[support > 0].min() - ROUNDING)
    counted = of_others | (reached.any(axis=1) & (likeliest != own))
    return int((counted & (pred_probs.argmax(axis=1) != labels)).sum())


def _would_empty_class(products: Products, rows: np.ndarray, may_go: np.ndarray) -> np.ndarray:
    """Of rows, the worst first: whether train would lose the last product of a class with it, (n,) bool."""
    labels, train = products.labels, products.rows("train")
    left = np.bincount(labels[train], minlength=len(products.classes))
    gone = pd.Series(may_go).groupby(labels[rows]).cumsum().to_numpy()
    return may_go & (gone >= left[labels[rows]])
