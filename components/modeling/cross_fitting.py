"""Cross-fitting: what is learned from a split predicts the same split, each row by what never saw it."""

import logging
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from sklearn.model_selection import StratifiedKFold

from components.core.errors import InputError
from components.data.grouped_folds import deal_groups
from components.data.top_classes import CELLS, blocks_of, concatenated
from components.modeling.metrics import macro_f1

CHOICE_FOLDS, CHOICE_SEED = 5, 0
log = logging.getLogger(__name__)

Learned = TypeVar("Learned")


def affordable_folds(
    labels: np.ndarray, *, folds: int, groups: np.ndarray, labeled: int, setting: str
) -> int:
    """`folds`, or as many as the rows allow where that is fewer, with a warning.

    Args:
        labels: (N,) classes of the validation split.
        folds: at least 2.
        groups: (N,), see `stratified_folds`.
        labeled: products of the catalog that have a label, of which validation is a part.
        setting: how a user sets `folds`, for the messages.

    Raises:
        InputError: the rows do not even allow two.
    """
    largest, distinct = int(np.bincount(labels).max(initial=0)), len(np.unique(groups))
    possible = min(folds, largest, distinct)
    if possible < 2:
        more = math.ceil((2 - possible) * labeled / max(len(labels), 1))
        raise InputError(
            f"{len(labels)} validation products, {largest} in the largest class, {distinct} that are no "
            "duplicates: too few to learn a vote on, which takes two different products of a class. Label "
            f"about {more} more of one class, then {setting.format(2)} is possible"
        )
    if possible < folds:
        log.warning(
            "%d folds instead of %d: the largest class has %d validation products, and %d of all "
            "are no duplicates; %s asks for no more than that",
            *(possible, folds, largest, distinct, setting.format(possible)),
        )
    return possible


