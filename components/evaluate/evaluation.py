"""Predicts every classifier of a run on a labeled split, and picks the rows of the paper's Table 1."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from components.core.errors import InputError
from components.data.probabilities import Classifier, read_classifier, read_classifiers
from components.data.products import Products
from components.evaluate.scores import Bootstrap, Calibration, Score, calibration, score
from components.modeling.metrics import ROWS

# How each row of Table 1 stays honest on the validation split.
SINGLE = "Fitted on the train split alone; validation chose its epoch and, of several models, the best one."
OUT_OF_FOLD = "Out-of-fold: every product is predicted by classifiers that were not fitted on it."
HONESTY = {
    "image": SINGLE,
    "text": SINGLE,
    "feature_level": "Fitted on the train split alone; of several, the best on validation.",
    "decision_level": f"{OUT_OF_FOLD} Of several, the best on validation.",
    "ensemble": "A vote of the members' out-of-fold predictions.",
}


@dataclass(frozen=True, eq=False)
class Scored:
    """One classifier's predictions of a split, scored.

    Attributes:
        row: which row of Table 1 it competes for.
        pred_probs: (N, C) in the order of the split's rows.
        score: against the labels.
    """

    row: str
    classifier: Classifier
    pred_probs: np.ndarray
    predicted: np.ndarray
    score: Score
    calibration: Calibration


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All classifiers on the labeled products of one split.

    Attributes:
        split: validation or test.
        rows: (N,) row numbers of the product table.
        labels: (N,).
        classifiers: every classifier, scored.
        best: row of Table 1 -> the classifier that stands for it.
    """

    split: str
    rows: np.ndarray
    labels: np.ndarray
    classifiers: list[Scored]
    best: dict[str, Scored]

    @property
    def singles(self) -> dict[str, Scored]:
        """The best text and the best image model, as far as the run has them."""
        return {row: self.best[row] for row in ("text", "image") if row in self.best}


def read_all_classifiers(
    text: Sequence[Path],
    image: Sequence[Path],
    members: Path,
    feature_level: Path,
    ensemble: Path,
    *,
    classes: Sequence[str],
) -> list[tuple[str, Classifier]]:
    """Reads a run's classifiers as (row of Table 1, classifier), in the table's order.

    Raises:
        InputError: there is neither a text nor an image classifier, or one's files break their rules.
    """
    if not [*text, *image]:
        raise InputError("no text or image classifier to evaluate: give the probabilities of at least one")
    return [
        *(("image", read_classifier(path, classes=classes)) for path in image),
        *(("text", read_classifier(path, classes=classes)) for path in text),
        *(("feature_level", classifier) for classifier in read_classifiers(feature_level, classes=classes)),
        *(("decision_level", classifier) for classifier in read_classifiers(members, classes=classes)),
        ("ensemble", read_classifier(ensemble, classes=classes)),
    ]


def evaluate_split(
    products: Products, classifiers: Iterable[tuple[str, Classifier]], split: str, *, seed: int
) -> Evaluation | None:
    """Predicts all classifiers on a split's labeled products; None where it has none.

    `best` is the best of each row on *this* split: see `with_best_of` for another's choice.
    """
    rows = products.rows(split)
    rows = rows[products.labels[rows] >= 0]
    if len(rows) == 0:
        return None
    labels, groups = products.labels[rows], products.table["group"].to_numpy()[rows]
    bootstrap = Bootstrap(labels, groups, len(products.classes), seed=seed)
    scored = []
    for row, classifier in classifiers:
        pred_probs = classifier.chosen(split, products.ids[rows])
        predicted = pred_probs.argmax(axis=1)
        scores = score(labels, predicted, bootstrap), calibration(labels, pred_probs)
        scored.append(Scored(row, classifier, pred_probs, predicted, *scores))
    best: dict[str, Scored] = {}
    for row in ROWS:
        if of_row := [each for each in scored if each.row == row]:
            best[row] = max(of_row, key=lambda each: each.score.macro_f1)
    return Evaluation(split, rows, labels, scored, best)


def with_best_of(evaluation: Evaluation | None, other: Evaluation) -> Evaluation | None:
    """The same, if any, each row of Table 1 standing for the classifier that `other` chose."""
    if evaluation is None:
        return None
    position = {row: other.classifiers.index(scored) for row, scored in other.best.items()}
    best = {row: evaluation.classifiers[index] for row, index in position.items()}
    return replace(evaluation, best=best)
