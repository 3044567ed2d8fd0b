"""The probability matrix: written, read and aligned by product id, never by position."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from components.core.artifacts import read_manifest, whole_file, write_manifest
from components.core.errors import InputError
from components.data.alignment import rows_of
from components.data.arrays import read_arrays
from components.data.top_class_files import read_top, write_top
from components.data.top_classes import TopClasses, in_form, many

SUM_TOLERANCE = 1e-3
WHOLE, TOP = ".npz", ".parquet"  # files of all probabilities, and of the largest


@dataclass(frozen=True)
class Probabilities:
    """Class probabilities of some products.

    Attributes:
        ids: (N,) product ids, unique strings.
        classes: (C,) codes, in the order of the columns.
        pred_probs: (N, C) float32, rows sum to 1: an array, or of many classes `TopClasses`.
    """

    ids: np.ndarray
    classes: tuple[str, ...]
    pred_probs: Any

    def aligned(self, ids: Sequence[str] | np.ndarray, *, where: str) -> Any:
        """The rows of `ids`, in that order: (len(ids), C), in the form of `pred_probs`.

        Raises:
            InputError: an id has no row here.
        """
        return self.pred_probs[rows_of(self.ids, ids, what="probabilities", where=where)]


@dataclass(frozen=True)
class Classifier:
    """One classifier's probabilities: for every checkpoint kept, one matrix a split.

    Attributes:
        name: unique within a run ("camembert-large").
        modality: "text", "image", "fusion" or "ensemble".
        matrices: checkpoint -> split -> matrix; the first checkpoint is the chosen one, the others
            are late checkpoints that vote too (paper, section 3.4). Splits: validation, test,
            out_of_fold.
        metadata: configuration, seed, validation scores.
    """

    name: str
    modality: str
    matrices: dict[str, dict[str, Probabilities]]
    metadata: dict[str, Any] = field(default_factory=dict)

    def chosen(self, split: str, ids: Sequence[str] | np.ndarray) -> Any:
        """The chosen checkpoint's probabilities of the products `ids`; see `Probabilities.aligned`.

        Raises:
            InputError: the classifier did not predict this split, or not all of these products.
        """
        checkpoint, splits = next(iter(self.matrices.items()))
        if split not in splits:
            raise InputError(
                f"classifier {self.name} ({checkpoint}): no {split} matrix, it has "
                f"{', '.join(sorted(splits))} (a fold's training predicts that fold and validation alone)"
            )
        return splits[split].aligned(ids, where=f"classifier {self.name}, {split}")


def check_probabilities(matrix: Probabilities, *, where: str) -> None:
    """Validates a probability matrix.

    Raises:
        InputError: wrong shapes, a repeated id, NaN, values outside [0, 1] or a row that does not sum
            to 1, naming the row and its product.
    """
    ids, pred_probs = matrix.ids, matrix.pred_probs
    if pred_probs.shape != (len(ids), len(matrix.classes)):
        raise InputError(
            f"{where}: pred_probs has shape {pred_probs.shape}, "
            f"expected ({len(ids)}, {len(matrix.classes)}) from ids and classes"
        )
    if len(set(ids.tolist())) != len(ids):
        row = _first_repeated(ids)
        raise InputError(f"{where}: row {row}: id {ids[row]!r} occurs twice; every product has one row")
    if len(set(matrix.classes)) != len(matrix.classes):
        raise InputError(f"{where}: a class occurs twice: {matrix.classes}")
    if isinstance(pred_probs, TopClasses):
        values, others = pred_probs.values, pred_probs.counts[-1] - 1
        sums = values.sum(axis=1, dtype=np.float64) + values[:, -1].astype(np.float64) * others
    else:
        values, sums = pred_probs, pred_probs.sum(axis=1, dtype=np.float64)
    problems = {
        "is not a number": ~np.isfinite(values).all(axis=1),
        "is not within 0 and 1": (values < 0).any(axis=1) | (values > 1 + SUM_TOLERANCE).any(axis=1),
        "does not sum to 1": ~(np.abs(sums - 1) <= SUM_TOLERANCE),
    }
    for problem, broken in problems.items():
        if broken.any():
            row = int(np.flatnonzero(broken)[0])
            raise InputError(
                f"{where}: row {row} (product {ids[row]!r}) {problem}: sum {sums[row]:.6g} "
                f"({int(broken.sum())} such rows)"
            )


def read_matrix(path: Path, *, name: str, classes: Sequence[str] | None = None) -> Probabilities:
    """Reads one `.npz` with `ids`, `classes`, `pred_probs`, or the `.parquet` of many classes.

    Args:
        name: whose matrix it is, for messages.
        classes: the class order to insist on.

    Raises:
        InputError: not such a file, or a matrix that breaks the rules; names file, row and classifier.
    """
    where = f"{path} (classifier {name})"
    if path.suffix == TOP:
        matrix = Probabilities(*read_top(path, whose=f"classifier {name}"))
    else:
        matrix = _read_whole(path, name, where)
    check_probabilities(matrix, where=where)
    if classes is not None and matrix.classes != tuple(classes):
        raise InputError(
            f"{where}: its classes are {_short(matrix.classes)}, expected {_short(classes)}, in this order"
        )
    return matrix


def _read_whole(path: Path, name: str, where: str) -> Probabilities:
    ids, codes, values = read_arrays(
        path, ("ids", "classes", "pred_probs"), what="an .npz of plain arrays", whose=f"classifier {name}"
    )
    if values.dtype.kind not in "fiu":
        raise InputError(f"{where}: pred_probs are {values.dtype}, expected numbers")
    for what, array in (("ids", ids), ("classes", codes)):
        if array.ndim != 1:
            raise InputError(f"{where}: {what} has shape {array.shape}, expected one dimension")
    return Probabilities(
        ids.astype(str).astype(object), tuple(codes.astype(str).tolist()), values.astype(np.float32)
    )


def write_matrix(path: Path, matrix: Probabilities) -> None:
    """Checks one matrix and writes it, whole or not at all: as `.npz`, or of many classes as `.parquet`."""
    check_probabilities(matrix, where=str(path))
    pred_probs = matrix.pred_probs
    if path.suffix == TOP:
        pred_probs = in_form(pred_probs)
        assert isinstance(pred_probs, TopClasses)
        write_top(path, matrix.ids, matrix.classes, pred_probs)
        return
    if isinstance(pred_probs, TopClasses):
        pred_probs = pred_probs.dense()
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            ids=np.array(matrix.ids.tolist(), dtype=str),
            classes=np.array(matrix.classes, dtype=str),
            pred_probs=pred_probs.astype(np.float32, copy=False),
        )


def write_classifier(folder: Path, classifier: Classifier) -> None:
    """Writes a classifier as `folder/<checkpoint>/<split>.npz` or `.parquet`, the manifest last."""
    for checkpoint, splits in classifier.matrices.items():
        for split, matrix in splits.items():
            form = TOP if many(len(matrix.classes)) else WHOLE
            write_matrix(folder / checkpoint / f"{split}{form}", matrix)
    write_manifest(
        folder,
        name=classifier.name,
        modality=classifier.modality,
        checkpoints={checkpoint: sorted(splits) for checkpoint, splits in classifier.matrices.items()},
        metadata=classifier.metadata,
    )


def read_classifier(folder: Path, *, classes: Sequence[str] | None = None, check: bool = True) -> Classifier:
    """Reads what `write_classifier` wrote; see `read_matrix` for what is refused.

    Args:
        check: the files' digests; not needed where a manifest above them has been checked.
    """
    manifest = read_manifest(folder, check=check)
    matrices = {
        checkpoint: {
            split: read_matrix(
                _file_of(folder / checkpoint, split),
                name=f"{manifest['name']}/{checkpoint}",
                classes=classes,
            )
            for split in splits
        }
        for checkpoint, splits in manifest["checkpoints"].items()
    }
    return Classifier(manifest["name"], manifest["modality"], matrices, manifest["metadata"])


def read_classifiers(folder: Path, *, classes: Sequence[str] | None = None) -> list[Classifier]:
    """Reads every classifier in a sub-folder of `folder` that its manifest lists, sorted by folder name."""
    names = sorted({name.split("/")[0] for name in read_manifest(folder)["files"] if "/" in name})
    return [read_classifier(folder / name, classes=classes, check=False) for name in names]


def _file_of(folder: Path, split: str) -> Path:
    top = folder / f"{split}{TOP}"
    return top if top.exists() else folder / f"{split}{WHOLE}"


def _first_repeated(ids: np.ndarray) -> int:
    _, first = np.unique(ids.astype(str), return_index=True)
    return int(np.setdiff1d(np.arange(len(ids)), first)[0])


def _short(classes: Sequence[str]) -> str:
    return f"[{', '.join(classes[:8])}{', ...' if len(classes) > 8 else ''}] ({len(classes)})"
