"""Majority votes over probability matrices, by counting (paper, sections 3.3 and 3.4)."""

import numpy as np

# How far a winner is lifted above the strongest loser where the mean disagrees with the votes.
MARGIN = 1e-4


def majority_vote(pred_probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The class with the most votes in every row; ties go to the larger summed probability.

    A classifier votes for its most probable class. Where counts and sums are both equal, the lower class
    number wins.

    Args:
        pred_probs: (K, N, C) probabilities of K classifiers.

    Returns:
        winners: (N,) int64 classes.
        tied: (N,) bool, where two or more classes had the most votes.
    """
    return decide(pred_probs.argmax(axis=2), pred_probs)


def decide(predicted: np.ndarray, pred_probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`majority_vote` where the classes that the classifiers name, (K, N), are known."""
    rows, classes = pred_probs.shape[1:]
    cells = predicted + np.arange(rows) * classes
    counts = np.bincount(cells.ravel(), minlength=rows * classes).reshape(rows, classes)
    winners = counts.argmax(axis=1)
    most = counts[np.arange(rows), winners]
    tied = (counts == most[:, None]).sum(axis=1) > 1
    sums = pred_probs[:, tied].sum(axis=0, dtype=np.float64)
    winners[tied] = np.where(counts[tied] == most[tied, None], sums, -1.0).argmax(axis=1)
    return winners, tied


def voted_probabilities(pred_probs: np.ndarray, winners: np.ndarray) -> np.ndarray:
    """The classifiers' mean probabilities, with the vote deciding: (N, C) float32.

    Where the mean's most probable class is not the winner, just so much of the row is moved to the
    winner that it leads: the row stays as calibrated as a mean, and its argmax is the vote.

    Args:
        pred_probs: (K, N, C) probabilities of K classifiers.
        winners: (N,) the classes that `majority_vote` found.
    """
    mean = pred_probs.mean(axis=0, dtype=np.float64)
    rows = np.arange(len(mean))
    gap = mean.max(axis=1) - mean[rows, winners]
    moved = np.where(mean.argmax(axis=1) == winners, 0.0, (gap + MARGIN) / (1 + gap))
    mean *= 1 - moved[:, None]
    mean[rows, winners] += moved
    return mean.astype(np.float32)
