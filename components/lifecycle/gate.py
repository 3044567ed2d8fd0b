"""The gate: whether a challenger replaces the champion."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from components.lifecycle.comparison import Pairs
from components.lifecycle.config import GateConfig
from components.modeling.intervals import Posterior, interval
from components.modeling.metrics import f1_per_class, macro_f1
from components.reports.page import signed


@dataclass(frozen=True)
class Check:
    """One condition, whether it holds, and that in words."""

    name: str
    holds: bool
    text: str


@dataclass(frozen=True)
class ClassChange:
    """A class on the compared products.

    Attributes:
        support: products whose code it is.
        champion, challenger: F1 of each side.
    """

    code: str
    support: int
    champion: float
    challenger: float

    @property
    def gain(self) -> float:
        """F1 that the challenger has more."""
        return self.challenger - self.champion


@dataclass(frozen=True)
class Difference:
    """The challenger less the champion in macro-F1, on the compared products.

    Attributes:
        champion, challenger: macro-F1 of each side.
        interval: 95 % of paired draws, with groups of duplicates as the unit.
        classes: every class that has products, the largest loss first.
    """

    champion: float
    challenger: float
    interval: tuple[float, float]
    classes: tuple[ClassChange, ...]

    @property
    def gain(self) -> float:
        """Macro-F1 that the challenger has more."""
        return self.challenger - self.champion


@dataclass(frozen=True)
class GateDecision:
    """What the gate says.

    Attributes:
        macro_f1, accuracy: the challenger's on its own validation split.
        difference: None where there is no champion, or nothing to compare on.
    """

    checks: tuple[Check, ...]
    macro_f1: float
    accuracy: float
    difference: Difference | None

    @property
    def promote(self) -> bool:
        """Whether every condition holds."""
        return all(check.holds for check in self.checks)

    @property
    def why(self) -> str:
        """What decided, in one sentence or more."""
        return " ".join(check.text for check in self.checks if check.holds == self.promote)

    def document(self, config: GateConfig) -> dict[str, Any]:
        """The decision as JSON."""
        return {
            "promote": self.promote,
            "why": self.why,
            "checks": [asdict(check) for check in self.checks],
            "validation": {"macro_f1": self.macro_f1, "accuracy": self.accuracy},
            "macro_f1_on_compared": asdict(self.difference) if self.difference else None,
            "config": config.model_dump(),
        }


def decide(
    labels: np.ndarray, predicted: np.ndarray, pairs: Pairs | None, config: GateConfig, *, seed: int = 0
) -> GateDecision:
    """Decides whether a challenger becomes the champion.

    Args:
        labels, predicted: (n,) classes of the challenger's own validation products, out of fold.
        pairs: the products on which both are scored; None where there is no champion.
        seed: of the draws.
    """
    scores = _scores(labels, predicted)
    checks = [*_floors(*scores, config), _chance_check(scores[1], _chance(labels, predicted))]
    difference = None
    if pairs is None:
        checks.append(Check("champion", True, "There is no champion yet."))
    elif len(pairs.ids) == 0:
        checks.append(Check("products", False, "There is no product on which both can be compared fairly."))
    else:
        difference = _difference(pairs, seed)
        checks += [_margin_check(difference, config), _class_check(difference, config)]
    return GateDecision(tuple(checks), *scores, difference)


def confirm(labels: np.ndarray, predicted: np.ndarray, why: str) -> GateDecision:
    """What is said of a model that is the champion already: it stays.

    Args:
        labels, predicted: see `decide`.
        why: in words.
    """
    return GateDecision((Check("champion", True, why),), *_scores(labels, predicted), None)


def _floors(score: float, accuracy: float, config: GateConfig) -> Iterator[Check]:
    floors = (("macro-F1", score, config.min_macro_f1), ("accuracy", accuracy, config.min_accuracy))
    for name, value, floor in floors:
        if floor:
            holds = value >= floor
            where = "at or above" if holds else "below"
            yield Check(
                name, holds, f"Its {name} on validation, {value:.4f}, is {where} the floor, {floor:.4f}."
            )


def _chance_check(accuracy: float, chance: float) -> Check:
    above = "above" if accuracy > chance else "not above"
    text = f"Its accuracy on validation, {accuracy:.4f}, is {above} what chance can reach, {chance:.4f}."
    return Check("chance", accuracy > chance, text)


def _chance(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Accuracy of guesses in the predictions' shares, and three standard errors more.

    The standard error is that of independent guesses with the shares of labels and predictions (Fleiss, Cohen
    and Everitt 1969). On few products it is wide: half the way to no mistake is enough.
    """
    classes = int(max(labels.max(), predicted.max())) + 1
    of_labels, of_guesses = (
        np.bincount(values, minlength=classes) / len(values) for values in (labels, predicted)
    )
    agreeing = of_labels * of_guesses
    expected = float(agreeing.sum())
    variance = expected + expected**2 - float(agreeing @ (of_labels + of_guesses))
    error = math.sqrt(max(variance, 0) / len(labels))
    return expected + min(3 * error, (1 - expected) / 2)


def _scores(labels: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """Macro-F1 and accuracy."""
    classes = int(max(labels.max(), predicted.max())) + 1
    return macro_f1(labels, predicted, classes), float((labels == predicted).mean())


def _difference(pairs: Pairs, seed: int) -> Difference:
    count = len(pairs.classes)
    posterior = Posterior(pairs.labels, pairs.groups, count, seed=seed)
    draws = posterior.macro_f1(pairs.challenger) - posterior.macro_f1(pairs.champion)
    sides = {name: getattr(pairs, name) for name in ("champion", "challenger")}
    f1 = {name: f1_per_class(pairs.labels, predicted, count) for name, predicted in sides.items()}
    support = np.bincount(pairs.labels, minlength=count)
    changes = [
        ClassChange(code, int(support[at]), float(f1["champion"][at]), float(f1["challenger"][at]))
        for at, code in enumerate(pairs.classes)
        if support[at]
    ]
    scores = {name: macro_f1(pairs.labels, predicted, count) for name, predicted in sides.items()}
    return Difference(
        **scores, interval=interval(draws), classes=tuple(sorted(changes, key=lambda each: each.gain))
    )


def _margin_check(difference: Difference, config: GateConfig) -> Check:
    gain, low, high = (signed(100 * value) for value in (difference.gain, *difference.interval))
    holds = difference.interval[0] > -config.margin
    above = f"{'above' if holds else 'not above'} {signed(-100 * config.margin)}"
    text = (
        f"Its macro-F1 is {gain} points from the champion's, 95 % interval {low} to {high}: "
        f"the lower end is {above}."
    )
    return Check("margin", holds, text)


def _class_check(difference: Difference, config: GateConfig) -> Check:
    counted = [each for each in difference.classes if each.support >= config.class_support]
    worse = [each for each in counted if -each.gain > config.class_loss]
    if not worse:
        most = f"{100 * config.class_loss:.0f} points of F1"
        return Check(
            "classes", True, f"No class of {config.class_support} products or more lost over {most}."
        )
    named = ", ".join(f"{each.code} ({signed(100 * each.gain, 1)} points of F1)" for each in worse[:5])
    more = f" and {len(worse) - 5} more" if len(worse) > 5 else ""
    return Check("classes", False, f"Classes lost more than they may: {named}{more}.")
