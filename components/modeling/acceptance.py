"""Auto-accept: from which probability on predictions need no look, and how many of those are right."""

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from components.modeling.calibration import Calibrator, fit_temperature_and_floor
from components.modeling.cross_fitting import choice_folds
from components.modeling.intervals import DRAWS, effective_units, interval, wilson
from components.modeling.reliability import LEAST

SUREST = 0.5  # of the products, among which label noise is looked for
STEPS = 200  # coverages at which a threshold may lie
DIGITS = 4  # of a probability, in files and where it is compared with a threshold
UNLIKE = 0.05  # of the known products
TARGETS = (0.9, 0.95, 0.98, 0.99)  # shown beside the one that is asked for


@dataclass(frozen=True)
class LabeledPredictions:
    """Calibrated predictions of products whose labels are known, of what did not see them.

    Attributes:
        sure: (N,) probability of each predicted class, as files have it.
        right: (N,) bool, whether the label is the same.
        groups: (N,) integers from 0; products with one number are duplicates, the evidence of one.
        surest: (N,) bool, the products among which label noise is looked for.
        mistakes: the share of the surest that would be wrong if no label were.
    """

    sure: np.ndarray
    right: np.ndarray
    groups: np.ndarray
    surest: np.ndarray
    mistakes: float

    @classmethod
    def of(
        cls, voted: np.ndarray, pred_probs: np.ndarray, labels: np.ndarray, groups: np.ndarray
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
        return cls(rounded(pred_probs), right, group.reshape(-1), surest, mistakes)

    def part(self, rows: np.ndarray) -> "LabeledPredictions":
        """Of some products, (N,) bool."""
        names = ("sure", "right", "groups", "surest")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    @cached_property
    def label_noise(self) -> float:
        """The share of labels that are wrong at random.

        Probabilities with a temperature alone, and no floor, are nearly always right on the surest half of
        the products. What is wrong there beyond that are labels, or mistakes that no probability can show.
        Where chance may explain it, it counts as 0: noise makes the accepted look better.
        """
        wrong = float((~self.right)[self.surest].mean())
        groups = np.unique(self.groups[self.surest], return_inverse=True)[1].reshape(-1)
        low, _ = wilson(wrong, effective_units(groups))
        return wrong - self.mistakes if low > self.mistakes else 0.0


@dataclass(frozen=True)
class Accepted:
    """What a threshold accepts of some products, with 95 % intervals.

    Attributes:
        probability: the threshold.
        coverage: share of all products that is accepted.
        accuracy, low, high: share of the accepted that has the label which it was given (Wilson's interval).
        corrected, corrected_low, corrected_high: the share that is right, label noise taken away.
    """

    probability: float
    coverage: float
    accuracy: float
    low: float
    high: float
    corrected: float
    corrected_low: float
    corrected_high: float


@dataclass(frozen=True)
class Acceptance:
    """A choice of a threshold by the accuracy that the accepted are to have.

    Attributes:
        target: that accuracy, which `Accepted.corrected_low` must reach.
        noise: share of labels that are wrong.
        chosen: what reaches the target and accepts most; None where nothing does.
        out_of_fold: the accepted where each product's threshold was chosen on other products.
        highest: what reaches the highest accuracy of all.
        by_target: the same choice for other targets.
        curve: from the surest product to all of them.
    """

    target: float
    noise: float
    chosen: Accepted | None
    out_of_fold: Accepted | None
    highest: Accepted
    by_target: dict[float, Accepted | None]
    curve: list[Accepted]

    def document(self) -> dict[str, Any]:
        """What `model.json` says of it: the threshold, and what it promises."""
        promised = {
            name: asdict(each) if each else None
            for name, each in (("chosen", self.chosen), ("out_of_fold", self.out_of_fold))
        }
        probability = self.chosen.probability if self.chosen else None
        given = {"probability": probability, "target": self.target, "label_noise": self.noise}
        return {**given, **promised, "highest": asdict(self.highest)}


def acceptance(found: LabeledPredictions, labels: np.ndarray, *, target: float) -> Acceptance:
    """Chooses the lowest threshold whose accepted are right as often as the target asks.

    Args:
        labels: (N,) classes, which are spread over the folds.
    """
    curve = curve_of(found)
    folds = choice_folds(labels, found.groups)
    accepted = np.zeros(len(labels), bool)
    for fold in range(int(folds.max()) + 1 if folds.any() else 0):
        if chosen := _reaching(curve_of(found.part(folds != fold)), target):
            accepted |= (folds == fold) & (found.sure >= chosen.probability)
    return Acceptance(
        target,
        found.label_noise,
        _reaching(curve, target),
        _Draws(found).of(accepted) if accepted.any() else None,
        max(curve, key=lambda each: each.corrected_low),
        {each: _reaching(curve, each) for each in sorted({*TARGETS, target})},
        curve,
    )


def curve_of(found: LabeledPredictions) -> list[Accepted]:
    """What thresholds accept, from the highest on, at `STEPS` coverages."""
    order = np.argsort(-found.sure, kind="stable")
    sure = found.sure[order]
    ends = np.flatnonzero(np.append(sure[1:] != sure[:-1], True))  # equally sure ones go together
    steps = np.searchsorted(ends, np.linspace(0, len(order) - 1, STEPS))
    return _Draws(found).along(order, np.unique(ends[steps]) + 1)


def rounded(pred_probs: np.ndarray) -> np.ndarray:
    """(N, C) -> (N,) the largest probability of each row as files have it."""
    return np.round(pred_probs.max(axis=1).astype(np.float64), DIGITS)


def entropy(pred_probs: np.ndarray) -> np.ndarray:
    """(N, C) -> (N,) in nats: how many classes share a product between them, and how evenly."""
    return -(pred_probs * np.log(np.maximum(pred_probs, LEAST))).sum(axis=1, dtype=np.float64)


def unlike_above(pred_probs: np.ndarray) -> float:
    """The entropy over which a product is unlike any class: `UNLIKE` of the known products are.

    Products of classes left out of the training were found better by it than by the largest probability, the
    classifiers' own probabilities, or distances to other products' n-grams: `benchmarks/confidence.py`.

    Args:
        pred_probs: (N, C) of known products, calibrated, by what did not see them.
    """
    return float(np.quantile(entropy(pred_probs), 1 - UNLIKE))


def without_noise(accuracy: Any, noise: Any) -> Any:
    """The share that is right, from the share that agrees with labels of which `noise` are wrong.

    A prediction agrees with a label if both are right, or, at most, if both are wrong.
    """
    return np.clip((accuracy - noise) / (1 - 2 * np.minimum(noise, 0.4)), 0, 1)


class _Draws:
    """The Bayesian bootstrap of `components.modeling.intervals.Posterior`, for shares of accepted products.

    Label noise and accuracy are drawn together, as they rest on the same products; of the noise one standard
    error is given away, for the mistakes that the temperature does not show. In every draw one group more is
    wrong: without it, products that are all right would prove that none is ever wrong.
    """

    def __init__(self, found: LabeledPredictions, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self._found = found
        self._weights = random.standard_exponential((int(found.groups.max()) + 1, DRAWS), np.float32)
        self._pseudo = random.standard_exponential(DRAWS, np.float32)
        self._noise = np.zeros(DRAWS)
        if found.label_noise:
            weights = self._weights[found.groups[found.surest]]
            wrong = (~found.right)[found.surest].astype(np.float32) @ weights / weights.sum(axis=0)
            drawn = wrong - found.mistakes
            self._noise = np.maximum(drawn - drawn.std(), 0)

    def of(self, accepted: np.ndarray) -> Accepted:
        """What is known of some accepted products, (N,) bool."""
        return self.along(np.flatnonzero(accepted), np.array([int(accepted.sum())]))[0]

    def along(self, order: np.ndarray, counts: np.ndarray) -> list[Accepted]:
        """What is known of the first `counts` of some products."""
        found, groups = self._found, self._found.groups[order]
        wrong = (~found.right)[order]
        starts = np.append(0, counts[:-1])
        weights = self._weights[groups]
        total = np.add.reduceat(weights, starts).cumsum(axis=0)
        lost = np.add.reduceat(weights * wrong[:, None], starts).cumsum(axis=0)
        accepted = []
        for place, count in enumerate(counts.tolist()):
            units = effective_units(np.unique(groups[:count], return_inverse=True)[1].reshape(-1))
            more = self._pseudo * (count / units)
            drawn = 1 - (lost[place] + more) / (total[place] + more)
            accuracy = 1 - float(wrong[:count].mean())
            low, high = wilson(accuracy, units)
            corrected = float(without_noise(accuracy, found.label_noise))
            least, most = interval(without_noise(drawn, self._noise))
            accepted.append(
                Accepted(
                    float(found.sure[order[:count]].min()),
                    count / len(found.sure),
                    accuracy,
                    *(float(low), float(high)),
                    *(corrected, min(least, corrected), max(most, corrected)),
                )
            )
        return accepted


def _reaching(curve: list[Accepted], target: float) -> Accepted | None:
    """What reaches a target and accepts most."""
    reached = [each for each in curve if each.corrected_low >= target]
    return reached[-1] if reached else None
