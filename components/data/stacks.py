"""The matrices of several classifiers side by side, in columns that few and many classes have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from components.data.top_classes import PredProbs, TopClasses, blocks_of, columns_of, counts_of

RIVALS = 10  # kept classes of a row that have a column of their own while fitting


@dataclass(frozen=True, eq=False)
class Stack:
    """Probabilities that V classifiers give the same N products, in K columns.

    The columns are the classes; or of many classes those kept of each row, the same for all classifiers, and
    last every single one of the others.

    Attributes:
        values: (V, N, K) float32.
        labels: (N,) classes; none where they are not known.
        classes: C.
        kept: (N, K - 1), see `TopClasses`, the most probable first; None where all classes have a column.
    """

    values: np.ndarray
    labels: np.ndarray
    classes: int
    kept: np.ndarray | None = None

    @classmethod
    def of(cls, matrices: np.ndarray | Sequence[PredProbs], labels: np.ndarray | None = None) -> Stack:
        """That of V matrices (N, C) of one form; of many classes, those most probable to all together."""
        known = np.zeros(0, np.int64) if labels is None else labels
        tops = [matrix for matrix in matrices if isinstance(matrix, TopClasses)]
        if not tops:
            values = np.asarray(matrices)
            return cls(values, known, values.shape[2])
        (rows, classes), cells = tops[0].shape, sum(top.kept.shape[1] for top in tops)
        parts = blocks_of(rows, 4 * cells) or [slice(0, 0)]
        kept, values = zip(*(_side_by_side([top[part] for top in tops]) for part in parts), strict=True)
        return cls(np.concatenate(values, axis=1), known, classes, np.concatenate(kept))

    @cached_property
    def columns(self) -> np.ndarray:
        """(N,) the column of each label."""
        return self.labels if self.kept is None else columns_of(self.labels, self.kept)

    def part(
        self, rows: np.ndarray | slice = slice(None), classifiers: list[int] | slice = slice(None)
    ) -> Stack:
        """Some rows, of some classifiers."""
        kept = None if self.kept is None else self.kept[rows]
        return replace(self, values=self.values[classifiers][:, rows], labels=self.labels[rows], kept=kept)

    def classes_in(self, columns: np.ndarray) -> np.ndarray:
        """(N,) classes in columns; for the column of the others the most probable kept one stands."""
        if self.kept is None:
            return columns
        return self.kept[np.arange(len(columns)), columns % self.kept.shape[1]].astype(np.int64)

    def matrix(self, values: np.ndarray) -> PredProbs:
        """(N, K) values of these rows as a matrix (N, C)."""
        return values if self.kept is None else TopClasses(self.kept, values, self.classes)

    def narrowed(self) -> Stack:
        """With `RIVALS` kept classes alone: what is fitted asks for the few that rival."""
        count = RIVALS
        if self.kept is None or self.kept.shape[1] <= count:
            return self
        counts = counts_of(self.kept.shape[1], self.classes)
        others = self.values[:, :, count:] @ counts[count:] / np.float32(self.classes - count)
        values = np.concatenate([self.values[:, :, :count], others[:, :, None]], axis=2)
        return replace(self, values=values, kept=self.kept[:, :count])


def _side_by_side(matrices: Sequence[TopClasses]) -> tuple[np.ndarray, np.ndarray]:
    """`kept` and `values` of a block, by sorting: it costs the same however many classes there are."""
    (rows, classes), widths = matrices[0].shape, [matrix.kept.shape[1] for matrix in matrices]
    classifier = np.repeat(np.arange(len(matrices)), widths)
    found = np.concatenate([matrix.kept for matrix in matrices], axis=1)
    order = np.argsort(found, axis=1, kind="stable")
    found = np.take_along_axis(found, order, 1)
    said = np.take_along_axis(
        np.concatenate([matrix.values[:, :-1] for matrix in matrices], axis=1), order, 1
    )
    each = np.stack([matrix.values[:, -1] for matrix in matrices])  # V, N
    first = np.ones(found.shape, bool)
    first[:, 1:] = found[:, 1:] != found[:, :-1]
    run = np.cumsum(first.ravel()) - 1
    # Beyond what every class has of the others' share.
    more = said - each[classifier[order], np.arange(rows)[:, None]]
    total = np.full(found.shape, -np.inf, np.float32)
    total[first] = np.bincount(run, more.ravel())
    k = min(widths)
    largest = np.argsort(-total, axis=1, kind="stable")[:, :k]
    column = np.full(int(run[-1]) + 1 if len(run) else 0, -1)
    chosen = np.take_along_axis(run.reshape(found.shape), largest, 1)
    column[chosen] = np.arange(k)
    values = np.repeat(each[:, :, None], k + 1, axis=2)
    of_cell = column[run].reshape(found.shape)
    row, cell = np.nonzero(of_cell >= 0)
    values[classifier[order[row, cell]], row, of_cell[row, cell]] = said[row, cell]
    whole = np.stack([matrix.values @ matrix.counts for matrix in matrices])
    others = whole - values[:, :, :-1].sum(axis=2, dtype=np.float64)
    values[:, :, -1] = np.maximum(others, 0) / (classes - k)
    return np.take_along_axis(found, largest, 1), values
