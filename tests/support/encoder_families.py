"""Small encoders of every family, and tokens for them."""

import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    CamembertConfig,
    CamembertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from components.modeling.text.forward import ATTENTION, PACKABLE
from components.modeling.text.tokens import Tokens

CPU = torch.device("cpu")
SIZES = {
    "vocab_size": 300,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "num_labels": 5,
    "pad_token_id": 1,
    "initializer_range": 0.2,
}
FAMILIES = {
    "camembert": (CamembertForSequenceClassification, CamembertConfig(**SIZES)),
    "xlm-roberta": (XLMRobertaForSequenceClassification, XLMRobertaConfig(**SIZES)),
    "bert": (BertForSequenceClassification, BertConfig(**SIZES)),
    "deberta-v2": (
        DebertaV2ForSequenceClassification,
        DebertaV2Config(**SIZES, relative_attention=True, pos_att_type=["p2c", "c2p"], pooler_hidden_size=48),  # type: ignore[call-arg]
    ),
    "roberta": (RobertaForSequenceClassification, RobertaConfig(**SIZES)),
    "electra": (ElectraForSequenceClassification, ElectraConfig(**SIZES, embedding_size=24)),
    "distilbert": (
        DistilBertForSequenceClassification,
        DistilBertConfig(
            **(SIZES | {"dim": 48, "hidden_dim": 96, "n_layers": 3, "n_heads": 4, "seq_classif_dropout": 0.0})
        ),
    ),
    "modernbert": (
        ModernBertForSequenceClassification,
        ModernBertConfig(
            **SIZES, bos_token_id=0, eos_token_id=2, cls_token_id=0, sep_token_id=2, local_attention=20
        ),
    ),
    "modernbert-mean": (
        ModernBertForSequenceClassification,
        ModernBertConfig(
            **SIZES, bos_token_id=0, eos_token_id=2, cls_token_id=0, sep_token_id=2, classifier_pooling="mean"
        ),
    ),
}


def family(name: str) -> PreTrainedModel:
    build, config = FAMILIES[name]
    torch.manual_seed(0)
    model = build(config)
    if config.model_type in PACKABLE:
        model.set_attn_implementation(ATTENTION)
    return model.eval()


def some_tokens(texts: int = 40, *, types: bool = False) -> Tokens:
    random = np.random.default_rng(0)
    lengths = np.clip(random.lognormal(3.5, 0.9, texts), 4, 128).astype(np.int64)
    lengths[:3] = 4, 128, 128
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = random.integers(5, 300, offsets[-1]).astype(np.int32)
    return Tokens(ids, (np.arange(len(ids)) % 2).astype(np.uint8) if types else None, offsets)
