"""The report of predictions: which classes, how sure, and which products to look at by hand."""

from typing import Any

import numpy as np

from components.data.image_store import ImageStore
from components.data.products import Products
from components.lifecycle.model import Model, Predictions
from components.reports.charts import bar
from components.reports.page import Gallery, check, class_label, class_label_of, figure, many, percent, render

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
    counts = np.bincount(found.pred_probs.argmax(axis=1), minlength=len(model.classes))
    rows = _classes(model, counts)
    return render(
        "predict",
        lead=f"The model names a class for each of {many(count, 'product')}.",
        figures=_figures(count, len(set(found.codes)), float(sure.mean()), blind),
        checks=[_shift_check(rows), check(not blind, _blind(blind, count))],
        rows=rows,
        cards=_least_sure(products, images, found, sure),
    )


def batch_report(model: Model, counts: np.ndarray, sure: float, blind: int) -> str:
    """Draws the report of a catalog that was predicted shard by shard.

    Args:
        counts: (C,) how many products each class was predicted of.
        sure: mean probability of the predicted classes.
        blind: how many products have no picture.
    """
    count = int(counts.sum())
    if not count:
        return render("predict", lead="Nothing is new.", figures=[], checks=[], rows=[], cards=[])
    rows = _classes(model, counts)
    return render(
        "predict",
        lead=f"The champion {model.version} names a class for each of {many(count, 'product')}.",
        figures=_figures(count, int(np.count_nonzero(counts)), sure, blind),
        checks=[_shift_check(rows), check(not blind, _blind(blind, count))],
        rows=rows,
        cards=[],
    )


def _figures(count: int, classes: int, sure: float, blind: int) -> list[dict[str, str]]:
    return [
        figure("products", f"{count:,}"),
        figure("classes named", f"{classes:,}"),
        figure("mean probability", percent(sure, 1), "%"),
        figure("without a picture", f"{blind:,}"),
    ]


def _blind(blind: int, count: int) -> str:
    if not blind:
        return "Every product has a picture."
    return f"{blind:,} of {many(count, 'product')} have no picture: their text alone speaks for them."


def _classes(model: Model, counts: np.ndarray) -> list[dict[str, Any]]:
    """Share of every class among the predictions and among the labeled products, the largest first.

    Args:
        counts: (C,) how many products each class was predicted of.
    """
    trained, names = model.profile["classes"], model.document["class_names"]
    labeled = max(sum(trained.values()), 1)
    return [
        {
            "name": class_label_of(code, names),
            "count": int(counts[label]),
            "share": counts[label] / counts.sum(),
            "trained": trained.get(code, 0) / labeled,
            "drawn": bar(float(counts[label]), float(counts.max())),
        }
        for label, code in sorted(enumerate(model.classes), key=lambda each: -counts[each[0]])
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
