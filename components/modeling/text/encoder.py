"""Encoders as folders: read without running anything that lies in them, and written.

Whoever controls a weights folder must not control the process that loads it: only files of allowed names
are ever opened, weights are safetensors, and code that comes along is refused.
"""

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from components.core.artifacts import write_json, write_manifest
from components.core.errors import InputError
from components.core.reading import read_json, reading, reason
from components.modeling.text.cpu_linear import use_onednn
from components.modeling.text.forward import ATTENTION, PACKABLE

disable_progress_bar()  # a stage's log is read as a file
set_verbosity_error()  # what is missing in a folder is checked here

ALLOWED = re.compile(
    r"config\.json|model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json|tokenizer\.json|"
    r"tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json|vocab\.(txt|json)|merges\.txt|"
    r"(sentencepiece\.bpe|spm|spiece)\.model"
)
SETTINGS = ("config.json", "tokenizer_config.json")


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
        family = read_json(staged / "config.json", "a model's configuration").get("model_type")
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
        except Exception as error:  # a file that was made up makes any of many libraries raise anything
            raise InputError(f"{folder}: cannot be loaded as a text classifier: {reason(error)}") from error
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
    """A temporary folder with links to the allowed files of `folder`, so that no other file is in reach.

    Its config.json is a copy that names no implementation: one of the hub's would be fetched, and is code.
    """
    names = sorted(path.name for path in folder.iterdir() if ALLOWED.fullmatch(path.name) and path.is_file())
    if not any(name.endswith(".safetensors") for name in names) or "config.json" not in names:
        others = sorted(path.name for path in folder.iterdir())
        raise InputError(
            f"{folder}: expected config.json and model.safetensors, found {others}. Pickles (.bin, .pt) "
            "are never opened; save the model once with save_pretrained(folder, safe_serialization=True)."
        )
    settings = {name: read_json(folder / name, "a model's settings") for name in names if name in SETTINGS}
    for name, found in settings.items():
        if "auto_map" in found:
            raise InputError(f"{folder / name}: has auto_map, code of its own, which is never run; remove it")
    index = folder / "model.safetensors.index.json"
    if index.name in names:
        with reading(index, "an index of safetensors files"):
            shards = set(read_json(index, "an index")["weight_map"].values())
        strange = sorted(shard for shard in shards if not ALLOWED.fullmatch(shard) or shard not in names)
        if strange:
            raise InputError(f"{index}: names {strange[0]!r}, which is no safetensors file beside it")
    with tempfile.TemporaryDirectory(prefix="weights-") as temporary:
        for name in set(names) - {"config.json"}:
            os.symlink((folder / name).resolve(), Path(temporary) / name)
        write_json(Path(temporary) / "config.json", _without_implementations(settings["config.json"]))
        yield Path(temporary)


def _without_implementations(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_implementations(item) for item in value]
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if "_implementation" not in key}
        return {key: _without_implementations(item) for key, item in kept.items()}
    return value


def head(model: PreTrainedModel) -> nn.Linear:
    """The last linear layer, whose input is the pooled output (paper, section 3.1.2)."""
    encoder = set(model.base_model.modules())
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear) and layer not in encoder][-1]


def save_encoder(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    classes: Sequence[str],
    **metadata: Any,
) -> None:
    """Writes config.json, model.safetensors and tokenizer.json, the manifest with `metadata` last."""
    model.config.id2label = dict(enumerate(classes))
    model.config.label2id = {code: label for label, code in enumerate(classes)}
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_manifest(folder, classes=list(classes), **metadata)
