"""Two models as the gate sees them: labeled products, and probabilities as often right as is asked."""

import numpy as np
import pandas as pd

from components.lifecycle.comparison import Pairs, Side

CLASSES = tuple("abcdef")


def answers(
    labels: np.ndarray, right: float | np.ndarray, seed: int, classes: int = len(CLASSES)
) -> np.ndarray:
    """Classes (N,) of which so many are the labels: a share, or one for each class."""
    random = np.random.default_rng(seed)
    share = np.broadcast_to(right, classes)[labels]
    wrong = (labels + random.integers(1, classes, len(labels))) % classes
    return np.where(random.random(len(labels)) < share, labels, wrong)


def probabilities(predicted: np.ndarray, classes: int) -> np.ndarray:
    """(N, C) float32 whose most probable class is the predicted one."""
    found = np.full((len(predicted), classes), 0.4 / (classes - 1), np.float32)
    found[np.arange(len(predicted)), predicted] = 0.6
    return found


def make_pairs(labels: np.ndarray, champion: np.ndarray, challenger: np.ndarray) -> Pairs:
    """Pairs whose every product is a group of its own."""
    ids = np.arange(len(labels)).astype(str).astype(object)
    return Pairs(ids, labels, champion, challenger, np.arange(len(labels)), CLASSES, {}, {})


def make_side(rows: list[tuple], classes: tuple[str, ...] = ("a", "b")) -> Side:
    """A side of rows (id, code, split, group, fold or None, content), whose every code is predicted right."""
    names = ["product_id", "code", "split", "group", "fold", "content"]
    products = pd.DataFrame(rows, columns=names).astype({"fold": "Int64"})
    codes = products.loc[products["split"] == "validation", "code"]
    predicted = np.array([classes.index(code) if code in classes else 0 for code in codes], np.int64)
    return Side(products, classes, probabilities(predicted, len(classes)))
