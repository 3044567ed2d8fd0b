"""Champion and challenger on the same products, each scored by classifiers that did not see them.

Fusion, vote and calibration are fitted on validation by design, and what a model predicts with was fitted on
validation too. So a product of the challenger's validation split is scored

- for the challenger by its own out-of-fold probabilities;
- for the champion by its stored out-of-fold probabilities, where it was validation for the champion too and
  neither text nor image changed; by its classifiers of train alone and the members of the held-out fold,
  where one did, or where the id did; by the same classifiers and all members, where the product is new.

What the champion trained on, or a duplicate of it, is left out and counted. So is a product that changed,
where the champion's vote chose members or weights on all of validation: they have seen its earlier form.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file

from components.core.configuration import restored_config
from components.core.errors import InputError
from components.core.reading import read_json, reading
from components.data.top_classes import PredProbs, matrix_of
from components.ensemble.config import EnsembleConfig
from components.ensemble.package import MODEL, PRODUCTS, VALIDATION

STORED = "the champion's stored out-of-fold probabilities"
HELD_OUT = "the champion's train-only classifiers and the members of the held-out fold"
TRAIN_ONLY = "the champion's train-only classifiers"
TRAINED_ON = "the champion trained on it"
DUPLICATE = "the champion trained on a product of its group"
TWO_FOLDS = "changed, and its group lies in several folds of the champion"
VOTE_SAW = "changed, and the champion's vote was fitted on its earlier form"
SCORED, LEFT_OUT = (STORED, HELD_OUT, TRAIN_ONLY), (TRAINED_ON, DUPLICATE, TWO_FOLDS, VOTE_SAW)

# Product ids (N,), the fold of validation that held each out or -1 -> (N, C) in the champion's classes.
Score = Callable[[np.ndarray, np.ndarray], PredProbs]


@dataclass(frozen=True)
class Side:
    """What a package tells of its labeled products.

    Attributes:
        products: product_id, code, split, group, fold, content; one row each.
        classes: the columns of `pred_probs`.
        pred_probs: (n, C) out of fold, of the validation products in the order of `products`.
        vote_learns: whether the vote chose members or weights on the validation products.
    """

    products: pd.DataFrame
    classes: tuple[str, ...]
    pred_probs: Any
    vote_learns: bool = False

    @property
    def validation(self) -> pd.DataFrame:
        """The products of the validation split."""
        chosen = (self.products["split"] == "validation").to_numpy()
        return self.products.iloc[np.flatnonzero(chosen)]


@dataclass(frozen=True)
class Pairs:
    """Products on which both sides are scored.

    Attributes:
        ids: (N,) product ids.
        labels, champion, challenger: (N,) positions in `classes`: the challenger's code, and the predictions.
        groups: (N,) of duplicates.
        classes: of both sides.
        scored: by what the champion was scored -> products.
        left_out: why -> products.
    """

    ids: np.ndarray
    labels: np.ndarray
    champion: np.ndarray
    challenger: np.ndarray
    groups: np.ndarray
    classes: tuple[str, ...]
    scored: dict[str, int]
    left_out: dict[str, int]


def read_side(package: Path) -> Side:
    """Reads what a package whose files have been checked tells of its products.

    Raises:
        InputError: a part is missing, or the parts do not fit.
    """
    document = read_json(package / MODEL, "a model's description")
    classes = tuple(document["classes"])
    settings = document.get("vote", {}).get("config", {})
    vote = restored_config(EnsembleConfig, settings, where=str(package / MODEL))
    table, probabilities = package / PRODUCTS, package / VALIDATION
    with reading(table, "a table of labeled products"):
        products = pd.read_parquet(table)
    with reading(probabilities, "out-of-fold probabilities"):
        pred_probs = matrix_of(load_file(probabilities), len(classes))
    side = Side(products, classes, pred_probs, vote.learns)
    expected = (len(side.validation), len(classes))
    if pred_probs.shape != expected:
        raise InputError(f"{probabilities}: shape {pred_probs.shape}, expected {expected} from {table.name}")
    return side


def compare(champion: Side, challenger: Side, score: Score) -> Pairs:
    """Scores both sides on the challenger's validation products, as this module's head says.

    Args:
        score: how the champion scores what it has no stored probabilities of.

    Raises:
        InputError: they have no class in common.
    """
    if set(champion.classes).isdisjoint(challenger.classes):
        raise InputError(_strangers(champion.classes, challenger.classes))
    rows, seen = challenger.validation, _Seen(champion, challenger)
    found = [seen.how(*row) for row in zip(rows["product_id"], rows["group"], rows["content"], strict=True)]
    how, folds = np.array([way for way, _ in found], dtype=object), np.array([fold for _, fold in found], int)
    kept = np.flatnonzero(np.isin(how, SCORED))
    classes = tuple(sorted({*champion.classes, *challenger.classes}))
    position = {code: number for number, code in enumerate(classes)}
    ids = rows["product_id"].to_numpy(dtype=object)[kept]
    predicted = _champion_predicts(champion, ids, how[kept] == STORED, folds[kept], score)
    counts = Counter(how.tolist())
    return Pairs(
        ids=ids,
        labels=np.array([position[code] for code in rows["code"]], np.int64)[kept],
        champion=_positions(champion, position)[predicted],
        challenger=_positions(challenger, position)[challenger.pred_probs[kept].argmax(axis=1)],
        groups=rows["group"].to_numpy(dtype=np.int64)[kept],
        classes=classes,
        scored={way: counts[way] for way in SCORED if way in counts},
        left_out={why: counts[why] for why in LEFT_OUT if why in counts},
    )


class _Seen:
    """Which products the champion has seen, and how."""

    def __init__(self, champion: Side, challenger: Side) -> None:
        known = champion.products
        self._vote_learns = champion.vote_learns
        columns = ("product_id", "split", "content", "fold")
        rows = list(zip(*(known[name] for name in columns), strict=True))
        self._trained = {each for each, split, _, _ in rows if split == "train"}
        self._trained_contents = {content for _, split, content, _ in rows if split == "train"}
        self._validated = {each: content for each, split, content, _ in rows if split == "validation"}
        self._folds: dict[tuple[str, str], set[int]] = {}
        for each, split, content, fold in rows:
            if split == "validation":
                for key in (("id", each), ("content", content)):
                    self._folds.setdefault(key, set()).add(-1 if pd.isna(fold) else int(fold))
        self._groups: dict[int, list[tuple[str, str]]] = {}
        named = (challenger.products[name] for name in ("product_id", "content", "group"))
        for product, content, group in zip(*named, strict=True):
            self._groups.setdefault(group, []).append((product, content))

    def how(self, product: str, group: int, content: str) -> tuple[str, int]:
        """By what the champion scores a product, or why it is left out; and the fold to hold out, or -1."""
        members = self._groups[group]
        # A product that only its id tells from one of the champion's was seen as well.
        keys = [key for each, text in members for key in (("id", each), ("content", text))]
        folds = set().union(*(self._folds.get(key, ()) for key in keys))
        fold = min(folds, default=-1)
        if product in self._trained:
            return TRAINED_ON, fold
        if any(each in self._trained or text in self._trained_contents for each, text in members):
            return DUPLICATE, fold
        if self._validated.get(product) == content:
            return STORED, fold
        if len(folds) > 1:
            return TWO_FOLDS, fold
        if folds and self._vote_learns:
            return VOTE_SAW, fold
        return (HELD_OUT if folds else TRAIN_ONLY), fold


def _champion_predicts(
    champion: Side, ids: np.ndarray, stored: np.ndarray, folds: np.ndarray, score: Score
) -> np.ndarray:
    """The champion's answers, (N,) positions in its own classes."""
    at = {product: row for row, product in enumerate(champion.validation["product_id"])}
    predicted = np.zeros(len(ids), np.int64)
    answers = champion.pred_probs.argmax(axis=1)
    predicted[stored] = answers[[at[product] for product in ids[stored]]]
    if not stored.all():
        predicted[~stored] = score(ids[~stored], folds[~stored]).argmax(axis=1)
    return predicted


def _strangers(*sides: tuple[str, ...]) -> str:
    few = [", ".join((*classes[:3], *["..."] * (len(classes) > 3))) for classes in sides]
    return (
        f"the champion's classes ({few[0]}) and the challenger's ({few[1]}) have none in common, so no "
        "product compares them: give each catalog a models_name of its own; where the codes were renamed, "
        "promote the stored version with `pipeline.py models promote`"
    )


def _positions(side: Side, position: dict[str, int]) -> np.ndarray:
    return np.array([position[code] for code in side.classes], np.int64)
