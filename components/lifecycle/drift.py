"""Drift since the champion was trained: of the catalog, of the champion's answers, of their accuracy."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from components.data.top_classes import PredProbs
from components.lifecycle.config import DriftConfig
from components.preprocess.profile.drift import CHANCE, catalog_drift, compared
from components.reports.page import many, percent

LABELED, NEW, ANSWERS, SCORES = "labeled products", "new products", "the champion's answers", "known codes"
CLASSES = "new and vanished classes"  # an aspect that is counted
# Aspect of a catalog -> the key of the configuration that limits its distance.
LIMITS = {
    "class shares": "classes",
    "title lengths": "lengths",
    "description lengths": "lengths",
    "languages": "languages",
    "missing titles": "missing",
    "missing descriptions": "missing",
    "missing pictures": "missing",
    "picture sizes": "pictures",
    "picture borders": "pictures",
}


@dataclass(frozen=True)
class Measure:
    """One aspect, how far it is from what the champion was trained on, and whether that is drift.

    Attributes:
        part: of what.
        distance: in the unit of `limit`: a share from 0 to 1, or a count of classes.
        limit: from which on it is drift.
        beyond: whether it is, which no difference is that chance explains.
        change: what moved most, in words.
    """

    part: str
    aspect: str
    distance: float
    limit: float
    beyond: bool
    change: str

    @property
    def text(self) -> str:
        """The measure in one line."""
        return f"{self.part}, {self.aspect}: {self.written} (limit {self.written_limit}): {self.change}"

    @property
    def written(self) -> str:
        """The distance with its unit."""
        return _written(self.distance, self.aspect)

    @property
    def written_limit(self) -> str:
        """The limit with its unit."""
        return _written(self.limit, self.aspect)

    @property
    def document(self) -> dict[str, Any]:
        """The measure as JSON."""
        return {**asdict(self), "text": self.text}


def of_catalog(
    part: str, now: dict[str, Any], earlier: dict[str, Any], names: Mapping[str, str], config: DriftConfig
) -> list[Measure]:
    """Compares the profile of a part of the catalog with the one that the champion was trained on.

    Args:
        names: what a class is called, by code.
    """
    drifts = catalog_drift(now, earlier, names)
    measures = [
        Measure(
            part,
            each.aspect,
            each.distance,
            limit := getattr(config, LIMITS[each.aspect]),
            each.size != CHANCE and each.distance > limit,
            each.change,
        )
        for each in drifts
    ]
    return [*_of_classes(part, now, earlier, config), *measures] if part == LABELED else measures


def _of_classes(
    part: str, now: dict[str, Any], earlier: dict[str, Any], config: DriftConfig
) -> list[Measure]:
    sides = [{code for code, count in side["classes"].items() if count} for side in (now, earlier)]
    new, gone = sorted(sides[0] - sides[1]), sorted(sides[1] - sides[0])
    shown = [
        f"{what} {', '.join(codes[:5])}{', ...' if len(codes) > 5 else ''}"
        for what, codes in (("new", new), ("gone", gone))
        if codes
    ]
    changed = len(new) + len(gone)
    beyond = changed > config.changed_classes
    return [Measure(part, CLASSES, changed, config.changed_classes, beyond, "; ".join(shown) or "none")]


def of_answers(
    new: PredProbs, validation: PredProbs, classes: tuple[str, ...], config: DriftConfig
) -> list[Measure]:
    """Compares the champion's answers on new products with its out-of-fold answers on validation.

    Args:
        new, validation: (N, C) and (V, C) probabilities; neither is empty.
        classes: of the columns.
    """
    counts = [
        dict(zip(classes, np.bincount(side.argmax(axis=1), minlength=len(classes)).tolist(), strict=True))
        for side in (new, validation)
    ]
    shares = compared("predicted classes", counts[0], counts[1])
    sure = [side.max(axis=1).astype(np.float64) for side in (new, validation)]
    fall = float(sure[1].mean() - sure[0].mean())
    error = math.sqrt(sum(side.var() / len(side) for side in sure))
    means = " to ".join(f"{percent(float(side.mean()), 1)} %" for side in reversed(sure))
    beyond = shares.size != CHANCE and shares.distance > config.predictions
    less_sure = fall > config.confidence and fall > 3 * error
    change = f"its mean probability went from {means}"
    return [
        Measure(ANSWERS, shares.aspect, shares.distance, config.predictions, beyond, shares.change),
        Measure(ANSWERS, "confidence", max(fall, 0.0), config.confidence, less_sure, change),
    ]


def of_scores(scores: Mapping[str, Any] | None, config: DriftConfig) -> list[Measure]:
    """How far the accuracy of the latest week whose codes are known is below its floor; none without one.

    And of the latest week whose accepted products were checked, whether they were right as often as promised.

    Args:
        scores: what `models score` left in the store.
    """
    weeks = sorted((scores or {}).get("weeks", []), key=lambda each: each["week"])
    measures = [_of_promise(week) for week in weeks if week.get("checked_interval") and week["promised"]][-1:]
    known = [week for week in weeks if week.get("accuracy") is not None]
    if not known or not config.min_accuracy:
        return measures
    week, accuracy = known[-1], float(known[-1]["accuracy"])
    change = f"{percent(accuracy, 1)} % of {many(week['known'], 'product')} of {week['week']} were right"
    beyond = accuracy < config.min_accuracy
    return [*measures, Measure(SCORES, "accuracy", accuracy, config.min_accuracy, beyond, change)]


def _of_promise(week: Mapping[str, Any]) -> Measure:
    """How often the accepted of a week that were checked at random were right, beside what was promised."""
    accuracy, (low, high) = float(week["checked_accuracy"]), week["checked_interval"]
    change = (
        f"{percent(accuracy, 1)} % of {many(week['checked'], 'accepted product')} of {week['week']} that "
        f"were checked at random were right (95 % interval {percent(low, 1)} to {percent(high, 1)})"
    )
    beyond = bool(week.get("broken"))
    return Measure(SCORES, "accuracy of the accepted", accuracy, week["promised"], beyond, change)


def _written(value: float, aspect: str) -> str:
    return f"{value:.0f}" if aspect == CLASSES else f"{percent(value, 1)} %"
