"""Batches of texts without padding.

Texts of a batch lie end to end in one row of tokens: every linear layer, norm and dropout sees real tokens
only, and a batch stays a random draw. Encoders that cannot take one row get padded texts: on a CPU passes
of near-equal length, on a GPU one pass of one of few lengths.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from components.modeling.precision import is_ampere
from components.modeling.text.attention import Packing
from components.modeling.text.forward import ATTENTION, PACKABLE, text_logits
from components.modeling.text.tokens import Tokens

POSITIONS_AFTER_PADDING = ("camembert", "roberta", "xlm-roberta")  # the others count from 0
PADDED_LENGTHS = 32  # on a GPU a padded text's length is a multiple: few shapes, few kernels to choose


@dataclass(frozen=True)
class TextBatch:
    """Some texts, ready for a model: packed in one row, or padded (then `packing` is None).

    Attributes:
        rows: (B,) which rows of the tokens these are, in the batch's order.
        inputs: keyword arguments of the model's forward pass.
    """

    rows: np.ndarray
    inputs: dict[str, Tensor]
    packing: Packing | None


def can_pack(model_type: str, device: torch.device) -> bool:
    """Whether encoders of this family take many texts in one row on this device."""
    # A GPU before the A100 has no attention over cumulative lengths.
    return model_type in PACKABLE and (device.type == "cpu" or is_ampere(device))


def packs(model: PreTrainedModel) -> bool:
    """Whether the model takes many texts in one row where it is now."""
    packed = model.config._attn_implementation == ATTENTION
    return packed and can_pack(model.config.model_type, model.device)


def make_batch(model: PreTrainedModel, tokens: Tokens, rows: np.ndarray, device: torch.device) -> TextBatch:
    """Collects the texts of `rows` for `model`, shortest first."""
    rows = rows[np.argsort(tokens.lengths[rows], kind="stable")]
    if not packs(model):
        return _pad(model, tokens, rows, device)
    lengths = tokens.lengths[rows]
    inputs = {name: to_device(row[None], device) for name, row in token_rows(model, tokens, rows).items()}
    ends = np.cumsum(lengths)
    starts = to_device(ends - lengths, device)
    if device.type == "cpu":
        values, counts = np.unique(lengths, return_counts=True)
        runs = tuple(zip(counts.tolist(), values.tolist(), strict=True))
        return TextBatch(rows, inputs, Packing(starts, None, int(lengths.max()), runs))
    cumulative = to_device(np.concatenate([[0], ends]).astype(np.int32), device)
    return TextBatch(rows, inputs, Packing(starts, cumulative, int(lengths.max())))


def token_rows(model: PreTrainedModel, tokens: Tokens, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The model's inputs of some texts end to end: each (T,) int64."""
    lengths, places = tokens.lengths[rows], tokens.places(rows)
    starts = np.cumsum(lengths) - lengths
    positions = np.arange(lengths.sum()) - np.repeat(starts, lengths) + first_position(model)
    found = {"input_ids": tokens.ids[places].astype(np.int64), "position_ids": positions}
    if tokens.types is not None:
        found["token_type_ids"] = tokens.types[places].astype(np.int64)
    return found


def first_position(model: PreTrainedModel) -> int:
    """The position id of a text's first token."""
    after_padding = model.config.model_type in POSITIONS_AFTER_PADDING
    return model.config.pad_token_id + 1 if after_padding else 0


def split_batch(model: PreTrainedModel, tokens: Tokens, rows: np.ndarray, parts: int) -> list[np.ndarray]:
    """Splits a batch into passes whose gradients add up: `parts`, or more where a CPU needs padding.

    Texts in one padded pass on a CPU differ so little in length that at most a twentieth of it is padding;
    on a GPU a small pass takes as long as a large one.
    """
    rows = rows[np.argsort(tokens.lengths[rows], kind="stable")]
    if packs(model) or model.device.type == "cuda":
        return [rows[part::parts] for part in range(min(parts, len(rows)))]
    passes = np.array_split(rows, min(parts, len(rows)))
    return [block for part in passes for block in _near_length(part, tokens.lengths[part])]


def _near_length(rows: np.ndarray, lengths: np.ndarray, padding: float = 0.05) -> list[np.ndarray]:
    blocks, end = [], len(rows)
    while end:
        # Going down from the longest: real tokens of the last 1, 2, ... texts against their padded block.
        real = np.cumsum(lengths[:end][::-1])
        padded = lengths[end - 1] * np.arange(1, end + 1)
        count = int(np.flatnonzero(real >= (1 - padding) * padded)[-1]) + 1
        blocks.append(rows[end - count : end])
        end -= count
    return blocks


def _pad(model: PreTrainedModel, tokens: Tokens, rows: np.ndarray, device: torch.device) -> TextBatch:
    lengths, places = tokens.lengths[rows], tokens.places(rows)
    longest = int(lengths.max())
    if device.type == "cuda":
        longest = min(-(-longest // PADDED_LENGTHS) * PADDED_LENGTHS, max(longest, int(tokens.lengths.max())))
    real = np.arange(longest)[None] < lengths[:, None]
    inputs = {"input_ids": np.full(real.shape, model.config.pad_token_id or 0, np.int64)}
    inputs["input_ids"][real] = tokens.ids[places]
    inputs["attention_mask"] = real.astype(np.int64)
    if tokens.types is not None:
        inputs["token_type_ids"] = np.zeros(real.shape, np.int64)
        inputs["token_type_ids"][real] = tokens.types[places]
    return TextBatch(rows, {name: to_device(array, device) for name, array in inputs.items()}, None)


def to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """A tensor of `array` on `device`; the copy to a GPU does not wait."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def logits(model: PreTrainedModel, batch: TextBatch) -> Tensor:
    """Class logits of a batch's texts, (B, C) float32, in the order of `batch.rows`."""
    return text_logits(model, batch.inputs, batch.packing)
