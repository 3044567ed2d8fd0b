"""Bins of tokens: a batch's texts and what fills the rest, in buffers that stay where they are."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from components.modeling.text.attention import Packing
from components.modeling.text.packing import to_device, token_rows
from components.modeling.text.tokens import Tokens

BIN_TOKENS = 512
IGNORED = -100  # the label of a stand-in text


def slots_of(texts: int, max_tokens: int) -> int:
    """Texts of a bin: a pass's, and as many stand-ins as always fill the rest.

    The bin may be that of another process, whose pass is longer by one text at most.
    """
    return texts + -(-(BIN_TOKENS - 1 + max_tokens) // (max_tokens - 1))


def bin_size(lengths: np.ndarray, slots: int) -> int:
    """Tokens of the bin for texts of these lengths, with a token at least in each slot that they leave."""
    return int(-(-(lengths.sum() + slots - len(lengths)) // BIN_TOKENS) * BIN_TOKENS)


def fill_bin(
    model: PreTrainedModel, tokens: Tokens, labels: np.ndarray, rows: np.ndarray, *, size: int, slots: int
) -> dict[str, np.ndarray]:
    """A bin's inputs: the texts, shortest first, then stand-ins up to `size` tokens and `slots` texts."""
    rows = rows[np.argsort(tokens.lengths[rows], kind="stable")]
    arrays = token_rows(model, tokens, rows)
    lengths = tokens.lengths[rows]
    spare = slots - len(rows)
    rest = size - lengths.sum()
    stand_ins = rest // spare + (np.arange(spare) < rest % spare)
    # Their ids are those of the first text's first token: any that the model knows will do.
    arrays = {name: np.concatenate([row, np.full(rest, row[0])]) for name, row in arrays.items()}
    ends = np.cumsum(np.concatenate([[0], lengths, stand_ins]))
    filled = np.concatenate([labels[rows], np.full(spare, IGNORED)])
    return {**arrays, "starts": ends[:-1], "ends": ends, "labels": filled}


class BinBuffers:
    """What a pass over one bin reads; filled anew before each.

    Args:
        slots: texts of a bin, stand-ins included.
    """

    def __init__(
        self, names: Sequence[str], tokens: int, slots: int, longest: int, device: torch.device
    ) -> None:
        self.sizes = {**dict.fromkeys(names, tokens), "starts": slots, "ends": slots + 1, "labels": slots}
        self.whole = torch.ones((), device=device)
        self.integers = torch.zeros(sum(self.sizes.values()), dtype=torch.int64, device=device)
        parts = dict(zip(self.sizes, self.integers.split(list(self.sizes.values())), strict=True))
        self.inputs = {name: parts[name][None] for name in names}
        self.labels, self._ends, self._starts = parts["labels"], parts["ends"], parts["starts"]
        self._longest = longest

    def packing(self) -> Packing:
        """Where the texts lie: part of the work, as attention wants 32 bits."""
        return Packing(self._starts, self._ends.int(), self._longest)

    def fill(self, arrays: dict[str, np.ndarray], whole: float) -> None:
        """Copies one pass over, in one piece."""
        flat = np.concatenate([arrays[name].astype(np.int64) for name in self.sizes])
        self.integers.copy_(to_device(flat, self.integers.device))
        self.whole.fill_(whole)
