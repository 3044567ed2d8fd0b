"""Votes of the ensemble's members, and the choice of members and weights out of fold."""

from collections.abc import Sequence

import numpy as np

from components.data.stacks import Stack
from components.ensemble.config import EnsembleConfig
from components.modeling.cross_fitting import cross_fit, mixture_weights, stratified_folds, weighted_mean
from components.modeling.metrics import macro_f1
from components.modeling.voting import majority_vote, voted_probabilities

SEED = 0  # of the folds that members and weights are chosen on


def starting_weights(config: EnsembleConfig, members: int, feature_level: Sequence[str]) -> np.ndarray:
    """What members, and the named feature-level classifiers after them, weigh before any choice: 1 in sum."""
    parts = [config.feature_level[name] for name in feature_level]
    return np.array([(1 - sum(parts)) / members] * members + parts)


def member_weights(config: EnsembleConfig, stack: Stack, start: np.ndarray) -> np.ndarray:
    """What the members weigh: 0 for one not used, 1 in sum; as `start` has it unless the vote is weighted.

    Args:
        stack: of the rows to choose by.
        start: (M,) see `starting_weights`.
    """
    chosen = list(range(len(stack.values)))
    if config.select == "greedy":
        chosen = greedy_selection(config, stack, start)
    weights = np.zeros(len(stack.values))
    weights[chosen] = start[chosen] / start[chosen].sum()
    if config.vote == "weighted":
        weights[chosen] = mixture_weights(stack.values[chosen], stack.columns)
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
    config: EnsembleConfig, stack: Stack, groups: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The vote on the split that members and weights are chosen on, each row by a choice without it.

    Args:
        stack: the members' out-of-fold probabilities.
        groups: (N,) rows of a group are never on both sides.
        start: (M,) see `starting_weights`.

    Returns:
        As `vote`.
    """
    pred_probs = stack.values
    if not config.learns:
        return vote(config, pred_probs, member_weights(config, stack, start))
    folds = stratified_folds(stack.labels, folds=config.folds, seed=SEED, groups=groups)
    voted, weights = cross_fit(
        lambda rows: member_weights(config, stack.part(rows), start),
        lambda weights, rows: vote(config, pred_probs[:, rows], weights)[0],
        folds,
    )
    tied = np.zeros(len(folds), bool)
    for fold, of_fold in enumerate(weights):
        tied[folds == fold] = vote(config, pred_probs[:, folds == fold], of_fold)[1]
    return voted, tied


def greedy_selection(config: EnsembleConfig, stack: Stack, start: np.ndarray) -> list[int]:
    """Members in the order in which they raise macro-F1 most; stops when none raises it.

    While choosing, members weigh what `start` gives them: those of a weighted vote are found for the chosen.
    """
    pred_probs = stack.values
    chosen: list[int] = []
    best = -1.0
    while len(chosen) < len(pred_probs):
        scores = {}
        for member in set(range(len(pred_probs))) - set(chosen):
            tried = [*chosen, member]
            scores[member] = _macro_f1(stack, _predict(config, pred_probs[tried], start[tried]))
        winner = max(sorted(scores), key=scores.__getitem__)
        if scores[winner] <= best:
            break
        best = scores[winner]
        chosen.append(winner)
    return sorted(chosen)


def leave_one_out_gains(
    config: EnsembleConfig, stack: Stack, groups: np.ndarray, start: np.ndarray, score: float
) -> list[float]:
    """What every member adds: the ensemble's macro-F1, less that of the ensemble without the member.

    Args:
        start: (M,) see `starting_weights`.
        score: out-of-fold macro-F1 of the whole ensemble.
    """
    members = range(len(stack.values))
    if len(members) == 1:
        return [score]
    others = [[i for i in members if i != left_out] for left_out in members]
    without = (
        out_of_fold_vote(config, stack.part(classifiers=rest), groups, start[rest])[0] for rest in others
    )
    return [score - _macro_f1(stack, voted.argmax(axis=1)) for voted in without]


def agreement(predicted: np.ndarray) -> np.ndarray:
    """(M, N) predicted classes -> (M, M) share of rows on which two members name the same class."""
    return (predicted[:, None] == predicted[None]).mean(axis=2)


def _macro_f1(stack: Stack, columns: np.ndarray) -> float:
    """Of a vote for one column a row, (N,)."""
    return macro_f1(stack.labels, stack.classes_in(columns), stack.classes)


def _predict(config: EnsembleConfig, pred_probs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    if config.vote == "majority":
        return majority_vote(pred_probs)[0]
    return weighted_mean(pred_probs, weights).argmax(axis=1)
