"""What the vote's report says of its probabilities."""

from typing import Any

from components.data.probabilities import Classifier
from components.data.products import Products
from components.modeling.reliability import calibration, chance_band
from components.reports.charts import reliability_chart
from components.reports.page import percent

UNCALIBRATED = "uncalibrated"  # checkpoint of the ensemble: the vote's probabilities as the members have them
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
