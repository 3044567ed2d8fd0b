"""The predictions in detail: how sure the model is, what else it thinks of, and what it asks a person."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.core.artifacts import whole_file
from components.data.codes import revived
from components.data.prediction_files import safe_cells
from components.data.stacks import Stack
from components.data.top_classes import PredProbs, leading
from components.lifecycle import levels
from components.lifecycle.model import Model
from components.lifecycle.predictions import Predictions
from components.modeling.acceptance import entropy
from components.modeling.label_noise import DIGITS, rounded
from components.preprocess.profile.profile import language_of

NO_IMAGE, UNKNOWN_LANGUAGE, UNLIKE = "no image", "language not trained on", "unlike any class"
ACCEPT, REVIEW = "accept", "review"
LEAST_CHECKED = 20  # products
GUESSES = ("", "second_", "third_")
COLUMNS = (
    "product_id",
    *(f"{guess}{name}" for guess in GUESSES for name in ("code", "class_name", "probability")),
    *("text", "image", "agree", "flag", "decision"),
)


def columns_of(model: Model) -> tuple[str, ...]:
    """The columns of a model's predictions in detail, the decision last."""
    answer = levels.COLUMNS if levels.answers_by_level(model) else ()
    return (*COLUMNS[:-1], *answer, COLUMNS[-1])


def detail_of(model: Model, table: pd.DataFrame, predictions: Predictions) -> pd.DataFrame:
    """A row a product of a cleaned table: three guesses, the modalities' own answers, flag and decision.

    A model that answers at the deepest level of a tree of classes adds that, under the same conditions.

    `accept` stands where the probability reaches the model's threshold and nothing speaks against it; a
    missing picture does where no product was trained on without one.
    """
    columns = {"product_id": predictions.ids, **_guesses(model, predictions.pred_probs)}
    own = {name: _own_answers(model, predictions, name) for name in ("text", "image")}
    alike = np.where(own["text"] == own["image"], "yes", "no")
    agree = np.where((own["text"] == "") | (own["image"] == ""), "", alike)
    sure, threshold = rounded(predictions.pred_probs), model.threshold
    flags = _flags(model, table, predictions)
    columns |= {**own, "agree": agree, "flag": [", ".join(each) for each in flags]}
    harmless = {NO_IMAGE} if model.profile["missing"]["picture"] else set()
    fine = np.array([harmless.issuperset(each) for each in flags], bool)
    enough = np.zeros(len(table), bool)
    if threshold.get("probability") is not None:
        enough = sure >= threshold["probability"]
    columns |= levels.level_answers(model, predictions.pred_probs, fine)
    columns["decision"] = np.where(fine & enough, ACCEPT, REVIEW)
    return pd.DataFrame(columns, columns=columns_of(model), dtype=object)


def checked_products(model: Model, ids: Sequence[str]) -> frozenset[str]:
    """Of accepted products without a flag those that go to review, to learn whether the promise holds.

    At random, but the same ones however a catalog is cut into parts: those with the least hash. In a file of
    predictions they are those whose decision is `review` though the probability reaches the threshold and
    there is no flag: nothing else marks them.
    """
    share = model.threshold.get("checked_share", 0.0)
    count = max(round(share * len(ids)), LEAST_CHECKED) if share else 0
    drawn = sorted(ids, key=lambda each: sha256(f"{model.version}\0{each}".encode()).digest())
    return frozenset(drawn[:count])


def is_checked(row: Mapping[str, str], threshold: float | None) -> bool:
    """Whether a row of a file was accepted but sent to review; see `checked_products`."""
    asked = row.get("decision") == REVIEW and not row.get("flag")
    return asked and threshold is not None and float(row["probability"]) >= threshold


@contextmanager
def detail_rows(path: Path, model: Model) -> Iterator["DetailRows"]:
    """Writes a file of predictions in detail, whole or not at all; `send_some_to_review` comes after it."""
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        yield DetailRows(file, model)


class DetailRows:
    """A file of predictions in detail that grows."""

    def __init__(self, file: Any, model: Model) -> None:
        self._model = model
        self._writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        self._writer.writerow(columns_of(model))

    def write(self, table: pd.DataFrame, predictions: Predictions) -> pd.DataFrame:
        """Appends the products of a cleaned table, and returns their rows."""
        detail = detail_of(self._model, table, predictions)
        self._writer.writerows(map(safe_cells, detail.itertuples(index=False)))
        return detail


def send_some_to_review(path: Path, model: Model) -> None:
    """Gives the products of `checked_products` the decision `review` in a file of predictions in detail."""
    with path.open(encoding="utf-8", newline="") as file:
        ids = [row["product_id"] for row in csv.DictReader(file, delimiter="\t") if _accepted_plainly(row)]
    checked = checked_products(model, [revived(each) for each in ids])
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file, delimiter="\t")
        header = next(rows)
        decided = ([*row[:-1], REVIEW if revived(row[0]) in checked else row[-1]] for row in rows)
        _write_as_they_are(path, header, decided)


def _accepted_plainly(row: Mapping[str, str]) -> bool:
    return row["decision"] == ACCEPT and not row["flag"]


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Writes a TSV whose cells no spreadsheet runs, whole or not at all."""
    _write_as_they_are(path, header, map(safe_cells, rows))


def _write_as_they_are(path: Path, header: Sequence[str], rows: Iterable[Iterable[str]]) -> None:
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _guesses(model: Model, pred_probs: PredProbs) -> dict[str, Any]:
    """Code, class name and probability of the three most probable classes, as far as there are three."""
    classes, names = np.array(model.classes, dtype=object), model.document["class_names"]
    order, probabilities = leading(pred_probs, len(GUESSES))
    columns: dict[str, Any] = {}
    for place, guess in enumerate(GUESSES):
        codes = classes[order[:, place]] if place < len(classes) else [""] * len(order)
        values = probabilities[:, place] if place < len(classes) else []
        columns[f"{guess}code"] = codes
        columns[f"{guess}class_name"] = [names.get(code, "") for code in codes]
        columns[f"{guess}probability"] = [f"{value:.{DIGITS}f}" for value in values] or [""] * len(order)
    return columns


def _own_answers(model: Model, predictions: Predictions, modality: str) -> np.ndarray:
    """The class that the classifiers of a modality name together; "" without them, or without an image."""
    names = [each["name"] for each in model.classifiers if each["modality"] == modality]
    if not names:
        return np.full(len(predictions.ids), "", dtype=object)
    stack = Stack.of([predictions.classifiers[name] for name in names])
    mean = stack.matrix(stack.values.mean(axis=0))
    own = np.array(model.classes, dtype=object)[mean.argmax(axis=1)]
    return np.where(predictions.without_image, "", own) if modality == "image" else own


def _flags(model: Model, table: pd.DataFrame, predictions: Predictions) -> list[list[str]]:
    languages, limit = set(model.profile["languages"]), model.threshold.get("unlike_above", np.inf)
    far = entropy(predictions.pred_probs) > limit
    rows = zip(table["title"], table["description"], predictions.without_image, far, strict=True)
    flags = []
    for title, description, blind, strange in rows:
        unknown = language_of(title, description) not in languages
        found = ((NO_IMAGE, blind), (UNKNOWN_LANGUAGE, unknown), (UNLIKE, strange))
        flags.append([name for name, there in found if there])
    return flags
