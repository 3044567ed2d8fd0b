"""What the vote's report says of its probabilities."""

from dataclasses import asdict
from typing import Any

import numpy as np

from components.data.probabilities import Classifier
from components.data.products import Products
from components.modeling.acceptance import Acceptance
from components.modeling.intervals import effective_units, wilson
from components.modeling.label_noise import rounded
from components.modeling.reliability import calibration, chance_band
from components.reports.acceptance import labeled_and_right, no_threshold
from components.reports.charts import line_chart, reliability_chart
from components.reports.page import class_label, percent, target_percent

UNCALIBRATED = "uncalibrated"  # checkpoint of the ensemble: the vote's probabilities as the members have them
DRAWN_FROM = 0.1  # coverage; on fewer products the interval is as wide as the chart
NAMES = {
    "identity": "none",
    "temperature": "temperature",
    "temperature_and_floor": "temperature, and a share for all classes",
    "isotonic": "isotonic",
}


def reliability_section(products: Products, ensemble: Classifier) -> dict[str, Any] | None:
    """Reliability before and after calibration; None where the vote was not calibrated."""
    if UNCALIBRATED not in ensemble.matrices:
        return None
    rows = products.rows("validation")
    ids, labels = products.ids[rows], products.labels[rows]
    groups = products.table["group"].to_numpy()[rows]
    before = ensemble.matrices[UNCALIBRATED]["validation"].aligned(ids, where="the vote")
    sides = []
    for name, pred_probs in (("before", before), ("after, out of fold", ensemble.chosen("validation", ids))):
        found = calibration(labels, pred_probs)
        band = chance_band(pred_probs.max(axis=1), groups)
        sides.append(
            {
                "name": name,
                "error": found.error,
                "by_chance": band.error,
                "chart": reliability_chart(found, band, title=f"Reliability {name}"),
                "bins": list(
                    zip(found.confidence.tolist(), found.accuracy.tolist(), found.count.tolist(), strict=True)
                ),
            }
        )
    losses = ensemble.metadata["log_loss_of_calibrations"]
    return {
        "sides": sides,
        "tried": {NAMES[kind]: loss for kind, loss in losses.items()},
        "sentence": _sentence(sides, NAMES[ensemble.metadata["calibration"]["kind"]], len(labels)),
    }


def _sentence(sides: list[dict[str, Any]], kind: str, products: int) -> str:
    before, after = (percent(side["error"], 1) for side in sides)
    by_chance = sides[1]["by_chance"]
    inside = "within" if sides[1]["error"] <= by_chance else "above"
    return (
        f"Confidence and accuracy lie {after} points apart on average, {before} before calibration ({kind}). "
        f"That is {inside} the {percent(by_chance, 1)} points under which 95 % of perfectly calibrated "
        f"classifiers stay on {products:,} products."
    )


def acceptance_section(products: Products, ensemble: Classifier, accepted: Acceptance) -> dict[str, Any]:
    """What may be accepted unseen: by target, as a curve, and of every class at the chosen threshold."""
    drawn = [each for each in accepted.curve if each.coverage >= DRAWN_FROM] or accepted.curve
    right = "right, label noise taken away" if accepted.noise else "right as labeled"
    lines = {
        right: [(each.coverage, each.corrected) for each in drawn],
        "lower end of its 95 % interval": [(each.coverage, each.corrected_low) for each in drawn],
    }
    if accepted.noise:
        lines["as labeled"] = [(each.coverage, each.accuracy) for each in drawn]
    chosen = accepted.chosen
    series = {name: [(100 * x, 100 * y) for x, y in line] for name, line in lines.items()}
    return {
        "sentence": acceptance_sentence(accepted),
        "noise": accepted.noise,
        "estimated": accepted.estimated,
        "target": accepted.target,
        "chart": line_chart(
            series,
            title="Accuracy of the accepted by coverage",
            x_name="accepted, % of the products, the surest first",
            rules=[(100 * chosen.coverage, "the threshold")] if chosen else [],
        ),
        "rows": [
            {"target": target, "chief": target == accepted.target, "found": found}
            for target, found in accepted.by_target.items()
        ],
        "classes": _classes(products, ensemble, chosen.probability) if chosen else [],
    }


def acceptance_sentence(accepted: Acceptance) -> str:
    """What is accepted at the target, or the highest target that could be."""
    target = target_percent(accepted.target)
    chosen, honest = accepted.chosen, accepted.out_of_fold
    if chosen is None:
        return no_threshold(accepted.document())
    checked = (
        f" Where the threshold was chosen on other products, it accepts {percent(honest.coverage, 0)} %, "
        f"of which {labeled_and_right(asdict(honest), accepted.noise)}."
        if honest
        else ""
    )
    known = labeled_and_right(asdict(chosen), accepted.noise)
    return (
        f"From a probability of {percent(chosen.probability, 1)} % on, {percent(chosen.coverage, 0)} % of "
        f"the products are accepted unseen, for a target of {target} %: of these, on validation, "
        f"{known}.{checked}"
    )


def _classes(products: Products, ensemble: Classifier, threshold: float) -> list[dict[str, Any]]:
    """Of every predicted class what the threshold accepts, the least accepted first."""
    rows = products.rows("validation")
    pred_probs = ensemble.chosen("validation", products.ids[rows])
    predicted, sure = pred_probs.argmax(axis=1), rounded(pred_probs)
    right, groups = predicted == products.labels[rows], products.table["group"].to_numpy()[rows]
    entries = []
    for label in np.unique(predicted).tolist():
        accepted = (predicted == label) & (sure >= threshold)
        units = effective_units(groups[accepted])
        accuracy = float(right[accepted].mean()) if accepted.any() else 0.0
        low, high = wilson(accuracy, units)
        entries.append(
            {
                "name": class_label(products, label),
                "predicted": int((predicted == label).sum()),
                "coverage": float(accepted.sum() / (predicted == label).sum()),
                "accuracy": accuracy if accepted.any() else None,
                "low": float(low),
                "high": float(high),
            }
        )
    return sorted(entries, key=lambda entry: entry["coverage"])
