"""What to do next after a run: a few sentences, each with what they rest on."""

from typing import Any

import numpy as np
import pandas as pd

from components.data.products import Products
from components.evaluate.evaluation import Evaluation
from components.evaluate.summary import sure_figures, worst_confusions
from components.modeling.metrics import ROWS, worst_first
from components.modeling.reliability import chance_band
from components.reports.page import ENOUGH, WEAK, check, class_label, many, percent

NOTICEABLE_MACRO_F1 = 0.002  # of macro-F1
WIDE = 0.05  # an interval within which a small change may well be chance
CALIBRATED = 0.05  # expected calibration error up to which probabilities count as calibrated
NAMED = 4


def advice(products: Products, evaluation: Evaluation, issues: pd.DataFrame) -> list[dict[str, Any]]:
    """The run's open ends, what costs most first: labels, classes, the vote, the measurement itself."""
    checks = [_labels(issues), _weak_classes(products, evaluation), _mixed_up(products, evaluation)]
    checks += [_vote(evaluation), _measurement(evaluation), _probabilities(products, evaluation)]
    return [entry for entry in checks if entry]


def _labels(issues: pd.DataFrame) -> dict[str, Any]:
    if issues.empty:
        return check(True, "No label looks wrong.")
    removed = int(np.count_nonzero(issues["removed"]))
    wrong = many(len(issues), "label looks wrong", "labels look wrong")
    advice = "look at the denoise report and correct the worst with --corrections"
    return check(False, f"{wrong}, {removed:,} of them taken out of training: {advice}.")


def _weak_classes(products: Products, evaluation: Evaluation) -> dict[str, Any]:
    """Classes of enough products for a figure; a doubted label is no reason to ask for more."""
    support, f1 = sure_figures(evaluation, len(products.classes))
    weak = [label for label in worst_first(f1, support) if f1[label] < WEAK and support[label] >= ENOUGH]
    few = int(np.count_nonzero((support < ENOUGH) & (evaluation.best["ensemble"].score.support > 0)))
    rest = _aside(evaluation)
    rest += f", of those with {ENOUGH} evaluated products or more ({few} have fewer)" if few else ""
    if not weak:
        return check(True, f"Every class has an F1 of at least {percent(WEAK, 0)} %{rest}.")
    named = [
        f"“{class_label(products, label, 40)}” ({percent(float(f1[label]), 0)} % on {support[label]:,})"
        for label in weak[:NAMED]
    ]
    more = f" and {len(weak) - NAMED} more" if len(weak) > NAMED else ""
    count = many(len(weak), "class is", "classes are")
    weakness = f"{count} weak{_aside(evaluation)}: {', '.join(named)}{more}"
    return check(False, f"{weakness}. More labeled products help most there.")


def _mixed_up(products: Products, evaluation: Evaluation) -> dict[str, Any] | None:
    worst = worst_confusions(evaluation, 1, sure=True)
    if not worst or worst[0][2] < 2:
        return None
    label, predicted, count = worst[0]
    pair = f"“{class_label(products, label, 40)}” and “{class_label(products, predicted, 40)}”"
    products_mixed = f"{count} products{_aside(evaluation)}"
    return check(
        False, f"{pair} are mixed up most ({products_mixed}): is it clear which products belong to which?"
    )


def _aside(evaluation: Evaluation) -> str:
    """Why a figure is not that of the table of classes, where it is another."""
    return ", doubted labels aside" if evaluation.flagged.any() else ""


def _vote(evaluation: Evaluation) -> dict[str, Any]:
    best = max(evaluation.best.values(), key=lambda scored: scored.score.macro_f1)
    ahead = best.score.macro_f1 - evaluation.best["ensemble"].score.macro_f1
    if ahead < NOTICEABLE_MACRO_F1:
        return check(True, "No single classifier does better than the vote.")
    name = f"{ROWS[best.row]} ({best.classifier.name})"
    better = f"{name} alone is {100 * ahead:.2f} points better than the vote"
    return check(False, f"{better}: see the ensemble report for what holds the vote back.")


def _measurement(evaluation: Evaluation) -> dict[str, Any]:
    low, high = evaluation.best["ensemble"].score.interval
    width = f"The interval is {100 * (high - low):.1f} points wide"
    if high - low <= WIDE:
        return check(True, f"{width}: a larger change is hardly chance.")
    few = f"as only {len(evaluation.rows):,} products were evaluated"
    if evaluation.groups < len(evaluation.rows):
        few += f", {evaluation.groups:,} of them no duplicates"
    return check(False, f"{width}, {few}: a smaller change than that may be chance.")


def _probabilities(products: Products, evaluation: Evaluation) -> dict[str, Any]:
    ensemble = evaluation.best["ensemble"]
    calibration = ensemble.calibration
    error = f"by {percent(calibration.error, 1)} points on average"
    if calibration.error < CALIBRATED:
        return check(True, f"The probabilities are calibrated: they are off {error}.")
    groups = products.table["group"].to_numpy()[evaluation.rows]
    if calibration.error <= chance_band(ensemble.confidence, groups).error:
        return check(True, f"The probabilities are off {error}, which on so few products is chance.")
    modest = ((calibration.accuracy - calibration.confidence) * calibration.count).sum() > 0
    how = "underconfident" if modest else "overconfident"
    return check(False, f"The probabilities are {how}, {error}: set thresholds on measured accuracy.")
