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

from components.modeling.text.tokens import Tokens

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
    first = _first_states(model.base_model, batch, batch.packing)
    return model.classifier(first[:, None]).float()  # type: ignore[operator]


def _first_states(encoder: Any, batch: Batch, packing: Packing) -> Tensor:
    """The last layer's states of each text's first token, (B, H): all that the head reads.

    So the last layer needs keys and values of every token, but all else of the first ones only.
    """
    *layers, last = encoder.encoder.layer
    hidden = encoder.embeddings(**batch.inputs)  # (1, T, H)
    for layer in layers:
        hidden = layer(hidden, packing=packing)
    hidden = hidden[0]
    first = hidden.index_select(0, batch.starts)  # (B, H)
    attention = last.attention.self
    rows = [
        linear(states).unflatten(-1, (attention.num_attention_heads, -1))
        for linear, states in ((attention.query, first), (attention.key, hidden), (attention.value, hidden))
    ]
    dropout = attention.dropout.p if encoder.training else 0.0
    context = _attend(rows, packing, dropout, attention.scaling).flatten(1)
    attended = last.attention.output(context, first)
    return last.output(last.intermediate(attended), attended)


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
    return _attend(rows, packing, dropout, scaling)[None], None


def _attend(rows: list[Tensor], packing: Packing, dropout: float, scaling: float | None) -> Tensor:
    """Attention within each text; queries of every token (T, heads, D) or of first ones (B, heads, D)."""
    if packing.places is None or packing.mask is None:
        return _attend_runs(rows, packing.runs, dropout, scaling)
    return _attend_padded(rows, packing.places, packing.mask, dropout, scaling)


def _attend_runs(
    rows: list[Tensor], runs: tuple[tuple[int, int], ...], dropout: float, scaling: float | None
) -> Tensor:
    sizes = [count * length for count, length in runs]
    query, key, value = rows
    every = len(query) == len(key)
    queries = query.split(sizes if every else [count for count, _ in runs])
    outputs = []
    for (count, _), *run in zip(runs, queries, key.split(sizes), value.split(sizes), strict=True):
        parts = (part.unflatten(0, (count, -1)).transpose(1, 2) for part in run)  # (count, heads, length, D)
        output = scaled_dot_product_attention(*parts, dropout_p=dropout, scale=scaling)
        outputs.append(output.transpose(1, 2).flatten(0, 1))
    return torch.cat(outputs)


def _attend_padded(
    rows: list[Tensor], places: Tensor, mask: Tensor, dropout: float, scaling: float | None
) -> Tensor:
    texts, longest = mask.shape[0], mask.shape[-1]

    def padded(row: Tensor) -> Tensor:
        blank = row.new_zeros(texts * longest, *row.shape[1:])
        return blank.index_copy(0, places, row).unflatten(0, (texts, longest)).transpose(1, 2)

    query, key, value = rows
    every = len(query) == len(key)
    output = scaled_dot_product_attention(
        padded(query) if every else query[:, :, None],
        padded(key),
        padded(value),
        attn_mask=mask,
        dropout_p=dropout,
        scale=scaling,
    )
    output = output.transpose(1, 2).flatten(0, 1)
    return output.index_select(0, places) if every else output


AttentionInterface.register(ATTENTION, packed_attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
