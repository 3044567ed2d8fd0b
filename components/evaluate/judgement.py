"""Judges every voter of a run on a labelled split, and picks the rows of the paper's Table 1."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.catalog import Products
from components.errors import InputError
from components.evaluate.scores import Bootstrap, Calibration, Score, calibration, score
from components.metrics import ROWS
from components.probabilities import Voter, read_voter, read_voters

# How each row of Table 1 stays honest on the validation split.
SINGLE = "Fitted on the train split alone; validation chose its epoch and, of several models, the best one."
OUT_OF_FOLD = "Out-of-fold: every product is judged by classifiers that were not fitted on it."
HONESTY = {
    "image": SINGLE,
    "text": SINGLE,
    "feature_level": "Fitted on the train split alone; of several, the best on validation.",
    "decision_level": f"{OUT_OF_FOLD} Of several, the best on validation.",
    "ensemble": "A vote of the members' out-of-fold judgements.",
}


@dataclass(frozen=True, eq=False)
class Judgement:
    """One voter's judgement of a split.

    Attributes:
        row: which row of Table 1 it competes for.
        pred_probs: (N, C) in the order of the split's rows.
        score: against the labels.
    """

    row: str
    voter: Voter
    pred_probs: np.ndarray
    predicted: np.ndarray
    score: Score
    calibration: Calibration


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All voters on the labelled products of one split.

    Attributes:
        split: validation or test.
        rows: (N,) row numbers of the product table.
        labels: (N,).
        voters: every voter's judgement.
        best: row of Table 1 -> the voter that stands for it.
    """

    split: str
    rows: np.ndarray
    labels: np.ndarray
    voters: list[Judgement]
    best: dict[str, Judgement]


def read_all_voters(
    text: Sequence[Path],
    image: Sequence[Path],
    members: Path,
    feature_level: Path,
    ensemble: Path,
    *,
    classes: Sequence[str],
) -> list[tuple[str, Voter]]:
    """Reads a run's voters as (row of Table 1, voter), in the table's order.

    Raises:
        InputError: there is neither a text nor an image voter, or a voter's files break their rules.
    """
    if not [*text, *image]:
        raise InputError("no text or image voter to evaluate: give the probabilities of at least one")
    return [
        *(("image", read_voter(path, classes=classes)) for path in image),
        *(("text", read_voter(path, classes=classes)) for path in text),
        *(("feature_level", voter) for voter in read_voters(feature_level, classes=classes)),
        *(("decision_level", voter) for voter in read_voters(members, classes=classes)),
        ("ensemble", read_voter(ensemble, classes=classes)),
    ]


def evaluate_split(
    products: Products, voters: Iterable[tuple[str, Voter]], split: str, *, seed: int
) -> Evaluation | None:
    """Judges all voters on a split's labelled products; None where it has none.

    `best` is the best of each row on *this* split: see `with_best_of` for another's choice.
    """
    rows = products.rows(split)
    rows = rows[products.labels[rows] >= 0]
    if len(rows) == 0:
        return None
    labels, groups = products.labels[rows], products.table["group"].to_numpy()[rows]
    bootstrap = Bootstrap(labels, groups, len(products.classes), seed=seed)
    judged = []
    for row, voter in voters:
        pred_probs = voter.chosen(split, products.ids[rows])
        predicted = pred_probs.argmax(axis=1)
        judged.append(
            Judgement(
                row,
                voter,
                pred_probs,
                predicted,
                score(labels, predicted, bootstrap),
                calibration(labels, pred_probs),
            )
        )
    best = {}
    for row in ROWS:
        of_row = [judgement for judgement in judged if judgement.row == row]
        if of_row:
            best[row] = max(of_row, key=lambda judgement: judgement.score.macro_f1)
    return Evaluation(split, rows, labels, judged, best)


def with_best_of(evaluation: Evaluation, other: Evaluation) -> Evaluation:
    """The same judgements, each row of Table 1 standing for the voter that `other` chose."""
    position = {row: other.voters.index(judgement) for row, judgement in other.best.items()}
    best = {row: evaluation.voters[index] for row, index in position.items()}
    return Evaluation(evaluation.split, evaluation.rows, evaluation.labels, evaluation.voters, best)
