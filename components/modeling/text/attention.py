"""Attention of each text within itself, where texts lie end to end in one row of tokens."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention


@dataclass(frozen=True)
class Packing:
    """Where the texts of one row of tokens begin and end.

    Attributes:
        starts: (B,) place of each text's first token.
        ends: (B + 1,) int32, 0 and the place behind each text's last token; None where `runs` tell.
        longest: tokens of the longest text, or more.
        runs: (how many texts, tokens of each), one pair a length, ascending; for a CPU.
    """

    starts: Tensor
    ends: Tensor | None
    longest: int
    runs: tuple[tuple[int, int], ...] = ()


def attend(
    rows: tuple[Tensor, Tensor, Tensor],
    packing: Packing,
    *,
    dropout: float,
    scaling: float | None,
    window: int | None = None,
) -> Tensor:
    """Attention within each text.

    Args:
        rows: queries of every token (T, heads, D) or of each text's first one (B, heads, D), then keys and
            values of every token (T, heads, D).
        window: a token sees so many to either side; None all of its text.

    Returns:
        As the queries.
    """
    if packing.runs:
        return _attend_runs(rows, packing.runs, dropout, scaling, window)
    if rows[0].device.type == "cuda":
        return _attend_flash(rows, packing, dropout, scaling, window)
    return _attend_masked(rows, packing, dropout, scaling, window)


def _attend_runs(
    rows: tuple[Tensor, Tensor, Tensor],
    runs: tuple[tuple[int, int], ...],
    dropout: float,
    scaling: float | None,
    window: int | None,
) -> Tensor:
    sizes = [count * length for count, length in runs]
    query, key, value = rows
    every = len(query) == len(key)
    queries = query.split(sizes if every else [count for count, _ in runs])
    outputs = []
    for (count, length), *run in zip(runs, queries, key.split(sizes), value.split(sizes), strict=True):
        parts = (part.unflatten(0, (count, -1)).transpose(1, 2) for part in run)  # (count, heads, length, D)
        near = None
        if window is not None and length > window + 1:
            place = torch.arange(length)
            near = (place[:, None] - place[None]).abs() <= window
        output = scaled_dot_product_attention(*parts, attn_mask=near, dropout_p=dropout, scale=scaling)
        outputs.append(output.transpose(1, 2).flatten(0, 1))
    return torch.cat(outputs)


def _attend_flash(
    rows: tuple[Tensor, Tensor, Tensor],
    packing: Packing,
    dropout: float,
    scaling: float | None,
    window: int | None,
) -> Tensor:
    # `torch.nn.attention.varlen` has no dropout; scaled_dot_product_attention takes no cumulative lengths.
    query, key, value = rows
    ends, longest = packing.ends, packing.longest
    if len(query) == len(key):
        queries, each = ends, longest
    else:
        queries = torch.arange(len(query) + 1, device=query.device, dtype=torch.int32)
        each = 1
    sides = {} if window is None else {"window_size_left": window, "window_size_right": window}
    return torch.ops.aten._flash_attention_forward(
        *(query, key, value, queries, ends, each, longest, dropout, False, False), scale=scaling, **sides
    )[0]


def _attend_masked(
    rows: tuple[Tensor, Tensor, Tensor],
    packing: Packing,
    dropout: float,
    scaling: float | None,
    window: int | None,
) -> Tensor:
    # What the GPU's kernel computes, over one mask of all tokens: for checks on a CPU.
    query, key, value = rows
    assert packing.ends is not None
    place = torch.arange(len(key), device=key.device)
    text = torch.searchsorted(packing.ends[1:].long(), place, right=True)
    asking = slice(None) if len(query) == len(key) else packing.starts
    seen = text[asking][:, None] == text[None]
    if window is not None:
        seen &= (place[asking][:, None] - place[None]).abs() <= window
    parts = (row.transpose(0, 1)[None] for row in (query, key, value))
    output = scaled_dot_product_attention(*parts, attn_mask=seen, dropout_p=dropout, scale=scaling)
    return output[0].transpose(0, 1)


class FusedSelfAttention(nn.Module):
    """Self-attention with query, key and value in one product, in place of BERT's three.

    Args:
        separate: transformers' module with `query`, `key`, `value`; its weights are not copied.
    """

    def __init__(self, separate: Any) -> None:
        super().__init__()
        weight = separate.query.weight
        self.heads, self.scaling = separate.num_attention_heads, separate.scaling
        self.dropout = separate.dropout
        self.weight = nn.Parameter(weight.new_empty(3 * weight.shape[0], weight.shape[1]))
        self.bias = nn.Parameter(weight.new_empty(3 * weight.shape[0]))

    def forward(self, hidden_states: Tensor, *_: Any, packing: Packing, **__: Any) -> tuple[Tensor, None]:
        """(1, T, H) to (1, T, H)."""
        joint = linear(hidden_states[0], self.weight, self.bias).unflatten(-1, (3, self.heads, -1))
        return self._attended(joint.unbind(1), packing)[None], None

    def of_first_tokens(self, hidden: Tensor, first: Tensor, packing: Packing) -> Tensor:
        """The same of each text's first token: (T, H) and (B, H) to (B, H)."""
        size = len(self.bias) // 3
        query = linear(first, self.weight[:size], self.bias[:size]).unflatten(-1, (self.heads, -1))
        joint = linear(hidden, self.weight[size:], self.bias[size:]).unflatten(-1, (2, self.heads, -1))
        return self._attended((query, *joint.unbind(1)), packing)

    def _attended(self, rows: Any, packing: Packing) -> Tensor:
        dropout = self.dropout.p if self.training else 0.0
        return attend(rows, packing, dropout=dropout, scaling=self.scaling).flatten(1)
