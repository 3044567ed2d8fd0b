"""Scores of a classifier: F1, accuracy, calibration, and what chance leaves open."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from components.modeling.metrics import confusion

BOOTSTRAPS = 1000
CALIBRATION_BINS = 15  # Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4


@dataclass(frozen=True)
class Score:
    """How well one classifier predicts some products.

    Attributes:
        macro_f1: mean F1 over the classes that occur or are predicted.
        draws: its value in every resample of the bootstrap.
        weighted_f1: mean F1 weighted by support.
        precision, recall, f1: (C,) of each class, 0 where nothing was predicted or nothing is there.
        support: (C,) products of each class.
    """

    macro_f1: float
    draws: np.ndarray
    weighted_f1: float
    accuracy: float
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray

    @property
    def interval(self) -> tuple[float, float]:
        """The bootstrap 95 % interval of macro-F1."""
        return interval(self.draws)


class Bootstrap:
    """Resamples of the predicted products, the same for every classifier, so that differences are paired.

    Groups of duplicates are drawn whole (a cluster bootstrap): twenty copies of one product are less
    evidence than twenty products. Macro-F1 is a function of counts, so a resample is a vector of group
    weights, and all resamples of a classifier are three sparse products.

    Args:
        labels: (N,) integers in 0..classes-1.
        groups: (N,) integers; products with one number are drawn together.
        draws: how many resamples.
    """

    def __init__(
        self, labels: np.ndarray, groups: np.ndarray, classes: int, *, seed: int, draws: int = BOOTSTRAPS
    ) -> None:
        self.labels, self.classes = labels, classes
        self.groups = np.unique(groups, return_inverse=True)[1].reshape(-1)
        count = int(self.groups.max()) + 1
        random = np.random.default_rng(seed)
        self._weights = np.empty((count, draws), np.float32)
        for draw in range(draws):
            drawn = random.integers(count, size=count)
            self._weights[:, draw] = np.bincount(drawn, minlength=count)
        self._true = self._count(labels, np.ones(len(labels), bool))

    def macro_f1(self, predicted: np.ndarray) -> np.ndarray:
        """Macro-F1 of every resample, (draws,) float64."""
        called = self._count(predicted, np.ones(len(predicted), bool))
        hits = self._count(predicted, predicted == self.labels)
        total = self._true + called
        f1 = 2 * hits / np.maximum(total, 1)
        return f1.sum(axis=0) / (total > 0).sum(axis=0)

    def _count(self, values: np.ndarray, counted: np.ndarray) -> np.ndarray:
        """Weighted counts of `values`, (classes, draws) float64."""
        entries = (np.ones(int(counted.sum()), np.float32), (values[counted], self.groups[counted]))
        # Float32 counts whole numbers exactly up to 2**24, more than any split holds.
        return (csr_array(entries, shape=(self.classes, len(self._weights))) @ self._weights).astype(
            np.float64
        )


def interval(draws: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The percentile interval of a resampled statistic."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def score(labels: np.ndarray, predicted: np.ndarray, bootstrap: Bootstrap) -> Score:
    """Scores predictions (N,) against labels (N,), as scikit-learn counts them."""
    counts = confusion(labels, predicted, bootstrap.classes)
    hits, support, called = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    f1 = 2 * hits / np.maximum(support + called, 1)
    return Score(
        macro_f1=float(f1[support + called > 0].mean()),
        draws=bootstrap.macro_f1(predicted),
        weighted_f1=float((f1 * support).sum() / support.sum()),
        accuracy=float(hits.sum() / support.sum()),
        precision=hits / np.maximum(called, 1),
        recall=hits / np.maximum(support, 1),
        f1=f1,
        support=support,
    )


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


def calibration(labels: np.ndarray, pred_probs: np.ndarray, bins: int = CALIBRATION_BINS) -> Calibration:
    """Bins products by the probability of the predicted class, in bins of equal width.

    Args:
        labels: (N,) integers.
        pred_probs: (N, C) rows that sum to 1.
    """
    confidence = pred_probs.max(axis=1).astype(np.float64)
    right = (pred_probs.argmax(axis=1) == labels).astype(np.float64)
    index = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    count = np.bincount(index, minlength=bins)
    used = count > 0
    mean_confidence = np.bincount(index, confidence, minlength=bins)[used] / count[used]
    mean_right = np.bincount(index, right, minlength=bins)[used] / count[used]
    error = float((count[used] * np.abs(mean_confidence - mean_right)).sum() / len(labels))
    return Calibration(error, mean_confidence, mean_right, count[used])
