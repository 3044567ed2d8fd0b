"""Votes of the ensemble's members, and the choice of members and weights out of fold."""

from collections.abc import Sequence

import numpy as np

from components.ensemble.config import EnsembleConfig
from components.modeling.cross_fitting import cross_fit, mixture_weights, stratified_folds, weighted_mean
from components.modeling.metrics import macro_f1
from components.modeling.voting import majority_vote, voted_probabilities

SEED = 0  # of the folds that members and weights are chosen on


def starting_weights(config: EnsembleConfig, members: int, feature_level: Sequence[str]) -> np.ndarray:
    """What members, and the named feature-level classifiers after them, weigh before any choice: 1 in sum."""
    parts = [config.feature_level[name] for name in feature_level]
    return np.array([(1 - sum(parts)) / members] * members + parts)


def member_weights(
    config: EnsembleConfig, pred_probs: np.ndarray, labels: np.ndarray, start: np.ndarray
) -> np.ndarray:
    """What the members weigh: 0 for one not used, 1 in sum; as `start` has it unless the vote is weighted.

    Args:
        pred_probs: (M, N, C) the members on the rows to choose by.
        labels: (N,) classes.
        start: (M,) see `starting_weights`.
    """
    chosen = list(range(len(pred_probs)))
    if config.select == "greedy":
        chosen = greedy_selection(config, pred_probs, labels, start)
    weights = np.zeros(len(pred_probs))
    weights[chosen] = start[chosen] / start[chosen].sum()
    if config.vote == "weighted":
        weights[chosen] = mixture_weights(pred_probs[chosen], labels)
    return weights


def vote(
    config: EnsembleConfig, pred_probs: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The members' vote: (N, C) float32 probabilities, and (N,) bool where a majority vote was tied."""
    if config.vote == "majority":
        used = pred_probs[weights > 0]
        winners, tied = majority_vote(used)
        return voted_probabilities(used, winners), tied
    return weighted_mean(pred_probs, weights), np.zeros(pred_probs.shape[1], bool)


def out_of_fold_vote(
    config: EnsembleConfig,
    pred_probs: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    start: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The vote on the split that members and weights are chosen on, each row by a choice without it.

    Args:
        pred_probs: (M, N, C) the members' out-of-fold probabilities.
        labels: (N,) classes.
        groups: (N,) rows of a group are never on both sides.
        start: (M,) see `starting_weights`.

    Returns:
        As `vote`.
    """
    if not config.learns:
        return vote(config, pred_probs, member_weights(config, pred_probs, labels, start))
    folds = stratified_folds(labels, folds=config.folds, seed=SEED, groups=groups)
    voted, weights = cross_fit(
        lambda rows: member_weights(config, pred_probs[:, rows], labels[rows], start),
        lambda weights, rows: vote(config, pred_probs[:, rows], weights)[0],
        folds,
    )
    tied = np.zeros(len(labels), bool)
    for fold, of_fold in enumerate(weights):
        tied[folds == fold] = vote(config, pred_probs[:, folds == fold], of_fold)[1]
    return voted, tied


def greedy_selection(
    config: EnsembleConfig, pred_probs: np.ndarray, labels: np.ndarray, start: np.ndarray
) -> list[int]:
    """Members in the order in which they raise macro-F1 most; stops when none raises it.

    While choosing, members weigh what `start` gives them: those of a weighted vote are found for the chosen.
    """
    classes = pred_probs.shape[2]
    chosen: list[int] = []
    best = -1.0
    while len(chosen) < len(pred_probs):
        scores = {}
        for member in set(range(len(pred_probs))) - set(chosen):
            tried = [*chosen, member]
            predicted = _predict(config, pred_probs[tried], start[tried])
            scores[member] = macro_f1(labels, predicted, classes)
        winner = max(sorted(scores), key=scores.__getitem__)
        if scores[winner] <= best:
            break
        best = scores[winner]
        chosen.append(winner)
    return sorted(chosen)


def leave_one_out_gains(
    config: EnsembleConfig,
    pred_probs: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    start: np.ndarray,
    score: float,
) -> list[float]:
    """What every member adds: the ensemble's macro-F1, less that of the ensemble without the member.

    Args:
        start: (M,) see `starting_weights`.
        score: out-of-fold macro-F1 of the whole ensemble.
    """
    classes = pred_probs.shape[2]
    members = range(len(pred_probs))
    if len(members) == 1:
        return [score]
    others = [[i for i in members if i != left_out] for left_out in members]
    without = [out_of_fold_vote(config, pred_probs[rest], labels, groups, start[rest])[0] for rest in others]
    return [score - macro_f1(labels, voted.argmax(axis=1), classes) for voted in without]


def agreement(pred_probs: np.ndarray) -> np.ndarray:
    """(M, N, C) probabilities -> (M, M) share of rows on which two members name the same class."""
    predicted = pred_probs.argmax(axis=2)
    return (predicted[:, None] == predicted[None]).mean(axis=2)


def _predict(config: EnsembleConfig, pred_probs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    if config.vote == "majority":
        return majority_vote(pred_probs)[0]
    return weighted_mean(pred_probs, weights).argmax(axis=1)
