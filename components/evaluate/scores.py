"""Scores of a classifier: F1, accuracy, and what chance leaves open."""

from dataclasses import dataclass

import numpy as np

from components.modeling.intervals import Posterior, interval, wilson


@dataclass(frozen=True)
class Score:
    """How well one classifier predicts some products.

    Attributes:
        macro_f1: mean F1 over the classes that occur or are predicted.
        draws: its value in every draw of the posterior, over the classes that occur.
        weighted_f1: mean F1 weighted by support.
        accuracy_interval: 95 %, of the share that is right.
        precision, recall, f1: (C,) of each class, 0 where nothing was predicted or nothing is there.
        support: (C,) products of each class.
    """

    macro_f1: float
    draws: np.ndarray
    weighted_f1: float
    accuracy: float
    accuracy_interval: tuple[float, float]
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of macro-F1, which holds macro-F1 itself.

        The posterior leaves out classes that are predicted though none of their products was evaluated, and
        thinks a class worse than the few products that were all right: both may leave macro-F1 outside.
        """
        low, high = interval(self.draws)
        return min(low, self.macro_f1), max(high, self.macro_f1)


def score(labels: np.ndarray, predicted: np.ndarray, posterior: Posterior) -> Score:
    """Scores predictions (N,) against labels (N,), as scikit-learn counts them."""
    hits, support, called = (
        np.bincount(each, minlength=posterior.classes)
        for each in (labels[labels == predicted], labels, predicted)
    )
    f1 = 2 * hits / np.maximum(support + called, 1)
    accuracy = float(hits.sum() / support.sum())
    low, high = wilson(accuracy, posterior.units)
    return Score(
        macro_f1=float(f1[support + called > 0].mean()),
        draws=posterior.macro_f1(predicted),
        weighted_f1=float((f1 * support).sum() / support.sum()),
        accuracy=accuracy,
        accuracy_interval=(float(low), float(high)),
        precision=hits / np.maximum(called, 1),
        recall=hits / np.maximum(support, 1),
        f1=f1,
        support=support,
    )
