"""Label noise: how many of the labels that predictions disagree with are wrong themselves."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from components.data.top_classes import PredProbs
from components.modeling.calibration import Calibrator, fit_temperature_and_floor
from components.modeling.intervals import effective_units, wilson

SUREST = 0.5  # of the products, among which label noise is looked for
DIGITS = 4  # of a probability, in files and where it is compared with a threshold


@dataclass(frozen=True)
class LabeledPredictions:
    """Calibrated predictions of products whose labels are known, of what did not see them.

    Attributes:
        sure: (N,) probability of each predicted class, as files have it.
        right: (N,) bool, whether the label is the same.
        groups: (N,) integers from 0; products with one number are duplicates, the evidence of one.
        surest: (N,) bool, the products among which label noise is looked for.
        mistakes: the share of the surest that would be wrong if no label were.
        max_noise: the most label noise that is taken away from what the labels support.
    """

    sure: np.ndarray
    right: np.ndarray
    groups: np.ndarray
    surest: np.ndarray
    mistakes: float
    max_noise: float

    @classmethod
    def of(
        cls,
        voted: PredProbs,
        pred_probs: PredProbs,
        labels: np.ndarray,
        groups: np.ndarray,
        *,
        max_noise: float,
    ) -> "LabeledPredictions":
        """Looks for the surest by a temperature and a floor that are fitted to the vote; see `label_noise`.

        Args:
            voted, pred_probs: (N, C) before and after calibration.
        """
        fitted = fit_temperature_and_floor(voted, labels)
        confidence = Calibrator(fitted.kind, fitted.temperature)(voted).max(axis=1).astype(np.float64)
        surest = np.zeros(len(labels), bool)
        surest[np.argsort(-confidence, kind="stable")[: max(1, round(SUREST * len(labels)))]] = True
        right, group = pred_probs.argmax(axis=1) == labels, np.unique(groups, return_inverse=True)[1]
        mistakes = float((1 - confidence)[surest].mean())
        return cls(rounded(pred_probs), right, group.reshape(-1), surest, mistakes, max_noise)

    def part(self, rows: np.ndarray) -> "LabeledPredictions":
        """Of some products, (N,) bool."""
        names = ("sure", "right", "groups", "surest")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    @property
    def label_noise(self) -> float:
        """The share of wrong labels that is taken away: as estimated, and never more than `max_noise`.

        A wrong label and a mistake made with full confidence look alike in predictions and labels. Whatever
        the one is taken for, the accepted are right at most about `max_noise` less often than promised.
        """
        return min(self.estimated_noise, self.max_noise)

    @cached_property
    def estimated_noise(self) -> float:
        """The share of labels that are wrong at random.

        Probabilities with a temperature alone, and no floor, are nearly always right on the surest half of
        the products. What is wrong there beyond that are labels, or mistakes that no probability can show.
        Where chance may explain it, it counts as 0: noise makes the accepted look better.
        """
        if not self.surest.any():
            return 0.0
        wrong = float((~self.right)[self.surest].mean())
        low, _ = wilson(wrong, effective_units(self.groups[self.surest]))
        return wrong - self.mistakes if low > self.mistakes else 0.0


def rounded(pred_probs: PredProbs) -> np.ndarray:
    """(N, C) -> (N,) the largest probability of each row as files have it."""
    return np.round(pred_probs.max(axis=1).astype(np.float64), DIGITS)


def without_noise(accuracy: Any, noise: Any) -> Any:
    """The share that is right, from the share that agrees with labels of which `noise` are wrong.

    A prediction agrees with a label if both are right, or, at most, if both are wrong.
    """
    return np.clip((accuracy - noise) / (1 - 2 * np.minimum(noise, 0.4)), 0, 1)
