"""Fusion of probability matrices from elsewhere: no catalog, no pipeline."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from components.core.artifacts import write_json
from components.core.errors import InputError
from components.data.codes import clean_code
from components.data.labels import Labels, read_labels
from components.data.probabilities import Probabilities, read_matrix, write_matrix
from components.data.tables.delimited import Quotes
from components.data.top_classes import PredProbs
from components.fusion.classifiers import stacked
from components.fusion.config import FUSION_KINDS, DecisionLevelConfig
from components.fusion.decision_level.members import FusionData, Member, fuse_members
from components.modeling.cross_fitting import stratified_folds
from components.modeling.metrics import f1_per_class, macro_f1


def fuse(
    text: list[Path],
    image: list[Path],
    labels: Path,
    *,
    kind: str,
    folds: int,
    seed: int,
    output: Path,
    encoding: str = "",
    quotes: Quotes = "",
) -> dict[str, dict[str, float]]:
    """Fuses matrices of text and image classifiers, each row by what was fitted without it.

    All matrices are read by one classifier. Rows are those of the labels' table, joined by id; a matrix
    may hold more.

    Args:
        text: `.npz` files with `ids`, `classes`, `pred_probs`, or `.parquet` files of many classes.
        image: the same; either list may be empty, not both.
        labels: a table of id and code; see `read_labels`.
        kind: one of the decision level.
        encoding, quotes: how the labels' table is read; see `read_table`.
        output: folder to write: `oof.npz`, the out-of-fold probabilities, and `metrics.json`.

    Returns:
        Every input and the fusion -> its "macro_f1" and "accuracy": the table to print.

    Raises:
        InputError: a file that is not what it should be, an id without a row, a label that is not among
            the classes, too few rows for the folds; naming file and line.
    """
    config = FUSION_KINDS.parse({"name": kind, "kind": kind})
    if not isinstance(config, DecisionLevelConfig):
        raise InputError(f"fuse: kind {kind} reads features, not probabilities")
    paths = [*text, *image]
    if not paths:
        raise InputError("fuse: no matrix; give at least one of text or image")
    first = read_matrix(paths[0], name=paths[0].stem)
    known = read_labels(labels, known_ids=set(first.ids), encoding=encoding, quotes=quotes)
    pred_probs, classes = _read_matrices(paths, first, known.ids)
    truth = _to_labels(known, classes, where=labels)
    fold_of = stratified_folds(truth, folds=folds, seed=seed)
    member = Member(kind, tuple(range(len(paths))), config)
    data = FusionData(stacked(pred_probs), truth, fold_of, stacked([one[:0] for one in pred_probs]), seed)
    fused = fuse_members([member], data)[kind]
    write_matrix(output / "oof.npz", Probabilities(known.ids, classes, fused.out_of_fold))
    names = [f"{modality}: {path}" for modality, some in (("text", text), ("image", image)) for path in some]
    matrices = zip([*names, f"fusion: {kind}"], [*pred_probs, fused.out_of_fold], strict=True)
    table = {name: _score(truth, matrix) for name, matrix in matrices}
    metrics = {"kind": kind, "folds": folds, "seed": seed, "rows": len(truth), **table[f"fusion: {kind}"]}
    per_class = _per_class(truth, fused.out_of_fold, classes)
    inputs = {name: table[name] for name in names}
    details = {"per_class": per_class, "inputs": inputs, "metadata": fused.metadata}
    write_json(output / "metrics.json", metrics | details)
    return table


def _score(labels: np.ndarray, pred_probs: PredProbs) -> dict[str, float]:
    predicted = pred_probs.argmax(axis=1)
    return {
        "macro_f1": macro_f1(labels, predicted, pred_probs.shape[1]),
        "accuracy": float((predicted == labels).mean()),
    }


def _per_class(
    labels: np.ndarray, pred_probs: PredProbs, classes: Sequence[str]
) -> dict[str, dict[str, float]]:
    f1 = f1_per_class(labels, pred_probs.argmax(axis=1), len(classes))
    support = np.bincount(labels, minlength=len(classes))
    scores = zip(classes, f1.tolist(), support.tolist(), strict=True)
    return {code: {"f1": score, "support": rows} for code, score, rows in scores}


def _read_matrices(
    paths: list[Path], first: Probabilities, ids: np.ndarray
) -> tuple[list[PredProbs], tuple[str, ...]]:
    """V matrices (N, C) in the order of `ids`, and the classes they all have."""
    matrices = [first, *(read_matrix(path, name=path.stem, classes=first.classes) for path in paths[1:])]
    aligned = [matrix.aligned(ids, where=str(path)) for path, matrix in zip(paths, matrices, strict=True)]
    return aligned, first.classes


def _to_labels(known: Labels, classes: Sequence[str], *, where: Path) -> np.ndarray:
    number_of = {code: number for number, code in enumerate(classes)}
    codes = np.array([code if code in number_of else clean_code(code) for code in known.codes], dtype=object)
    unknown = [row for row, code in enumerate(codes) if code not in number_of]
    if unknown:
        row, more = unknown[0], ["..."] if len(classes) > 8 else []
        raise InputError(
            f"{where}: code {codes[row]!r} of id {known.ids[row]!r} (line {known.lines[row]}) is not a class "
            f"of the matrices ({', '.join([*classes[:8], *more])}); {len(unknown)} rows"
        )
    return np.array([number_of[code] for code in codes], np.int64)
