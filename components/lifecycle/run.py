"""Predict: a model package says what the products to categorize are."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from components.core.artifacts import write_manifest
from components.core.errors import InputError
from components.core.stage import Result
from components.data.image_store import ImageStore
from components.data.prediction_files import DETAIL, write_predictions
from components.data.probabilities import Classifier, Probabilities, write_classifier
from components.data.products import read_products
from components.lifecycle.detail import detail_rows, merged
from components.lifecycle.model import Model, Predictions, load_model
from components.lifecycle.report import predict_report
from components.modeling.trained import PREDICTED_AT_ONCE
from components.reports.page import safe_report

log = logging.getLogger(__name__)

FOLDERS = {"fusion": "members", "feature_level": "feature_level"}  # part of a package -> of the predictions


def run_predict(ensemble_model: Path, new_products: Path, new_images: Path, *, predictions: Path) -> Result:
    """Predicts the products to categorize, which preprocess has read.

    Leaves in `predictions` what every part of the model says of them, as classifier folders with one matrix,
    "test": `ensemble`, `text/...`, `image/...`, `members/...` and `feature_level/...`; the codes in the form
    of the labels file and in detail. Where there is no product, a manifest alone.

    Returns:
        How many products, how many without an image, and how sure the model is; and the report.

    Raises:
        InputError: the model is damaged, or was trained on other classes.
    """
    model, products = load_model(ensemble_model), read_products(new_products)
    if products.classes != model.classes:
        raise InputError(f"{ensemble_model}: trained on other classes than those of {new_products}")
    images = ImageStore(new_images)
    found = _predict(model, products.table, images, predictions / DETAIL) if len(products.table) else None
    if found is not None:
        write_predictions(products.table, found.codes, products.metadata, predictions, "predictions")
        _write_classifiers(model, found, predictions)
    predictions.mkdir(parents=True, exist_ok=True)
    write_manifest(predictions, model=model.version)
    report = safe_report(lambda: predict_report(model, products, images, found))
    return Result(_scalars(found), report)


def _predict(model: Model, table: pd.DataFrame, images: ImageStore, detail: Path) -> Predictions:
    """Predicts a table part by part, and writes the file of predictions in detail."""
    parts = []
    with detail_rows(detail, model) as rows:
        for start in range(0, len(table), PREDICTED_AT_ONCE):
            part = table.iloc[start : start + PREDICTED_AT_ONCE]
            parts.append(model.predict_cleaned(part, images))
            rows.write(part, parts[-1])
            log.info("predicted %s of %s products", f"{start + len(part):,}", f"{len(table):,}")
    return merged(parts)


def _write_classifiers(model: Model, found: Predictions, folder: Path) -> None:
    entries = [("ensemble", model.name, "ensemble", found.pred_probs)]
    entries += [
        (f"{each['modality']}/{number:03d}", each["name"], each["modality"], found.classifiers[each["name"]])
        for number, each in enumerate(model.classifiers)
    ]
    for number, each in enumerate(model.voters):
        part = FOLDERS[each["folder"].split("/")[0]]
        entries.append((f"{part}/{number:03d}", each["name"], "fusion", found.members[each["name"]]))
    for where, name, modality, pred_probs in entries:
        matrix = Probabilities(found.ids, model.classes, pred_probs)
        write_classifier(folder / where, Classifier(name, modality, {"chosen": {"test": matrix}}))


def _scalars(found: Predictions | None) -> dict[str, float]:
    if found is None:
        return {"products": 0.0}
    sure = found.pred_probs.max(axis=1)
    return {
        "products": float(len(sure)),
        "without_image": float(np.count_nonzero(found.without_image)),
        "mean_probability": float(sure.mean()),
        "classes_predicted": float(len(set(found.codes))),
    }
