"""The encoder and its tokenizer: from a folder of weights, or new and small."""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from transformers import (
    CamembertConfig,
    CamembertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from components.core.errors import InputError
from components.data.products import Products
from components.modeling.text.cpu_linear import use_onednn
from components.modeling.text.encoder import load_encoder
from components.modeling.text.forward import ATTENTION
from components.modeling.text.tokens import SPECIAL_TOKENS, train_tokenizer
from components.text.kinds.frozen import FrozenTextConfig
from components.text.kinds.transformer import TransformerConfig
from components.text.weights import find_weights

log = logging.getLogger(__name__)


def prepare_encoder(
    products: Products, fit: np.ndarray, config: TransformerConfig, *, seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model and the tokenizer that a configuration names, with a new head for the products' classes.

    Args:
        fit: row numbers of the train rows; a tokenizer from scratch learns from nothing else.

    Raises:
        InputError: the weights cannot be had, must not be opened, or are for shorter texts.
    """
    torch.manual_seed(seed)
    if config.weights == "scratch":
        table = products.table.iloc[fit]
        return _new_encoder([*table["title"], *table["description"]], len(products.classes), config)
    folder = find_weights(config.weights, revision=config.revision or None)
    model, tokenizer = load_encoder(folder, classes=len(products.classes))
    check_max_tokens(model, config)
    return model, tokenizer


def check_max_tokens(model: PreTrainedModel, config: TransformerConfig | FrozenTextConfig) -> None:
    """Raises InputError where a model learned no positions for texts as long as the configuration wants."""
    # The RoBERTa family counts positions from behind its padding token's.
    limits = [
        table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
        for name, table in model.named_modules()
        if name.endswith("embeddings.position_embeddings") and isinstance(table, nn.Embedding)
    ]
    if limits and config.max_tokens > min(limits):
        raise InputError(
            f"text configuration {config.name!r}: max_tokens = {config.max_tokens}, but {config.weights} "
            f"takes texts of {min(limits)} tokens at most"
        )


def _new_encoder(
    texts: Sequence[str], classes: int, config: TransformerConfig
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    tokenizer = train_tokenizer(texts, vocabulary=config.vocabulary, max_tokens=config.max_tokens)
    model = CamembertForSequenceClassification(
        CamembertConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.hidden,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=4 * config.hidden,
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=0.0,  # at this size it costs more time than it saves overfitting
            max_position_embeddings=config.max_tokens + SPECIAL_TOKENS.index("<pad>") + 1,
            type_vocab_size=1,
            bos_token_id=SPECIAL_TOKENS.index("<s>"),
            pad_token_id=SPECIAL_TOKENS.index("<pad>"),
            eos_token_id=SPECIAL_TOKENS.index("</s>"),
            num_labels=classes,  # type: ignore[call-arg]
            attn_implementation=ATTENTION,  # type: ignore[call-arg]
        )
    )
    use_onednn(model)
    return model, tokenizer
