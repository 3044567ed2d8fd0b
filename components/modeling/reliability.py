"""Reliability: how far confidence and accuracy lie apart, and how far chance alone would move them."""

from dataclasses import dataclass

import numpy as np

from components.data.top_classes import PredProbs

BINS = 15  # Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4
SIMULATIONS = 500


@dataclass(frozen=True)
class Calibration:
    """Whether a confidence of 80 % is right four times in five.

    Attributes:
        error: expected calibration error: the gap between confidence and accuracy, weighted by count.
        confidence, accuracy: (B,) means of each occupied bin.
        count: (B,) products of each occupied bin.
    """

    error: float
    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray


@dataclass(frozen=True)
class ChanceBand:
    """Where 95 % of samples of a calibrated classifier with the same confidences lie.

    Attributes:
        error: what its expected calibration error stays under.
        low, high: (B,) accuracies of each occupied bin.
    """

    error: float
    low: np.ndarray
    high: np.ndarray


def calibration(labels: np.ndarray, pred_probs: PredProbs) -> Calibration:
    """Bins products by the probability of the predicted class; see `calibration_of`.

    Args:
        labels: (N,) integers.
        pred_probs: (N, C) rows that sum to 1.
    """
    return calibration_of(pred_probs.max(axis=1), pred_probs.argmax(axis=1) == labels)


def calibration_of(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> Calibration:
    """Bins products by confidence, in bins of equal width.

    Args:
        confidence: (N,) probabilities of the predicted classes.
        right: (N,) bool, whether these are the labels.
    """
    confidence = confidence.astype(np.float64)
    index, count = _binned(confidence, bins)
    used = count > 0
    mean_confidence = np.bincount(index, confidence, minlength=bins)[used] / count[used]
    mean_right = np.bincount(index, right, minlength=bins)[used] / count[used]
    error = float((count[used] * np.abs(mean_confidence - mean_right)).sum() / len(confidence))
    return Calibration(error, mean_confidence, mean_right, count[used])


def calibration_error(labels: np.ndarray, pred_probs: PredProbs) -> float:
    """The expected calibration error; see `calibration`."""
    return calibration(labels, pred_probs).error


def chance_band(confidence: np.ndarray, groups: np.ndarray, bins: int = BINS, *, seed: int = 0) -> ChanceBand:
    """What chance does to a calibrated classifier: its predictions are right as often as they are confident.

    Products of a group are right together: twenty copies of one are one trial.

    Args:
        confidence: (N,) probabilities of the predicted classes.
        groups: (N,) integers; products with one number are duplicates.
    """
    random = np.random.default_rng(seed)
    index, count = _binned(confidence, bins)
    used = count > 0
    group = np.unique(groups, return_inverse=True)[1].reshape(-1)
    sure = np.bincount(index, confidence, minlength=bins)
    right = np.empty((SIMULATIONS, bins))
    for at in range(SIMULATIONS):
        drawn = random.random(int(group.max()) + 1)[group] < confidence
        right[at] = np.bincount(index, drawn, minlength=bins)
    errors = np.abs(right - sure).sum(axis=1) / len(confidence)
    low, high = np.quantile(right[:, used] / count[used], [0.025, 0.975], axis=0)
    return ChanceBand(float(np.quantile(errors, 0.95)), low, high)


def _binned(confidence: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Every product's bin, and the products of every bin."""
    index = np.minimum((confidence.astype(np.float64) * bins).astype(np.int64), bins - 1)
    return index, np.bincount(index, minlength=bins)
