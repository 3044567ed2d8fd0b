"""Batches of texts without padding, and the model's forward pass over them.

Texts of a batch lie end to end in one row of tokens: every linear layer, norm and dropout sees real
tokens only, and a batch stays a random draw. Attention alone must know where a text ends: on the CPU it
runs once for all texts of one length, on a GPU once over a padded view (3 % of the arithmetic at 128
tokens and 768 features). Encoders that cannot take one row get texts of near-equal length in padded blocks.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import AttentionInterface

from components.text.tokens import Tokens

ATTENTION = "packed"
# RoBERTa's family: positions count from the padding id, and the head reads the first token's state.
PACKABLE = ("camembert", "roberta", "xlm-roberta")


@dataclass(frozen=True)
class Packing:
    """Where the texts of one row of tokens begin and end, shortest text first.

    Attributes:
        runs: (how many texts, tokens of each), one pair a length, ascending; none on a GPU.
        places: (T,) place of every token in the (texts, longest) padded view, or None on the CPU.
        mask: (texts, 1, 1, longest) True where the padded view has a token, or None on the CPU.
    """

    runs: tuple[tuple[int, int], ...]
    places: Tensor | None
    mask: Tensor | None


@dataclass(frozen=True)
class Batch:
    """Some texts, ready for a model: packed in one row, or padded (then `packing` is None).

    Attributes:
        rows: (B,) which rows of the tokens these are, in the batch's order.
        inputs: keyword arguments of the model's forward pass.
        starts: (B,) place of each text's first token in the row; None where padded.
    """

    rows: np.ndarray
    inputs: dict[str, Tensor]
    packing: Packing | None
    starts: Tensor | None


def packs(model: PreTrainedModel) -> bool:
    """Whether the model can take many texts in one row."""
    return model.config.model_type in PACKABLE and model.config._attn_implementation == ATTENTION


def make_batch(model: PreTrainedModel, tokens: Tokens, rows: np.ndarray, device: torch.device) -> Batch:
    """Collects the texts of `rows` for `model`, shortest first."""
    rows = rows[np.argsort(tokens.lengths[rows], kind="stable")]
    return _pack(model, tokens, rows, device) if packs(model) else _pad(model, tokens, rows, device)


def split_batch(model: PreTrainedModel, tokens: Tokens, rows: np.ndarray, parts: int) -> list[np.ndarray]:
    """Splits a batch into passes whose gradients add up: `parts`, or more where the model needs padding.

    Texts in one padded pass differ so little in length that at most a twentieth of it is padding.
    """
    rows = rows[np.argsort(tokens.lengths[rows], kind="stable")]
    if packs(model):
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


def _pack(model: PreTrainedModel, tokens: Tokens, rows: np.ndarray, device: torch.device) -> Batch:
    lengths = tokens.lengths[rows]
    starts = np.cumsum(lengths) - lengths
    within = np.arange(lengths.sum()) - np.repeat(starts, lengths)
    packing = _runs(lengths) if device.type == "cpu" else padded_view(lengths, within, device)
    first = model.config.pad_token_id + 1
    inputs = {
        "input_ids": _to(tokens.ids[tokens.places(rows)][None], device),
        "position_ids": _to((within + first)[None], device),
    }
    return Batch(rows, inputs, packing, _to(starts, device))


def _runs(lengths: np.ndarray) -> Packing:
    values, counts = np.unique(lengths, return_counts=True)
    return Packing(tuple(zip(counts.tolist(), values.tolist(), strict=True)), None, None)


def padded_view(lengths: np.ndarray, within: np.ndarray, device: torch.device) -> Packing:
    """The padded view of texts of `lengths` (B,); `within` (T,) is each token's place in its own text."""
    longest = int(lengths.max())
    places = within + np.repeat(np.arange(len(lengths)) * longest, lengths)
    mask = np.arange(longest)[None] < lengths[:, None]
    return Packing((), _to(places, device), _to(mask, device)[:, None, None])


def _pad(model: PreTrainedModel, tokens: Tokens, rows: np.ndarray, device: torch.device) -> Batch:
    lengths, places = tokens.lengths[rows], tokens.places(rows)
    real = np.arange(lengths.max())[None] < lengths[:, None]
    ids = np.full(real.shape, model.config.pad_token_id or 0, np.int64)
    ids[real] = tokens.ids[places]
    inputs = {"input_ids": _to(ids, device), "attention_mask": _to(real.astype(np.int64), device)}
    if tokens.types is not None:
        types = np.zeros(real.shape, np.int64)
        types[real] = tokens.types[places]
        inputs["token_type_ids"] = _to(types, device)
    return Batch(rows, inputs, None, None)


def _to(array: np.ndarray, device: torch.device) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    tensor = tensor if tensor.dtype == torch.bool else tensor.long()
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def logits(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Class logits of a batch's texts, (B, C) float32, in the order of `batch.rows`."""
    if batch.packing is None:
        return model(**batch.inputs).logits.float()
    hidden = model.base_model(**batch.inputs, packing=batch.packing).last_hidden_state[0]
    first = hidden.index_select(0, batch.starts)  # (T, H) -> (B, H)
    return model.classifier(first[:, None]).float()  # type: ignore[operator]


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    packing: Packing | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of each text within itself: (1, heads, T, D) to (1, T, heads, D).

    Registered with transformers as the attention "packed"; without a packing it is plain SDPA.
    """
    if packing is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )  # type: ignore[return-value]
    rows = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]  # (T, heads, D)
    attend = _attend_runs if packing.places is None else _attend_padded
    return attend(rows, packing, dropout, scaling)[None], None


def _attend_runs(rows: list[Tensor], packing: Packing, dropout: float, scaling: float | None) -> Tensor:
    sizes = [count * length for count, length in packing.runs]
    outputs = []
    for (count, length), *run in zip(packing.runs, *(row.split(sizes) for row in rows), strict=True):
        query, key, value = (part.unflatten(0, (count, length)).transpose(1, 2) for part in run)
        output = scaled_dot_product_attention(query, key, value, dropout_p=dropout, scale=scaling)
        outputs.append(
            output.transpose(1, 2).flatten(0, 1)
        )  # (count, heads, length, D) -> (tokens, heads, D)
    return torch.cat(outputs)


def _attend_padded(rows: list[Tensor], packing: Packing, dropout: float, scaling: float | None) -> Tensor:
    assert packing.places is not None
    assert packing.mask is not None
    texts, longest = packing.mask.shape[0], packing.mask.shape[-1]
    query, key, value = (
        row.new_zeros(texts * longest, *row.shape[1:])
        .index_copy(0, packing.places, row)
        .unflatten(0, (texts, longest))
        .transpose(1, 2)
        for row in rows
    )
    output = scaled_dot_product_attention(
        query, key, value, attn_mask=packing.mask, dropout_p=dropout, scale=scaling
    )
    return output.transpose(1, 2).flatten(0, 1).index_select(0, packing.places)


AttentionInterface.register(ATTENTION, packed_attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
