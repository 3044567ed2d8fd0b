"""Batches of texts without padding, and the model's forward pass over them.

Texts of a batch lie end to end in one row of tokens: every linear layer, norm and dropout sees real tokens
only, and a batch stays a random draw. Attention alone must know where a text ends: on a CPU it runs once for
all texts of one length, on a GPU over cumulative lengths (FlashAttention-2, arXiv:2307.08691). The model's
own forward pass does the rest; it hands `packing` down to the attention. Encoders that cannot take one row
get padded texts: on a CPU passes of near-equal length, on a GPU one pass of one of few lengths.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import AttentionInterface

from components.modeling.text.attention import FusedSelfAttention, Packing, attend
from components.modeling.text.tokens import Tokens

ATTENTION = "packed"
# Family -> the module below the base model that gives every token's last state, which the head reads.
PACKABLE = {
    "bert": "encoder",
    "camembert": "encoder",
    "distilbert": "transformer",
    "electra": "encoder",
    "modernbert": "final_norm",
    "roberta": "encoder",
    "xlm-roberta": "encoder",
}
POSITIONS_AFTER_PADDING = ("camembert", "roberta", "xlm-roberta")  # the others count from 0
FLASH_CAPABILITY = (8, 0)  # of a GPU that has the attention over cumulative lengths
PADDED_LENGTHS = 32  # on a GPU a padded text's length is a multiple: few shapes, few kernels to choose


@dataclass(frozen=True)
class Batch:
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
    capable = device.type == "cpu" or torch.cuda.get_device_capability(device) >= FLASH_CAPABILITY
    return model_type in PACKABLE and capable


def packs(model: PreTrainedModel) -> bool:
    """Whether the model takes many texts in one row where it is now."""
    packed = model.config._attn_implementation == ATTENTION
    return packed and can_pack(model.config.model_type, model.device)


def make_batch(model: PreTrainedModel, tokens: Tokens, rows: np.ndarray, device: torch.device) -> Batch:
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
        return Batch(rows, inputs, Packing(starts, None, int(lengths.max()), runs))
    cumulative = to_device(np.concatenate([[0], ends]).astype(np.int32), device)
    return Batch(rows, inputs, Packing(starts, cumulative, int(lengths.max())))


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


def _pad(model: PreTrainedModel, tokens: Tokens, rows: np.ndarray, device: torch.device) -> Batch:
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
    return Batch(rows, {name: to_device(array, device) for name, array in inputs.items()}, None)


def to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """A tensor of `array` on `device`; the copy to a GPU does not wait."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def logits(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Class logits of a batch's texts, (B, C) float32, in the order of `batch.rows`."""
    return packed_logits(model, batch.inputs, batch.packing)


def packed_logits(model: PreTrainedModel, inputs: dict[str, Tensor], packing: Packing | None) -> Tensor:
    """`logits` of inputs that lie in tensors already."""
    if packing is None:
        return model(**inputs).logits.float()
    with _one_state_a_text(model, packing):
        return model(**inputs, packing=packing).logits.float()


@contextmanager
def _one_state_a_text(model: PreTrainedModel, packing: Packing) -> Iterator[None]:
    """Within the block the head finds each text's pooled state in a row of its own: (B, 1, H)."""
    states: Any = model.base_model.get_submodule(PACKABLE[model.config.model_type])
    if hasattr(states, "layer") and hasattr(states.layer[-1], "intermediate"):
        # The last layer needs keys and values of every token, but all else of the first ones only.
        last = states.layer[-1]
        last.forward = partial(_last_layer, last, packing=packing)
        undo = partial(delattr, last, "forward")
    else:
        mean = getattr(model.config, "classifier_pooling", "cls") == "mean"
        undo = states.register_forward_hook(partial(_pool, packing=packing, mean=mean)).remove
    try:
        yield
    finally:
        undo()


def _last_layer(layer: Any, hidden_states: Tensor, *_: Any, packing: Packing, **__: Any) -> Tensor:
    """A layer of BERT's kind, of each text's first token: (1, T, H) to (B, 1, H)."""
    attention, hidden = layer.attention.self, hidden_states[0]
    first = hidden.index_select(0, packing.starts)  # (B, H)
    if isinstance(attention, FusedSelfAttention):
        context = attention.of_first_tokens(hidden, first, packing)
    else:
        query, key, value = (
            linear(states).unflatten(-1, (attention.num_attention_heads, -1))
            for linear, states in (
                (attention.query, first),
                (attention.key, hidden),
                (attention.value, hidden),
            )
        )
        dropout = attention.dropout.p if layer.training else 0.0
        context = attend((query, key, value), packing, dropout=dropout, scaling=attention.scaling).flatten(1)
    attended = layer.attention.output(context, first)
    return layer.output(layer.intermediate(attended), attended)[:, None]


def _pool(_: nn.Module, __: Any, output: Any, *, packing: Packing, mean: bool) -> Any:
    hidden = output if isinstance(output, Tensor) else output.last_hidden_state
    pooled = _means(hidden[0], packing) if mean else hidden[0].index_select(0, packing.starts)
    if isinstance(output, Tensor):
        return pooled[:, None]
    output.last_hidden_state = pooled[:, None]
    return output


def _means(hidden: Tensor, packing: Packing) -> Tensor:
    """Each text's mean over its tokens: (T, H) to (B, H)."""
    place = torch.arange(len(hidden), device=hidden.device)
    text = torch.searchsorted(packing.starts, place, right=True) - 1
    sums = hidden.new_zeros(len(packing.starts), hidden.shape[1]).index_add(0, text, hidden)
    counts = hidden.new_zeros(len(packing.starts)).index_add(0, text, hidden.new_ones(len(hidden)))
    return sums / counts[:, None]


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    packing: Packing | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of each text within itself: (1, heads, T, D) to (1, T, heads, D).

    Registered with transformers as the attention "packed"; without a packing it is plain SDPA.
    """
    if packing is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )  # type: ignore[return-value]
    rows = (query[0].transpose(0, 1), key[0].transpose(0, 1), value[0].transpose(0, 1))  # (T, heads, D)
    window = None if sliding_window is None else sliding_window - 1  # transformers counts the token itself
    return attend(rows, packing, dropout=dropout, scaling=scaling, window=window)[None], None


def _mask(*args: Any, attention_mask: Tensor | None = None, **kwargs: Any) -> Tensor | None:
    """No mask over packed texts, which would be as long as all of them squared."""
    return None if attention_mask is None else sdpa_mask(*args, attention_mask=attention_mask, **kwargs)


AttentionInterface.register(ATTENTION, packed_attention)
AttentionMaskInterface.register(ATTENTION, _mask)
