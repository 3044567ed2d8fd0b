"""The report of predictions: which classes, how sure, and which products to look at by hand."""

from typing import Any

import numpy as np

from components.data.image_store import ImageStore
from components.data.products import Products
from components.lifecycle.model import Model, Predictions
from components.reports.charts import bar
from components.reports.page import Gallery, check, class_label, figure, many, percent, render

UNSURE = 24  # products shown
NOTHING = "There are no products to categorize."
SHIFT = 0.05  # of a class's share, from which on it is named


def predict_report(model: Model, products: Products, images: ImageStore, found: Predictions | None) -> str:
    """Draws the report.

    Args:
        found: what the model says of the products; None where there are none.
    """
    if found is None:
        return render("predict", lead=NOTHING, figures=[], checks=[], rows=[], cards=[])
    count, sure = len(found.ids), found.pred_probs.max(axis=1)
    blind = int(np.count_nonzero(found.without_image))
    rows = _classes(model, products, found)
    return render(
        "predict",
        lead=f"The model names a class for each of {many(count, 'product')}.",
        figures=[
            figure("products", f"{count:,}"),
            figure("classes named", f"{len(set(found.codes)):,}"),
            figure("mean probability", percent(float(sure.mean()), 1), "%"),
            figure("without a picture", f"{blind:,}"),
        ],
        checks=[_shift_check(rows), check(not blind, _blind(blind, count))],
        rows=rows,
        cards=_least_sure(products, images, found, sure),
    )


def _blind(blind: int, count: int) -> str:
    if not blind:
        return "Every product has a picture."
    return f"{blind:,} of {many(count, 'product')} have no picture: their text alone speaks for them."


def _classes(model: Model, products: Products, found: Predictions) -> list[dict[str, Any]]:
    """Share of every class among the predictions and among the labeled products, the largest first."""
    trained = model.profile["classes"]
    labeled = max(sum(trained.values()), 1)
    counts = np.bincount(found.pred_probs.argmax(axis=1), minlength=len(model.classes))
    return [
        {
            "name": class_label(products, label),
            "count": int(counts[label]),
            "share": counts[label] / counts.sum(),
            "trained": trained.get(model.classes[label], 0) / labeled,
            "drawn": bar(float(counts[label]), float(counts.max())),
        }
        for label in np.argsort(-counts, kind="stable").tolist()
    ]


def _shift_check(rows: list[dict[str, Any]]) -> dict[str, Any]:
    moved = sorted(rows, key=lambda row: -abs(row["share"] - row["trained"]))
    named = [
        f"“{row['name']}” {percent(row['trained'], 1)} % to {percent(row['share'], 1)} %"
        for row in moved[:3]
        if abs(row["share"] - row["trained"]) >= SHIFT
    ]
    if not named:
        return check(True, "The classes' shares are about those of the labeled products.")
    return check(False, f"Other shares than among the labeled products: {', '.join(named)}.")


def _least_sure(
    products: Products, images: ImageStore, found: Predictions, sure: np.ndarray
) -> list[dict[str, Any]]:
    gallery = Gallery(products, images)
    cards = []
    for row in np.argsort(sure, kind="stable")[:UNSURE].tolist():
        best = [int(label) for label in np.argsort(-found.pred_probs[row])[:2]]
        lines: dict[str, Any] = {
            "predicted": [
                f"{class_label(products, one, 40)} {found.pred_probs[row, one]:.0%}" for one in best
            ]
        }
        cards.append(gallery.card(row, **lines))
    return cards
