"""The review queue: the products that a person is asked about, in the order of what a look is worth."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from components.lifecycle.detail import (
    ACCEPT,
    NO_IMAGE,
    REVIEW,
    UNLIKE,
    checked_products,
    write_rows,
)
from components.lifecycle.model import Model
from components.lifecycle.predictions import Predictions


@dataclass(frozen=True, eq=False)
class Answered:
    """What a model says of some products, and which a person is asked about.

    Attributes:
        detail: see `detail_of`; what is only checked has the decision `review`.
        queue: row numbers of the products to review, see `review_queue`.
        checked: (N,) bool, accepted but to be reviewed all the same.
    """

    predictions: Predictions
    detail: pd.DataFrame
    queue: np.ndarray
    checked: np.ndarray

    @property
    def sure(self) -> np.ndarray:
        """(N,) the probability of each predicted class."""
        return self.detail["probability"].astype(float).to_numpy()

    @property
    def accepted(self) -> np.ndarray:
        """(N,) bool, what needs no look, those that are checked at random among them."""
        return (self.detail["decision"] == ACCEPT).to_numpy() | self.checked

    def flagged(self, flag: str) -> np.ndarray:
        """(N,) bool, what has a flag."""
        return self.detail["flag"].str.contains(flag, regex=False).to_numpy(dtype=bool)

    @property
    def counts(self) -> dict[str, int]:
        """Products by what becomes of them."""
        found = {"accepted": self.accepted, "checked": self.checked}
        found |= {"unlike_any_class": self.flagged(UNLIKE), "without_image": self.flagged(NO_IMAGE)}
        counts = {name: int(np.count_nonzero(each)) for name, each in found.items()}
        return {"products": len(self.detail), "to_review": len(self.queue), **counts}


def answered(model: Model, table: pd.DataFrame, predictions: Predictions, detail: pd.DataFrame) -> Answered:
    """Sends what the model does not accept, and some of what it does, to review.

    Args:
        table: with `group`, the number of a product's duplicates.
        detail: as `detail_of` has it.
    """
    plainly = ((detail["decision"] == ACCEPT) & (detail["flag"] == "")).to_numpy()
    ids = predictions.ids
    checked = np.isin(ids.astype(str), list(checked_products(model, ids[plainly].tolist())))
    detail = detail.assign(decision=np.where(checked, REVIEW, detail["decision"]))
    queue = review_queue(detail, table["group"].to_numpy(), checked)
    return Answered(predictions, detail, queue, checked)


def review_queue(detail: pd.DataFrame, groups: np.ndarray, checked: np.ndarray) -> np.ndarray:
    """Row numbers of the products to review, the look that is worth most first.

    A look is worth the chance that it changes the code, times the duplicates that it settles, which follow
    each other. Products that are only checked lie anywhere among the others.

    Args:
        groups: (N,) of duplicates.
        checked: (N,) bool, see `checked_products`.
    """
    asked = (detail["decision"] == REVIEW).to_numpy() & ~checked
    doubt = 1 - detail["probability"].astype(float).to_numpy()
    worth = pd.Series(np.where(asked, doubt, 0)).groupby(groups).transform("sum").to_numpy()
    rows = np.flatnonzero(asked)
    order = rows[np.lexsort((-doubt[rows], groups[rows], -worth[rows]))]
    random = np.random.default_rng(len(detail))
    places = np.sort(random.integers(0, len(order) + 1, size=int(checked.sum())))
    return np.insert(order, places, random.permutation(np.flatnonzero(checked)))


def write_queue(path: Path, table: pd.DataFrame, detail: pd.DataFrame, order: np.ndarray) -> None:
    """Writes the queue as TSV: the predictions in detail, with titles, and with a column to decide in.

    Filled in, it is what `catalog_corrections` takes: no product has a label yet.
    """
    shown = detail.iloc[order].assign(decision="", given_code="")
    shown.insert(1, "title", table["title"].to_numpy()[order])
    write_rows(path, list(shown), shown.itertuples(index=False))
