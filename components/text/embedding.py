"""Pooled features of texts from an encoder as it is."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from huggingface_hub.constants import HF_HOME
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from components.core.artifacts import write_json
from components.core.errors import InputError
from components.core.reading import read_json
from components.data.feature_cache import FeatureCache
from components.modeling.checkpoint import digest_of
from components.modeling.precision import autocast
from components.modeling.text.encoder import load_encoder
from components.modeling.text.forward import text_means
from components.modeling.text.packing import TextBatch, make_batch
from components.modeling.text.tokens import Tokens, tokenize
from components.text.predict import BATCH_TOKENS, batches_by_length
from components.text.weights import POOLING

FIRST, MEAN = "pooling_mode_cls_token", "pooling_mode_mean_tokens"


@dataclass(frozen=True)
class TextEmbedder:
    """An encoder as it is, which makes features of title and description, read as a pair.

    Attributes:
        pooling: FIRST or MEAN.
        max_tokens: the longest pair.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    pooling: str
    max_tokens: int

    @classmethod
    def load(cls, folder: Path, *, max_tokens: int, device: torch.device) -> "TextEmbedder":
        """Reads config.json, model.safetensors and tokenizer.json.

        Texts are pooled as `1_Pooling` of the folder says, else by the mean over tokens.

        Raises:
            InputError: the folder cannot be loaded, must not be, or pools in another way.
        """
        model, tokenizer = load_encoder(folder)
        model.to(device).eval()  # pyright: ignore
        return cls(model, tokenizer, _pooling(folder), max_tokens)

    def features(self, table: pd.DataFrame, *, keep: bool) -> np.ndarray:
        """Pooled features (N, D) float32 of the products of a table.

        Args:
            keep: computes those of a text once for all folds and runs; they are kept below `HF_HOME`.
        """
        titles, descriptions = table["title"].tolist(), table["description"].tolist()
        tokens = tokenize(self.tokenizer, titles, descriptions, max_tokens=self.max_tokens)
        if not keep:
            return self._embed(tokens, np.arange(len(table)))
        # The tokens are the text as the encoder sees it.
        ends = zip(tokens.offsets, tokens.offsets[1:], strict=False)
        contents = [tokens.ids[start:end].tobytes() for start, end in ends]
        made_by = f"{self._digest} {self.pooling} {self.model.device.type}"
        cache = FeatureCache(Path(HF_HOME) / "features", made_by)
        return cache.features(contents, lambda rows: self._embed(tokens, rows))

    @cached_property
    def _digest(self) -> str:
        # A pooler is not used, and is made anew where the folder has none.
        state = self.model.base_model.state_dict().items()
        return digest_of({name: value for name, value in state if not name.startswith("pooler.")})

    def save(self, folder: Path) -> None:
        """Writes what `load` reads."""
        encoder: Any = self.model.base_model
        encoder.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        write_json(folder / POOLING, {self.pooling: True})

    def _embed(self, tokens: Tokens, rows: np.ndarray) -> np.ndarray:
        model = self.model
        features = np.empty((len(rows), model.config.hidden_size), np.float32)
        with torch.inference_mode(), autocast(model.device):
            for places in batches_by_length(tokens.lengths[rows], BATCH_TOKENS[model.device.type]):
                batch = make_batch(model, tokens, rows[places], model.device)
                pooled = _pooled(model, batch, self.pooling).float().cpu().numpy()
                features[np.searchsorted(rows, batch.rows)] = pooled  # rows ascend, those of a batch do not
        return features


def _pooling(folder: Path) -> str:
    if not (folder / POOLING).is_file():
        return MEAN
    modes = read_json(folder / POOLING, "a JSON object that says how texts are pooled")
    chosen = [key for key, value in modes.items() if key.startswith("pooling_mode") and value is True]
    if chosen not in ([FIRST], [MEAN]):
        raise InputError(f"{folder / POOLING}: pools by {chosen}; expected {FIRST} or {MEAN}, one alone")
    return chosen[0]


def _pooled(model: PreTrainedModel, batch: TextBatch, pooling: str) -> Tensor:
    if batch.packing is not None:
        states = model.base_model(**batch.inputs, packing=batch.packing).last_hidden_state[0]
        return states[batch.packing.starts] if pooling == FIRST else text_means(states, batch.packing)
    states = model.base_model(**batch.inputs).last_hidden_state
    if pooling == FIRST:
        return states[:, 0]
    real = batch.inputs["attention_mask"][..., None]
    return (states * real).sum(dim=1) / real.sum(dim=1)
