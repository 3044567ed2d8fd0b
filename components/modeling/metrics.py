"""Macro-F1, the metric of the challenge (paper, section 4), by counting; log-loss."""

import numpy as np

from components.data.top_classes import PredProbs, of_labels

LEAST = 1e-12  # probability that a logarithm is taken of
LEAST_CHOOSING = 1e-7  # where a choice goes by log-loss: else a few products, surely wrong, would decide it

# The rows of the paper's Table 1, in its order.
ROWS = {
    "image": "Image",
    "text": "Text",
    "feature_level": "Feature-level fusion",
    "decision_level": "Decision-level fusion",
    "ensemble": "Ensemble",
}


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts (classes, classes) int64: row the label, column the prediction."""
    pairs = labels.astype(np.int64) * classes + predicted
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def f1_per_class(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """F1 of every class, (classes,) float64; 0 for a class that neither occurs nor is predicted."""
    hits, both = _counts(labels, predicted, classes)
    return 2 * hits / np.maximum(both, 1)


def _counts(labels: np.ndarray, predicted: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """By class, (classes,): rows that are right, and rows of it plus rows that are taken for it.

    A confusion matrix would hold the same, but of 3,000 classes nine million counts.
    """
    hits = np.bincount(labels[labels == predicted], minlength=classes)
    return hits, np.bincount(labels, minlength=classes) + np.bincount(predicted, minlength=classes)


def worst_first(f1: np.ndarray, support: np.ndarray) -> list[int]:
    """The classes that occur, by their F1, the worst first.

    Args:
        f1: (classes,).
        support: (classes,) rows of each class.
    """
    present = np.flatnonzero(support)
    return present[np.argsort(f1[present], kind="stable")].tolist()


def macro_f1(labels: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """Mean F1 over the classes that occur in `labels` or `predicted`, as scikit-learn counts it.

    Args:
        labels: (N,) integers in 0..classes-1.
        predicted: (N,) integers in 0..classes-1.

    Raises:
        ValueError: there are no rows.
    """
    if len(labels) == 0:
        raise ValueError("macro-F1 of no rows is not defined")
    hits, both = _counts(labels, predicted, classes)
    return float((2 * hits[both > 0] / both[both > 0]).mean())


def log_loss(labels: np.ndarray, pred_probs: PredProbs, *, least: float = LEAST) -> float:
    """Mean of minus the logarithm of the label's probability, in nats.

    Args:
        labels: (N,) integers.
        pred_probs: (N, C).
        least: what a smaller probability counts as.
    """
    right = of_labels(pred_probs, labels).astype(np.float64)
    return float(-np.log(np.maximum(right, least)).mean())
