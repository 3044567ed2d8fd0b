"""What to do next after a run: a few sentences, each with what they rest on."""

from typing import Any

import numpy as np
import pandas as pd

from components.data.products import Products
from components.evaluate.evaluation import Evaluation
from components.evaluate.summary import worst_confusions
from components.modeling.metrics import ROWS
from components.reports.page import WEAK, check, class_label, many, percent

NOTICEABLE = 0.002  # of macro-F1
WIDE = 0.05  # an interval within which no small change can be told from chance
CALIBRATED = 0.05  # expected calibration error under which a probability may be taken at its word
NAMED = 4


def advice(products: Products, evaluation: Evaluation, issues: pd.DataFrame) -> list[dict[str, Any]]:
    """The run's open ends, what costs most first: labels, classes, the vote, the measurement itself."""
    checks = [_labels(issues), _weak_classes(products, evaluation), _mixed_up(products, evaluation)]
    checks += [_vote(evaluation), _measurement(evaluation), _probabilities(evaluation)]
    return [entry for entry in checks if entry]


def _labels(issues: pd.DataFrame) -> dict[str, Any]:
    if issues.empty:
        return check(True, "No label looks wrong.")
    removed = int(np.count_nonzero(issues["removed"]))
    said = (
        f"{many(len(issues), 'label looks', 'labels look')} wrong, {removed:,} of them taken out of training"
    )
    return check(False, f"{said}: look at the denoise report and correct the worst with --corrections.")


def _weak_classes(products: Products, evaluation: Evaluation) -> dict[str, Any]:
    score = evaluation.best["ensemble"].score
    weak = [
        label
        for label in np.argsort(score.f1, kind="stable")
        if score.support[label] and score.f1[label] < WEAK
    ]
    if not weak:
        return check(True, f"Every class has an F1 of at least {percent(WEAK, 0)} %.")
    named = [
        f"“{class_label(products, int(label), 40)}” ({percent(float(score.f1[label]), 0)} %)"
        for label in weak[:NAMED]
    ]
    more = f" and {len(weak) - NAMED} more" if len(weak) > NAMED else ""
    said = f"{many(len(weak), 'class is', 'classes are')} weak: {', '.join(named)}{more}"
    return check(False, f"{said}. More labeled products help most there.")


def _mixed_up(products: Products, evaluation: Evaluation) -> dict[str, Any] | None:
    worst = worst_confusions(evaluation, len(products.classes), 1)
    if not worst or worst[0][2] < 2:
        return None
    label, predicted, count = worst[0]
    pair = f"“{class_label(products, label, 40)}” and “{class_label(products, predicted, 40)}”"
    return check(False, f"{pair} are mixed up most ({count} products): are their labels told apart clearly?")


def _vote(evaluation: Evaluation) -> dict[str, Any]:
    best = max(evaluation.best.values(), key=lambda scored: scored.score.macro_f1)
    ahead = best.score.macro_f1 - evaluation.best["ensemble"].score.macro_f1
    if ahead < NOTICEABLE:
        return check(True, "No single classifier does better than the vote.")
    said = f"{ROWS[best.row]} ({best.classifier.name}) alone is {100 * ahead:.2f} points better than the vote"
    return check(False, f"{said}: see the ensemble report for what holds the vote back.")


def _measurement(evaluation: Evaluation) -> dict[str, Any]:
    low, high = evaluation.best["ensemble"].score.interval
    width = f"The interval is {100 * (high - low):.1f} points wide"
    if high - low > WIDE:
        predicted = f"{len(evaluation.rows):,} products"
        return check(
            False, f"{width}, as only {predicted} were predicted: a smaller change than that may be chance."
        )
    return check(True, f"{width}: a larger change is hardly chance.")


def _probabilities(evaluation: Evaluation) -> dict[str, Any]:
    predicted = evaluation.best["ensemble"].calibration
    weights = predicted.count / predicted.count.sum()
    modest = float(((predicted.accuracy - predicted.confidence) * weights).sum()) > 0
    error = f"{percent(predicted.error, 1)} points"
    if predicted.error < CALIBRATED:
        return check(
            True, f"The probabilities can be taken at their word: they are off by {error} on average."
        )
    how = "too modest" if modest else "too sure"
    return check(
        False, f"The probabilities are {how}, by {error} on average: set thresholds on measured accuracy."
    )
