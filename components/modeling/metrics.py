"""Macro-F1, the metric of the challenge (paper, section 4), by counting."""

import numpy as np

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
    counts = confusion(labels, predicted, classes)
    return 2 * counts.diagonal() / np.maximum(counts.sum(axis=0) + counts.sum(axis=1), 1)


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
    counts = confusion(labels, predicted, classes)
    both = counts.sum(axis=0) + counts.sum(axis=1)
    return float((2 * counts.diagonal()[both > 0] / both[both > 0]).mean())
