"""The predictions in detail: how sure the model is, what each classifier says alone, what to beware of."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.core.artifacts import whole_file
from components.data.prediction_files import safe_cells
from components.lifecycle.model import Model, Predictions
from components.preprocess.profile.profile import language_of

NO_IMAGE, UNKNOWN_LANGUAGE = "no image", "language not trained on"


class DetailRows:
    """A file of predictions in detail that grows: a row a product, a column a text or image classifier."""

    def __init__(self, file: Any, model: Model) -> None:
        self._classes = np.array(model.classes, dtype=object)
        self._languages = set(model.profile["languages"])
        self._names = [entry["name"] for entry in model.classifiers]
        self._writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        self._writer.writerow(["product_id", "code", "class_name", "probability", *self._names, "beware"])

    def write(self, table: pd.DataFrame, predictions: Predictions) -> None:
        """Appends the products of a cleaned table."""
        own = [self._classes[predictions.classifiers[name].argmax(axis=1)] for name in self._names]
        sure = [f"{probability:.4f}" for probability in predictions.pred_probs.max(axis=1)]
        beware = self._flags(table, predictions.without_image)
        columns = (predictions.ids, predictions.codes, predictions.names, sure, *own, beware)
        self._writer.writerows(map(safe_cells, zip(*columns, strict=True)))

    def _flags(self, table: pd.DataFrame, without_image: Sequence[bool] | np.ndarray) -> Iterator[str]:
        texts = zip(table["title"], table["description"], without_image, strict=True)
        for title, description, blind in texts:
            unknown = language_of(title, description) not in self._languages
            flags = [NO_IMAGE] * bool(blind) + [UNKNOWN_LANGUAGE] * unknown
            yield ", ".join(flags)


@contextmanager
def detail_rows(path: Path, model: Model) -> Iterator[DetailRows]:
    """Writes a file of predictions in detail, whole or not at all."""
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        yield DetailRows(file, model)


def merged(parts: Sequence[Predictions]) -> Predictions:
    """Predictions of one table that was predicted part by part."""

    def together(name: str) -> dict[str, np.ndarray]:
        each: list[Mapping[str, np.ndarray]] = [getattr(part, name) for part in parts]
        return {key: np.concatenate([one[key] for one in each]) for key in each[0]}

    flat = ("ids", "codes", "names", "pred_probs", "without_image")
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in flat}
    return Predictions(**arrays, classifiers=together("classifiers"), members=together("members"))
