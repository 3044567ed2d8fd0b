"""A matrix of probabilities that a network gives a batch at a time."""

import torch
from torch import Tensor

from components.data.top_classes import CELLS, PredProbs, concatenated, in_form, many


class GrowingMatrix:
    """Probabilities (N, C) in the form in which so many classes are kept.

    Batches are left on their device: a copy would make the host wait, and a GPU after it. Of many classes
    they are taken from there a block at a time, so that no memory grows with products times classes.
    """

    def __init__(self) -> None:
        self._parts: list[PredProbs] = []
        self._batches: list[Tensor] = []
        self._cells = 0

    def append(self, batch: Tensor) -> None:
        """Adds the rows of a batch (B, C)."""
        self._batches.append(batch)
        self._cells += batch.numel()
        if many(batch.shape[1]) and self._cells >= CELLS:
            self._collect()

    def matrix(self) -> PredProbs:
        """The matrix of all batches, at least one."""
        self._collect()
        return concatenated(self._parts)

    def _collect(self) -> None:
        if self._batches:
            self._parts.append(in_form(torch.cat(self._batches).cpu().numpy()))
            self._batches, self._cells = [], 0
