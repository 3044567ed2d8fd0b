"""Macro-F1, the metric of the challenge (paper, section 4), by counting."""

import numpy as np


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts (classes, classes) int64: row the label, column the prediction."""
    pairs = labels.astype(np.int64) * classes + predicted
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def f1_per_class(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """F1 of every class, (classes,) float64; 0 for a class that neither occurs nor is predicted."""
    true = np.bincount(labels, minlength=classes)
    called = np.bincount(predicted, minlength=classes)
    hits = np.bincount(labels[labels == predicted], minlength=classes)
    return 2 * hits / np.maximum(true + called, 1)


def macro_f1(labels: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """Mean F1 over the classes that occur in `labels` or `predicted`, as scikit-learn counts it.

    Args:
        labels: (N,) integers in 0..classes-1.
        predicted: (N,) integers in 0..classes-1.
    """
    f1 = f1_per_class(labels, predicted, classes)
    present = (np.bincount(labels, minlength=classes) + np.bincount(predicted, minlength=classes)) > 0
    return float(f1[present].mean())
