"""A model package asked over HTTP: products of a request in, classes and probabilities out."""

import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from components.data.image_store import ImageStore
from components.data.top_classes import leading
from components.lifecycle.detail import detail_of
from components.lifecycle.levels import ANSWER, ANSWER_LEVEL, ANSWER_PROBABILITY
from components.lifecycle.model import Model
from components.lifecycle.products import cleaned
from components.serving.images import AllowedStores, pack
from components.serving.products import Product

TOP = 3


@dataclass(frozen=True)
class Answers:
    """What a model says of a request's products.

    Attributes:
        codes: (N, T) the most probable classes, the predicted one first; T is 3, or all where there are
            fewer.
        names: (N, T) what these are called, "" where the catalog did not say.
        probabilities: (N, T) float32.
        without_image: (N,) bool.
        flags: (N,) what to beware of, "" for nothing.
        decisions: (N,) "accept" or "review", as the model's threshold has it.
        deepest: by name, (N,) the answer at the deepest level of the tree of classes, "" for none, its level
            and probability, 0 for none; empty where the model gives none.
    """

    codes: np.ndarray
    names: np.ndarray
    probabilities: np.ndarray
    without_image: np.ndarray
    flags: np.ndarray
    decisions: np.ndarray
    deepest: dict[str, np.ndarray]

    def documents(self) -> list[dict]:
        """One JSON object a product."""
        return [self._document(row) for row in range(len(self.codes))]

    def _document(self, row: int) -> dict:
        top = [
            {"code": str(code), "name": str(name), "probability": float(probability)}
            for code, name, probability in zip(
                self.codes[row], self.names[row], self.probabilities[row], strict=True
            )
        ]
        beside = {"flag": self.flags[row], "decision": self.decisions[row]}
        beside |= {name: values[row : row + 1].tolist()[0] for name, values in self.deepest.items()}
        return {**top[0], "top": top, "without_image": bool(self.without_image[row]), **beside}


class Answering:
    """Answers requests with one model, one after the other: a prediction uses all threads by itself.

    Args:
        stores: where images may be fetched from.
    """

    def __init__(self, model: Model, stores: AllowedStores) -> None:
        self.model = model
        self._stores = stores
        self._one_at_a_time = threading.Lock()
        self._scratch = tempfile.TemporaryDirectory()
        self._no_images, _ = pack([], stores, Path(self._scratch.name), max_pixels=0)
        self.answer([Product("loads every part", "", None, "")])

    def answer(self, products: Sequence[Product]) -> Answers:
        """Predicts products as the command `predict` does.

        Raises:
            InputError: an image cannot be fetched or used.
        """
        if not any(each.image or each.image_url for each in products):
            return self._predict(products, self._no_images, [None] * len(products))
        most = self.model.preprocess.max_image_pixels
        with tempfile.TemporaryDirectory() as scratch:
            images, keys = pack(products, self._stores, Path(scratch), max_pixels=most)
            return self._predict(products, images, keys)

    def _predict(
        self, products: Sequence[Product], images: ImageStore, keys: Sequence[str | None]
    ) -> Answers:
        titles, descriptions = zip(*((each.title, each.description) for each in products), strict=True)
        table = cleaned(pd.DataFrame({"title": titles, "description": descriptions, "image": keys}))
        with self._one_at_a_time:
            found = self.model.predict_cleaned(table, images)
        # The predicted class is the first of equally probable ones, as argmax has it.
        order, probabilities = leading(found.pred_probs, TOP)
        codes = np.array(self.model.classes, dtype=object)[order]
        names, detail = self.model.document["class_names"], detail_of(self.model, table, found)
        return Answers(
            codes=codes,
            names=np.vectorize(lambda code: names.get(code, ""), otypes=[object])(codes),
            probabilities=probabilities,
            without_image=found.without_image,
            flags=detail["flag"].to_numpy(dtype=object),
            decisions=detail["decision"].to_numpy(dtype=object),
            deepest=_deepest(detail),
        )


def _deepest(detail: pd.DataFrame) -> dict[str, np.ndarray]:
    if ANSWER not in detail:
        return {}
    numbers = {ANSWER_LEVEL: np.int32, ANSWER_PROBABILITY: np.float32}
    read = {name: detail[name].replace("", "0").to_numpy().astype(kind) for name, kind in numbers.items()}
    return {ANSWER: detail[ANSWER].to_numpy(dtype=object), **read}
