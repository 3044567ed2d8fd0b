"""Predict: a model package says what the products to categorize are."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from components.core.artifacts import write_manifest
from components.core.errors import InputError
from components.core.reading import read_json
from components.core.stage import Result
from components.data.image_store import ImageStore
from components.data.prediction_files import DETAIL, QUEUE, write_predictions
from components.data.probabilities import Classifier, Probabilities, write_classifier
from components.data.products import Products, read_products
from components.data.top_classes import PredProbs, matrix_of, matrix_tensors
from components.lifecycle.detail import detail_of, write_rows
from components.lifecycle.last_run import LastRun
from components.lifecycle.model import Model, load_model
from components.lifecycle.predictions import Predictions, merged
from components.lifecycle.queue import Answered, answered, write_queue
from components.lifecycle.report import predict_report
from components.modeling.trained import PREDICTED_AT_ONCE
from components.reports.page import safe_report

log = logging.getLogger(__name__)

FOLDERS = {"fusion": "members", "feature_level": "feature_level"}  # part of a package -> of the predictions


def run_predict(
    ensemble_model: Path, new_products: Path, new_images: Path, last_run: Path, *, predictions: Path
) -> Result:
    """Predicts the products to categorize, which preprocess has read.

    Leaves in `predictions` what every part of the model says of them, as classifier folders with one matrix,
    "test": `ensemble`, `text/...`, `image/...`, `members/...` and `feature_level/...`; the codes in the form
    of the labels file and in detail, and the queue of those to review. Where there is no product, a manifest
    alone.

    Args:
        last_run: what the last run predicted, as the monitor found it; for the report.

    Returns:
        How many products, how many of them are accepted, and how sure the model is; and the report.

    Raises:
        InputError: the model is damaged, or was trained on other classes.
    """
    model, products = load_model(ensemble_model), read_products(new_products)
    if products.classes != model.classes:
        raise InputError(f"{ensemble_model}: trained on other classes than those of {new_products}")
    images = ImageStore(new_images)
    found = _predict(model, products, images, predictions) if len(products.table) else None
    predictions.mkdir(parents=True, exist_ok=True)
    counts = found.counts if found else {}
    write_manifest(predictions, model=model.version, counts=counts, threshold=model.threshold)
    last = LastRun(**read_json(last_run, "what the last run predicted"))
    report = safe_report(lambda: predict_report(model, products, images, found, last))
    return Result(_scalars(found), report)


def predict_by_package(package: Path, products: Products, images: ImageStore, folder: Path) -> PredProbs:
    """The probabilities, (N, C), of a package that was just fetched; leaves what `run_predict` leaves."""
    return _predict(load_model(package, check=False), products, images, folder).predictions.pred_probs


def _predict(model: Model, products: Products, images: ImageStore, folder: Path) -> Answered:
    """Predicts products part by part, decides what a person is asked about, and writes all of it.

    Of every part of the model one matrix at a time is in memory, however many classes there are.
    """
    parts, details, table = [], [], products.table
    with TemporaryDirectory() as scratch:
        matrices = _Matrices(Path(scratch), len(model.classes))
        for start in range(0, len(table), PREDICTED_AT_ONCE):
            part = table.iloc[start : start + PREDICTED_AT_ONCE]
            answers = model.predict_cleaned(part, images)
            details.append(detail_of(model, part, answers))
            matrices.append("classifiers", answers.classifiers)
            matrices.append("members", answers.members)
            parts.append(replace(answers, classifiers={}, members={}))
            log.info("predicted %s of %s products", f"{start + len(part):,}", f"{len(table):,}")
        found = answered(model, table, merged(parts), pd.concat(details, ignore_index=True))
        _write_classifiers(model, found.predictions, matrices, folder)
    write_predictions(table, found.predictions.codes, products.metadata, folder, "predictions")
    write_rows(folder / DETAIL, list(found.detail), found.detail.itertuples(index=False))
    write_queue(folder / QUEUE, table, found.detail, found.queue)
    return found


class _Matrices:
    """Matrices (N, C) that grow on the disk, and are read one at a time."""

    def __init__(self, folder: Path, classes: int) -> None:
        self._folder, self._classes = folder, classes
        # Of each matrix by kind and name, the arrays that it is made of: file, type and width.
        self._arrays: dict[tuple[str, str], dict[str, tuple[Path, np.dtype, int]]] = {}

    def append(self, kind: str, rows: Mapping[str, PredProbs]) -> None:
        """Adds rows to each matrix of a kind, by name."""
        for name, pred_probs in rows.items():
            number = len(self._arrays)
            arrays = self._arrays.setdefault((kind, name), {})
            for part, values in matrix_tensors(pred_probs).items():
                path = self._folder / f"{number}.{part}"
                path, *_ = arrays.setdefault(part, (path, values.dtype, values.shape[1]))
                with path.open("ab") as file:
                    values.tofile(file)

    def read(self, kind: str, name: str) -> PredProbs:
        """A matrix."""
        arrays = self._arrays[kind, name].items()
        tensors = {part: np.fromfile(path, dtype).reshape(-1, width) for part, (path, dtype, width) in arrays}
        return matrix_of(tensors, self._classes)


def _write_classifiers(model: Model, found: Predictions, matrices: _Matrices, folder: Path) -> None:
    def write(where: str, name: str, modality: str, pred_probs: PredProbs) -> None:
        matrix = Probabilities(found.ids, model.classes, pred_probs)
        write_classifier(folder / where, Classifier(name, modality, {"chosen": {"test": matrix}}))

    write("ensemble", model.name, "ensemble", found.pred_probs)
    for number, each in enumerate(model.classifiers):
        name, modality = each["name"], each["modality"]
        write(f"{modality}/{number:03d}", name, modality, matrices.read("classifiers", name))
    for number, each in enumerate(model.members):
        part = FOLDERS[each["folder"].split("/")[0]]
        write(f"{part}/{number:03d}", each["name"], "fusion", matrices.read("members", each["name"]))


def _scalars(found: Answered | None) -> dict[str, float]:
    if found is None:
        return {"products": 0.0}
    return {
        **{name: float(count) for name, count in found.counts.items()},
        "mean_probability": float(found.sure.mean()),
        "classes_predicted": float(len(set(found.predictions.codes))),
    }
