"""Auto-accept: from which probability on predictions need no look, and how many of those are right."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from components.data.top_classes import PredProbs, TopClasses
from components.modeling.cross_fitting import choice_folds
from components.modeling.intervals import DRAWS, effective_units, interval, wilson
from components.modeling.label_noise import LabeledPredictions, without_noise
from components.modeling.metrics import LEAST

STEPS = 200  # coverages at which a threshold may lie
UNLIKE = 0.05  # of the known products
TARGETS = (0.9, 0.95, 0.98, 0.99)  # shown beside the one that is asked for


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
        noise: share of labels taken to be wrong.
        estimated: the share that the predictions let appear wrong; `noise` is no more than is taken away.
        chosen: what reaches the target and accepts most; None where nothing does.
        out_of_fold: the accepted where each product's threshold was chosen on other products; None where
            nothing is chosen on all of them.
        highest: what reaches the highest accuracy of all.
        by_target: the same choice for other targets.
        curve: from the surest product to all of them.
    """

    target: float
    noise: float
    estimated: float
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
        noise = {"label_noise": self.noise, "estimated_noise": self.estimated}
        return {
            "probability": probability,
            "target": self.target,
            **noise,
            **promised,
            "highest": asdict(self.highest),
        }


def acceptance(found: LabeledPredictions, labels: np.ndarray, *, target: float) -> Acceptance:
    """Chooses the lowest threshold whose accepted are right as often as the target asks.

    Args:
        labels: (N,) classes, which are spread over the folds.
    """
    curve = curve_of(found)
    chosen = reaching(curve, target)
    folds = choice_folds(labels, found.groups)
    accepted = np.zeros(len(labels), bool)
    for fold in range(int(folds.max()) + 1 if folds.any() else 0):
        if here := reaching(curve_of(found.part(folds != fold)), target):
            accepted |= (folds == fold) & (found.sure >= here.probability)
    return Acceptance(
        target,
        found.label_noise,
        found.estimated_noise,
        chosen,
        accepted_of(found, accepted) if chosen and accepted.any() else None,
        max(curve, key=lambda each: each.corrected_low),
        {each: reaching(curve, each) for each in sorted({*TARGETS, target})},
        curve,
    )


def curve_of(found: LabeledPredictions, among: np.ndarray | None = None) -> list[Accepted]:
    """What thresholds accept, from the highest on, at `STEPS` coverages.

    Args:
        among: (N,) bool, the products that may be accepted, where not all may; label noise is that of all.
    """
    order = np.argsort(-found.sure, kind="stable")
    order = order if among is None else order[among[order]]
    if not len(order):
        return []
    sure = found.sure[order]
    ends = np.flatnonzero(np.append(sure[1:] != sure[:-1], True))  # equally sure ones go together
    steps = np.searchsorted(ends, np.linspace(0, len(order) - 1, STEPS))
    return _Draws(found).along(order, np.unique(ends[steps]) + 1)


def accepted_of(found: LabeledPredictions, accepted: np.ndarray) -> Accepted:
    """What is known of some accepted products, (N,) bool and at least one of them."""
    return _Draws(found).along(np.flatnonzero(accepted), np.array([int(accepted.sum())]))[0]


def reaching(curve: list[Accepted], target: float) -> Accepted | None:
    """What reaches a target and accepts most."""
    reached = [each for each in curve if each.corrected_low >= target]
    return reached[-1] if reached else None


def entropy(pred_probs: PredProbs) -> np.ndarray:
    """(N, C) -> (N,) in nats: how many classes share a product between them, and how evenly."""
    if isinstance(pred_probs, TopClasses):
        values = pred_probs.values
        return -(values * np.log(np.maximum(values, LEAST))).astype(np.float64) @ pred_probs.counts
    return -(pred_probs * np.log(np.maximum(pred_probs, LEAST))).sum(axis=1, dtype=np.float64)


def unlike_above(pred_probs: PredProbs) -> float:
    """The entropy over which a product is unlike any class: `UNLIKE` of the known products are.

    Products of classes left out of the training were found better by it than by the largest probability, the
    classifiers' own probabilities, or distances to other products' n-grams: `benchmarks/confidence.py`.

    Args:
        pred_probs: (N, C) of known products, calibrated, by what did not see them.
    """
    return float(np.quantile(entropy(pred_probs), 1 - UNLIKE))


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
            self._noise = np.clip(drawn - drawn.std(), 0, found.max_noise)

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
            units = effective_units(groups[:count])
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
