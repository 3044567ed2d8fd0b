"""Probabilities over many classes: of each product the largest, and what the other classes have together.

A matrix of a million products and 3,000 classes takes 12 GB, nearly all of it for classes that no classifier
means. Above `MANY_CLASSES` a matrix holds the `KEPT` largest probabilities of each row; what is left of the
row is spread evenly over the other classes wherever one of these is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from components.core.configuration import MANY_CLASSES

KEPT = 50  # classes of a product, where there are more
CELLS = 2**24  # of the largest block that is laid out over all classes
BATCH = 512  # rows; of whole batches a net's last bits do not depend on where a block ends


def many(classes: int) -> bool:
    """Whether so many classes are kept in part."""
    return classes > MANY_CLASSES


@dataclass(frozen=True, eq=False)
class TopClasses:
    """A matrix (N, C) of probabilities, of which k a row are kept; whole where numpy takes it as an array.

    Attributes:
        kept: (N, k) unsigned integers, the classes of each row, all different.
        values: (N, k + 1) float32: their probabilities, and last that of each one of the other classes.
        classes: C.
    """

    kept: np.ndarray
    values: np.ndarray
    classes: int

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, rows: np.ndarray | slice) -> TopClasses:
        if isinstance(rows, tuple):
            raise TypeError("a matrix in part is indexed by rows alone; np.asarray(...) makes it whole")
        return replace(self, kept=self.kept[rows], values=self.values[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.dense().astype(dtype or np.float32, copy=False)

    @property
    def shape(self) -> tuple[int, int]:
        """(N, C), as of the whole matrix."""
        return len(self.kept), self.classes

    @property
    def counts(self) -> np.ndarray:
        """(k + 1,) float32: how many classes each column of `values` stands for."""
        return counts_of(self.kept.shape[1], self.classes)

    def argmax(self, axis: int = 1) -> np.ndarray:
        """(N,) int64 the most probable class of each row."""
        best = self.values[:, :-1].argmax(axis=axis)
        return self.kept[np.arange(len(best)), best].astype(np.int64)

    def max(self, axis: int = 1) -> np.ndarray:
        """(N,) float32 its probability."""
        return self.values[:, :-1].max(axis=axis)

    def dense(self) -> np.ndarray:
        """(N, C) float32, the whole matrix."""
        filled = np.repeat(self.values[:, -1:], self.classes, axis=1)
        np.put_along_axis(filled, self.kept.astype(np.int64), self.values[:, :-1], axis=1)
        return filled


PredProbs: TypeAlias = np.ndarray | TopClasses


def counts_of(kept: int, classes: int) -> np.ndarray:
    """See `TopClasses.counts`."""
    return np.append(np.ones(kept, np.float32), np.float32(classes - kept))


def columns_of(labels: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """(N,) int64 columns of classes among (N, k) kept ones; k, the column of the others, where not kept."""
    same = kept == labels[:, None]
    return np.where(same.any(axis=1), same.argmax(axis=1), kept.shape[1])


def opened(pred_probs: PredProbs, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """A matrix of either form as values (N, columns), the labels' columns (N,), and classes a column.

    The last is None where every column is one class.
    """
    if isinstance(pred_probs, TopClasses):
        return pred_probs.values, columns_of(labels, pred_probs.kept), pred_probs.counts
    return pred_probs, labels, None


def of_labels(pred_probs: PredProbs, labels: np.ndarray) -> np.ndarray:
    """(N,) float32 what each row of a matrix of either form gives its label."""
    values, columns, _ = opened(pred_probs, labels)
    return values[np.arange(len(labels)), columns]


def in_form(pred_probs: PredProbs) -> PredProbs:
    """The matrix in the form in which so many classes are kept."""
    if isinstance(pred_probs, TopClasses):
        return pred_probs if many(pred_probs.classes) else pred_probs.dense()
    return top_classes(pred_probs) if many(pred_probs.shape[1]) else pred_probs


def top_classes(pred_probs: np.ndarray, count: int | None = None) -> TopClasses:
    """The largest probabilities of each row of a whole matrix (N, C), the largest first.

    Args:
        count: how many, fewer than C; KEPT if None.
    """
    rows, classes = pred_probs.shape
    k = min(count or KEPT, classes - 1)
    kept = np.empty((rows, k), np.min_scalar_type(classes - 1))
    values = np.empty((rows, k + 1), np.float32)
    for part in blocks_of(rows, classes):
        block = pred_probs[part]
        # Of equal probabilities the lower class comes first, as with `argmax`.
        found = np.sort(np.argpartition(block, classes - k, axis=1)[:, classes - k :], axis=1)
        order = np.argsort(-np.take_along_axis(block, found, 1), axis=1, kind="stable")
        found = np.take_along_axis(found, order, 1)
        kept[part], values[part, :-1] = found, np.take_along_axis(block, found, 1)
        others = block.sum(axis=1, dtype=np.float64) - values[part, :-1].sum(axis=1, dtype=np.float64)
        values[part, -1] = np.maximum(others, 0) / (classes - k)
    return TopClasses(kept, values, classes)


def leading(pred_probs: PredProbs, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The most probable classes of each row and their probabilities, (N, count), or (N, C) of fewer classes.

    The first is that of `argmax`, also where several are equally probable.
    """
    in_part = isinstance(pred_probs, TopClasses)
    values = pred_probs.values[:, :-1] if in_part else pred_probs
    order = np.argsort(-values, axis=1, kind="stable")[:, :count]
    found = np.take_along_axis(values, order, 1)
    return np.take_along_axis(pred_probs.kept.astype(np.int64), order, 1) if in_part else order, found


