"""An encoder's forward pass over texts that lie end to end in one row of tokens.

Attention alone must know where a text ends: on a CPU it runs once for all texts of one length, on a GPU over
cumulative lengths (FlashAttention-2, arXiv:2307.08691). The model's own forward pass does the rest: it hands
`packing` down to the attention that is registered here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import AttentionInterface

from components.modeling.text.attention import FusedSelfAttention, Packing, attend

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


def text_logits(model: PreTrainedModel, inputs: dict[str, Tensor], packing: Packing | None) -> Tensor:
    """Class logits of texts, (B, C) float32.

    Args:
        inputs: keyword arguments of the model's forward pass: one row of tokens, or padded texts.
        packing: where the texts of one row lie; None where they are padded.
    """
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
    pooled = text_means(hidden[0], packing) if mean else hidden[0].index_select(0, packing.starts)
    if isinstance(output, Tensor):
        return pooled[:, None]
    output.last_hidden_state = pooled[:, None]
    return output


def text_means(hidden: Tensor, packing: Packing) -> Tensor:
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
