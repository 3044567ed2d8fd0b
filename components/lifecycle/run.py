"""Predict: a model package says what the products to categorize are."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from components.core.artifacts import write_manifest
from components.core.errors import InputError
from components.core.stage import Result
from components.data.image_store import ImageStore
from components.data.prediction_files import DETAIL, QUEUE, write_predictions
from components.data.probabilities import Classifier, Probabilities, write_classifier
from components.data.products import Products, read_products
from components.lifecycle.detail import detail_of, merged, write_rows
from components.lifecycle.model import Model, Predictions, load_model
from components.lifecycle.queue import Answered, answered, write_queue
from components.lifecycle.report import predict_report
from components.modeling.trained import PREDICTED_AT_ONCE
from components.reports.page import safe_report

log = logging.getLogger(__name__)

FOLDERS = {"fusion": "members", "feature_level": "feature_level"}  # part of a package -> of the predictions


def run_predict(ensemble_model: Path, new_products: Path, new_images: Path, *, predictions: Path) -> Result:
    """Predicts the products to categorize, which preprocess has read.

    Leaves in `predictions` what every part of the model says of them, as classifier folders with one matrix,
    "test": `ensemble`, `text/...`, `image/...`, `members/...` and `feature_level/...`; the codes in the form
    of the labels file and in detail, and the queue of those to review. Where there is no product, a manifest
    alone.

    Returns:
        How many products, how many of them are accepted, and how sure the model is; and the report.

    Raises:
        InputError: the model is damaged, or was trained on other classes.
    """
    model, products = load_model(ensemble_model), read_products(new_products)
    if products.classes != model.classes:
        raise InputError(f"{ensemble_model}: trained on other classes than those of {new_products}")
    images = ImageStore(new_images)
    found = _predict(model, products.table, images) if len(products.table) else None
    if found is not None:
        _write_answers(model, products, found, predictions)
    predictions.mkdir(parents=True, exist_ok=True)
    counts = found.counts if found else {}
    write_manifest(predictions, model=model.version, counts=counts, threshold=model.threshold)
    report = safe_report(lambda: predict_report(model, products, images, found))
    return Result(_scalars(found), report)


def _predict(model: Model, table: pd.DataFrame, images: ImageStore) -> Answered:
    """Predicts a table part by part, and decides what a person is asked about."""
    parts, details = [], []
    for start in range(0, len(table), PREDICTED_AT_ONCE):
        part = table.iloc[start : start + PREDICTED_AT_ONCE]
        parts.append(model.predict_cleaned(part, images))
        details.append(detail_of(model, part, parts[-1]))
        log.info("predicted %s of %s products", f"{start + len(part):,}", f"{len(table):,}")
    return answered(model, table, merged(parts), pd.concat(details, ignore_index=True))


def predict_by_package(package: Path, products: Products, images: ImageStore, folder: Path) -> np.ndarray:
    """The probabilities, (N, C), of a package that was just fetched; leaves what `run_predict` leaves."""
    model = load_model(package, check=False)
    found = _predict(model, products.table, images)
    _write_answers(model, products, found, folder)
    return found.predictions.pred_probs


def _write_answers(model: Model, products: Products, found: Answered, folder: Path) -> None:
    write_predictions(products.table, found.predictions.codes, products.metadata, folder, "predictions")
    write_rows(folder / DETAIL, list(found.detail), found.detail.itertuples(index=False))
    write_queue(folder / QUEUE, products.table, found.detail, found.queue)
    _write_classifiers(model, found.predictions, folder)


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


def _scalars(found: Answered | None) -> dict[str, float]:
    if found is None:
        return {"products": 0.0}
    return {
        **{name: float(count) for name, count in found.counts.items()},
        "mean_probability": float(found.sure.mean()),
        "classes_predicted": float(len(set(found.predictions.codes))),
    }
