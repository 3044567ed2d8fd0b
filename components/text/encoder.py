"""The encoder and its tokenizer: from a folder of weights, or new and small; and back to a folder.

Whoever controls a weights folder must not control the process that loads it: only files of allowed names
are ever opened, weights are safetensors, and code that comes along is refused.
"""

import json
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    CamembertConfig,
    CamembertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from components.artifacts import write_manifest
from components.catalog import Products
from components.errors import InputError
from components.text.onednn import use_onednn
from components.text.packing import ATTENTION, PACKABLE, packs
from components.text.tokens import SPECIAL_TOKENS, train_tokenizer
from components.text.transformer_config import TransformerConfig
from components.text.weights import ALLOWED, find_weights

log = logging.getLogger(__name__)
disable_progress_bar()  # a stage's log is read as a file


def prepare_encoder(
    products: Products, fit: np.ndarray, config: TransformerConfig, *, seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model and the tokenizer that a configuration names, with a new head for the products' classes.

    Args:
        fit: row numbers of the train rows; a tokenizer from scratch learns from nothing else.

    Raises:
        InputError: the weights cannot be had, or must not be opened.
    """
    torch.manual_seed(seed)
    if config.weights == "scratch":
        table = products.table.iloc[fit]
        return _new_encoder([*table["title"], *table["description"]], len(products.classes), config)
    return load_encoder(find_weights(config.weights, revision=config.revision), classes=len(products.classes))


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


def load_encoder(
    folder: Path, *, classes: int | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Loads an encoder with a sequence-classification head from a folder, in float32.

    Args:
        classes: outputs of the head; a head of another size is made anew. None keeps the folder's.

    Raises:
        InputError: no safetensors, code of its own, or weights that are not this architecture's.
    """
    with _allowed_only(folder) as staged:
        sizes = {} if classes is None else {"num_labels": classes, "ignore_mismatched_sizes": True}
        family = json.loads((staged / "config.json").read_text(encoding="utf-8")).get("model_type")
        if family in PACKABLE:
            sizes["attn_implementation"] = ATTENTION
        try:
            model, loading = AutoModelForSequenceClassification.from_pretrained(
                staged,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                dtype=torch.float32,
                output_loading_info=True,
                **sizes,
            )
            tokenizer = AutoTokenizer.from_pretrained(
                staged, use_fast=True, trust_remote_code=False, local_files_only=True
            )
        except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
            raise InputError(f"{folder}: cannot be loaded as a text classifier: {error}") from error
    inside = f"{model.base_model_prefix}."
    suspects = [*loading["missing_keys"], *(key for key, *_ in loading["mismatched_keys"])]
    absent = sorted(key for key in suspects if key.startswith(inside) and ".pooler." not in key)
    if absent:
        raise InputError(
            f"{folder}: {len(absent)} of the encoder's weights are missing or of another size, the first is "
            f"{absent[0]}; does config.json belong to these weights?"
        )
    use_onednn(model)
    return model, tokenizer


@contextmanager
def _allowed_only(folder: Path) -> Iterator[Path]:
    """A temporary folder with links to the allowed files of `folder`, so that no other file is in reach."""
    names = sorted(path.name for path in folder.iterdir() if ALLOWED.fullmatch(path.name))
    if not any(name.endswith(".safetensors") for name in names) or "config.json" not in names:
        others = sorted(path.name for path in folder.iterdir())
        raise InputError(
            f"{folder}: expected config.json and model.safetensors, found {others}. Pickles (.bin, .pt) "
            "are never opened; save the model once with save_pretrained(folder, safe_serialization=True)."
        )
    for name in ("config.json", "tokenizer_config.json"):
        if name in names and "auto_map" in json.loads((folder / name).read_text(encoding="utf-8")):
            raise InputError(f"{folder / name}: has auto_map, code of its own, which is never run; remove it")
    index = folder / "model.safetensors.index.json"
    if index.name in names:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        strange = sorted(shard for shard in shards if not ALLOWED.fullmatch(shard) or shard not in names)
        if strange:
            raise InputError(f"{index}: names {strange[0]!r}, which is no safetensors file beside it")
    with tempfile.TemporaryDirectory(prefix="weights-") as temporary:
        for name in names:
            os.symlink((folder / name).resolve(), Path(temporary) / name)
        yield Path(temporary)


def head(model: PreTrainedModel) -> nn.Linear:
    """The last linear layer, whose input is the pooled output (paper, section 3.1.2)."""
    encoder = set(model.base_model.modules())
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear) and layer not in encoder][-1]


def save_encoder(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, classes: Sequence[str]
) -> None:
    """Writes config.json, model.safetensors and tokenizer.json, the manifest last; see `load_encoder`."""
    model.config.id2label = dict(enumerate(classes))
    model.config.label2id = {code: label for label, code in enumerate(classes)}
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_manifest(folder, classes=list(classes))


def compile_encoder(model: PreTrainedModel) -> None:
    """Compiles the model in place, for batches of any size: layer by layer where texts are packed."""
    parts = model.base_model.encoder.layer if packs(model) else [model.base_model]  # type: ignore[union-attr]
    for part in parts:  # type: ignore[union-attr]
        part.compile(dynamic=True)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the model's weights on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