def concatenated(parts: Sequence[PredProbs]) -> PredProbs:
    """The rows of several matrices of one form, one after the other."""
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)  # type: ignore[arg-type]
    tops = [part for part in parts if isinstance(part, TopClasses)]
    kept, values = (np.concatenate([getattr(top, name) for top in tops]) for name in ("kept", "values"))
    return TopClasses(kept, values, tops[0].classes)


def replaced(pred_probs: PredProbs, rows: np.ndarray, others: PredProbs) -> PredProbs:
    """The matrix with `others` in the place of some rows, (N,) bool."""
    place = np.arange(len(rows))
    place[rows] = len(rows) + np.arange(len(others))
    return concatenated([pred_probs, others])[place]


def matrix_tensors(pred_probs: PredProbs) -> dict[str, np.ndarray]:
    """The arrays of which `matrix_of` makes the matrix again."""
    if isinstance(pred_probs, TopClasses):
        found = {"kept": pred_probs.kept, "values": pred_probs.values}
    else:
        found = {"pred_probs": pred_probs}
    return {name: np.ascontiguousarray(values) for name, values in found.items()}


def matrix_of(tensors: Mapping[str, np.ndarray], classes: int) -> PredProbs:
    """The matrix over so many classes whose `matrix_tensors` these are."""
    if "kept" in tensors:
        return TopClasses(tensors["kept"], tensors["values"], classes)
    return tensors["pred_probs"]


def in_blocks(make: Callable[[slice], PredProbs], rows: int, classes: int) -> PredProbs:
    """A matrix (`rows`, C) in the form in which so many classes are kept.

    Of many classes it is made a block of rows at a time: memory does not grow with rows times classes.

    Args:
        make: rows -> their matrix (n, C).
    """
    parts = blocks_of(rows, classes, BATCH) if many(classes) else []
    return concatenated([in_form(make(part)) for part in parts or [slice(0, rows)]])


def blocks_of(rows: int, cells: int, batch: int = 1) -> list[slice]:
    """Parts of so many rows that a block over all classes stays small.

    Args:
        cells: that a row takes in it.
        batch: rows, of which all parts but the last have a multiple.
    """
    size = max(batch, CELLS // cells // batch * batch)
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]
