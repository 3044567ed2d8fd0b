"""Products worth looking at: mistakes of the ensemble, and where text and image disagree."""

from typing import Any

import numpy as np

from components.data.products import Products
from components.evaluate.evaluation import Evaluation
from components.evaluate.summary import worst_confusions
from components.reports.page import Gallery, class_label

CONFUSIONS, EXAMPLES, DISAGREEMENTS = 8, 4, 12
SINGLES = 3  # confusions that are shown though they happened once


def confused(products: Products, evaluation: Evaluation, gallery: Gallery) -> list[dict[str, Any]]:
    """The most frequent mistakes, each with the products that the ensemble was surest of."""
    ensemble = evaluation.best["ensemble"]
    pairs = []
    for label, predicted, count in worst_confusions(evaluation, len(products.classes), CONFUSIONS):
        if count == 1 and len(pairs) >= SINGLES:
            break
        at = np.flatnonzero((evaluation.labels == label) & (ensemble.predicted == predicted))
        surest = at[np.argsort(-ensemble.pred_probs[at, predicted], kind="stable")][:EXAMPLES]
        pairs.append(
            {
                "label": class_label(products, label),
                "predicted": class_label(products, predicted),
                "count": count,
                "of": int((evaluation.labels == label).sum()),
                "cards": [
                    gallery.card(
                        int(evaluation.rows[position]),
                        confidence=f"{ensemble.pred_probs[position, predicted]:.0%}",
                    )
                    for position in surest
                ],
            }
        )
    return pairs


def disagreements(products: Products, evaluation: Evaluation, gallery: Gallery) -> dict[str, Any] | None:
    """Where one modality is right and the other wrong; None where there is only one."""
    if not {"text", "image"} <= set(evaluation.best):
        return None
    right = {row: evaluation.best[row].predicted == evaluation.labels for row in evaluation.best}
    return {
        "cells": _cells(right),
        "text_right": _surest(products, evaluation, gallery, "image", right["text"] & ~right["image"]),
        "image_right": _surest(products, evaluation, gallery, "text", right["image"] & ~right["text"]),
    }


def _cells(right: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """How many products each combination has, and the share that the ensemble then has right."""
    cells = []
    for text, image in ((True, True), (True, False), (False, True), (False, False)):
        here = (right["text"] == text) & (right["image"] == image)
        share = float(right["ensemble"][here].mean()) if here.any() else None
        cells.append({"text": text, "image": image, "count": int(here.sum()), "right": share})
    return cells


def _surest(
    products: Products, evaluation: Evaluation, gallery: Gallery, wrong_row: str, where: np.ndarray
) -> list[dict[str, Any]]:
    """Of the products `where` one model is wrong, those that it was surest of."""
    wrong, ensemble = evaluation.best[wrong_row], evaluation.best["ensemble"]
    at = np.flatnonzero(where)
    surest = at[np.argsort(-wrong.pred_probs.max(axis=1)[at], kind="stable")][:DISAGREEMENTS]
    cards = []
    for position in surest.tolist():
        label = int(evaluation.labels[position])
        lines = {
            "label": class_label(products, label, 40),
            f"{wrong_row}_says": class_label(products, int(wrong.predicted[position]), 40),
            "ensemble": "right" if ensemble.predicted[position] == label else "wrong",
        }
        cards.append(gallery.card(int(evaluation.rows[position]), **lines))
    return cards
