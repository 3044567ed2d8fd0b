"""Products worth looking at: mistakes of the ensemble, and where text and image disagree."""

from typing import Any

import numpy as np

from components.data.products import Products
from components.evaluate.evaluation import Evaluation, Scored
from components.evaluate.summary import worst_confusions
from components.reports.page import Gallery, class_label, percent

CONFUSIONS, EXAMPLES, DISAGREEMENTS = 8, 4, 12
SINGLES = 3  # confusions that are shown though they happened once


def confused(products: Products, evaluation: Evaluation, gallery: Gallery) -> list[dict[str, Any]]:
    """The most frequent mistakes, each with the products that the ensemble was most confident of."""
    ensemble = evaluation.best["ensemble"]
    pairs = []
    for label, predicted, count in worst_confusions(evaluation, CONFUSIONS):
        if count == 1 and len(pairs) >= SINGLES:
            break
        where = (evaluation.labels == label) & (ensemble.predicted == predicted)
        cards = [
            gallery.card(
                int(evaluation.rows[at]),
                confidence=f"{percent(float(ensemble.confidence[at]), 0)} %",
                **_doubt(evaluation, at),
            )
            for at in _most_confident(ensemble, where, EXAMPLES)
        ]
        pairs.append(
            {
                "label": class_label(products, label),
                "predicted": class_label(products, predicted),
                "count": count,
                "flagged": int(evaluation.flagged[where].sum()),
                "of": int((evaluation.labels == label).sum()),
                "cards": cards,
            }
        )
    return pairs


def _doubt(evaluation: Evaluation, at: int) -> dict[str, str]:
    return {"denoising": "doubts the label"} if evaluation.flagged[at] else {}


def _most_confident(scored: Scored, where: np.ndarray, count: int) -> list[int]:
    """Of the products `where` a condition, (N,), holds, the `count` most confident of their prediction."""
    at = np.flatnonzero(where)
    return at[np.argsort(-scored.confidence[at], kind="stable")][:count].tolist()


def disagreements(products: Products, evaluation: Evaluation, gallery: Gallery) -> dict[str, Any] | None:
    """Where one modality is right and the other wrong; None where there is only one."""
    if not {"text", "image"} <= set(evaluation.best):
        return None
    right = {row: scored.predicted == evaluation.labels for row, scored in evaluation.best.items()}
    text_right, image_right = right["text"] & ~right["image"], right["image"] & ~right["text"]
    return {
        "cells": _cells(right),
        "text_right": _cards(products, evaluation, gallery, "image", text_right),
        "image_right": _cards(products, evaluation, gallery, "text", image_right),
    }


def _cells(right: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """How many products each combination has, and the share that the ensemble then has right."""
    cells = []
    for text, image in ((True, True), (True, False), (False, True), (False, False)):
        here = (right["text"] == text) & (right["image"] == image)
        share = float(right["ensemble"][here].mean()) if here.any() else None
        cells.append({"text": text, "image": image, "count": int(here.sum()), "right": share})
    return cells


def _cards(
    products: Products, evaluation: Evaluation, gallery: Gallery, wrong_row: str, where: np.ndarray
) -> list[dict[str, Any]]:
    """Of the products `where` one model is wrong, those that it was most confident of."""
    wrong, ensemble = evaluation.best[wrong_row], evaluation.best["ensemble"]
    cards = []
    for at in _most_confident(wrong, where, DISAGREEMENTS):
        label = int(evaluation.labels[at])
        lines = {
            "label": class_label(products, label, 40),
            f"{wrong_row}_predicts": class_label(products, int(wrong.predicted[at]), 40),
            "ensemble": "right" if ensemble.predicted[at] == label else "wrong",
        }
        cards.append(gallery.card(int(evaluation.rows[at]), **lines, **_doubt(evaluation, at)))
    return cards