def stratified_folds(
    labels: np.ndarray, *, folds: int, seed: int, groups: np.ndarray | None = None
) -> np.ndarray:
    """Gives every row a fold, classes spread evenly and the rows of a group together.

    A class with fewer rows than folds is absent from some of them.

    Args:
        labels: (N,) classes.
        groups: (N,) products that share a text or an image share a group.

    Returns:
        (N,) int64 in 0..folds-1.

    Raises:
        InputError: no class has as many rows as there are folds, or there are fewer groups than folds.
    """
    largest = int(np.bincount(labels).max(initial=0))
    distinct = len(labels) if groups is None else len(np.unique(groups))
    if folds < 2 or largest < folds or distinct < folds:
        raise InputError(
            f"{folds} folds cannot be made of {len(labels)} rows in {distinct} groups, {largest} in the "
            "largest class: take at least 2 folds, and no more than the rows of the largest class"
        )
    if groups is not None and distinct < len(labels):
        group_of = np.unique(groups, return_inverse=True)[1].reshape(-1)
        position = np.random.default_rng(seed).permutation(distinct)
        return deal_groups(group_of, labels, folds=folds, position=position)
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    splits = splitter.split(labels[:, None], labels)
    fold_of = np.empty(len(labels), np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        for fold, (_, held_out) in enumerate(splits):
            fold_of[held_out] = fold
    return fold_of


def choice_folds(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The folds of validation in which a choice among classifiers is cross-fitted.

    The best of several on some products flatters itself on the same products. So each fold's products are
    predicted by the one that is the best on the other folds: the figure is that of choosing so.

    Args:
        labels: (N,) classes.
        groups: (N,), see `stratified_folds`.

    Returns:
        (N,) int64; 0 for all where the products allow no two folds.
    """
    largest, distinct = int(np.bincount(labels).max(initial=0)), len(np.unique(groups))
    folds = min(CHOICE_FOLDS, largest, distinct)
    if folds < 2:
        return np.zeros(len(labels), np.int64)
    return stratified_folds(labels, folds=folds, seed=CHOICE_SEED, groups=groups)


def choosing_rows(folds: np.ndarray) -> list[np.ndarray]:
    """By fold, the (N,) rows by which is chosen what predicts it: the others, or all of a single fold."""
    count = int(folds.max(initial=0)) + 1
    return [(folds != fold) | (count == 1) for fold in range(count)]


def cross_fitted_choice(scores: Callable[[np.ndarray], Sequence[float]], folds: np.ndarray) -> np.ndarray:
    """Which classifier predicts each row: the one with the highest score on the other folds.

    Args:
        scores: (N,) bool rows -> a score for each classifier, higher for a better one.
        folds: (N,) see `choice_folds`.

    Returns:
        (N,) int64 numbers of classifiers, the first of equals.
    """
    return np.array([int(np.argmax(scores(rows))) for rows in choosing_rows(folds)])[folds]


def by_macro_f1(
    predicted: np.ndarray, labels: np.ndarray, classes: int
) -> Callable[[np.ndarray], list[float]]:
    """The scores by which `cross_fitted_choice` takes the best macro-F1 of M classifiers' (M, N) classes."""
    return lambda rows: [macro_f1(labels[rows], one[rows], classes) for one in predicted]


def chosen_macro_f1(predicted: np.ndarray, labels: np.ndarray, groups: np.ndarray, classes: int) -> float:
    """Macro-F1 of choosing the best of M classifiers, (M, N) predicted classes, by macro-F1, cross-fitted."""
    folds = choice_folds(labels, groups)
    choice = cross_fitted_choice(by_macro_f1(predicted, labels, classes), folds)
    return macro_f1(labels, predicted[choice, np.arange(len(labels))], classes)


def cross_fit(
    fit: Callable[[np.ndarray], Learned],
    predict: Callable[[Learned, np.ndarray], Any],
    folds: np.ndarray,
) -> tuple[Any, list[Learned]]:
    """Fits once a fold on the rows of the other folds, and predicts the rows of the fold.

    Args:
        fit: rows (n,) -> what was learned.
        predict: what was learned, rows (n,) -> (n, C) probabilities.
        folds: (N,) fold of every row.

    Returns:
        The out-of-fold probabilities (N, C), and what was learned in every fold.
    """
    learned = [fit(np.flatnonzero(folds != fold)) for fold in range(int(folds.max()) + 1)]
    held_out = [np.flatnonzero(folds == fold) for fold in range(len(learned))]
    predicted = concatenated([predict(what, rows) for what, rows in zip(learned, held_out, strict=True)])
    return predicted[np.concatenate(held_out).argsort()], learned


def mixture_weights(pred_probs: np.ndarray, labels: np.ndarray, *, iterations: int = 300) -> np.ndarray:
    """The weights of a weighted mean that minimize its log-loss, by expectation-maximization.

    The log-loss is convex in the weights, so the start does not matter. One row's worth of evidence
    for equal weights keeps a classifier that is right on every row of a small split from taking all.

    Args:
        pred_probs: (M, N, C) probabilities of M classifiers.
        labels: (N,) classes.

    Returns:
        (M,) float64, not negative, sum 1.
    """
    likelihoods = pred_probs[:, np.arange(len(labels)), labels].astype(np.float64) + 1e-6
    weights = np.full(len(likelihoods), 1 / len(likelihoods))
    for _ in range(iterations):
        shares = weights[:, None] * likelihoods
        before, weights = weights, (shares / shares.sum(axis=0)).sum(axis=1) + 1 / len(weights)
        weights /= len(labels) + 1
        if np.abs(weights - before).max() < 1e-5:
            break
    return weights


def weighted_mean(pred_probs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(M, N, C) probabilities and (M,) weights that sum to 1 -> (N, C) float32."""
    if pred_probs.size <= CELLS:
        return np.tensordot(weights, pred_probs, axes=1).astype(np.float32)
    # The product is made in float64, of a few rows at a time.
    parts = blocks_of(pred_probs.shape[1], len(pred_probs) * pred_probs.shape[2])
    return np.concatenate([weighted_mean(pred_probs[:, part], weights) for part in parts])
