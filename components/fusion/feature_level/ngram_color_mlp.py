"""Feature-level fusion without a GPU: one small net reads n-grams and colors, and learns both at once.

What an image adds depends on what the text leaves open, so a net that sees both learns more from the
train split than classifiers of probabilities can from the much smaller validation split.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from components.core.configuration import restored_config
from components.core.errors import InputError
from components.data.image_store import ImageStore, found_images
from components.data.products import Products, image_rows, training_task
from components.fusion.feature_level.baselines import FeatureFused
from components.fusion.feature_level.inputs import FeatureLevelData
from components.fusion.kinds.ngram_color_mlp import GPU_PRODUCTS, NgramColorMlpConfig
from components.modeling.device import choose_device
from components.modeling.image.color_histogram import describe_all
from components.modeling.one_cycle import OneCycle, train_one_cycle
from components.modeling.text.ngrams import (
    NgramSettings,
    Texts,
    Vectorizer,
    fit_vectorizers,
    ngram_tensors,
    restored_vectorizers,
    tfidf,
)
from components.modeling.trained import Predicted, predict_in_parts, read_model, write_models

log = logging.getLogger(__name__)

BATCH_SIZE, WEIGHT_DECAY = 256, 0.01
NGRAM_DEVIATION = 0.05  # of an n-gram's first vector; torch's own, 1, drowns a text of few n-grams
PREDICTED_AT_ONCE = 1024
NET = "net."  # before the names of the net's weights among a model's


def fit_ngram_color_mlp(config: NgramColorMlpConfig, data: FeatureLevelData) -> FeatureFused | None:
    """Trains the net on the train split and predicts the others; None with too few products to train on.

    The last epoch is taken: none is chosen on validation.

    Raises:
        InputError: no product has an image, one cannot be decoded, or the texts have nothing in common.
    """
    start, products = time.perf_counter(), data.products
    if (count := len(training_task(products, fold=None, cleaned=False).fit)) < config.min_train_products:
        log.warning(
            "%s is left out: %d products to train on, of %d that it wants at least",
            *(config.name, count, config.min_train_products),
        )
        return None
    task = training_task(products, fold=None, cleaned=config.cleaned)
    texts = Texts(products.table, NgramSettings(config.name))
    pictures = _describe(products, data.images, config)
    device = choose_device(config.accelerator, enough=len(task.fit) >= GPU_PRODUCTS)
    train = partial(_train, texts, pictures, products, config=config, seed=data.seed, device=device)
    fitted, inputs = train(task.fit)
    splits = {split: _predict(fitted.net, inputs, rows) for split, rows in task.predict.items()}
    models = [fitted]
    if config.refit and len(task.refit):
        fitted, inputs = train(task.refit)
        models.append(fitted)
        if "test" in task.predict:
            splits["test"] = _predict(fitted.net, inputs, task.predict["test"])
    tensors = [each.tensors() for each in models]
    write_models(data.model, tensors, products.classes, {**config.model_dump(), "inputs": []})
    seconds = time.perf_counter() - start
    log.info("%s: trained on %s products in %.0f s", config.name, f"{len(task.fit):,}", seconds)
    return FeatureFused([], splits, device)


@dataclass(frozen=True)
class _Colors:
    """The descriptions of all images, (images, D), and each product's image, (N,), -1 for none."""

    described: Tensor
    index: np.ndarray

    def of(self, rows: np.ndarray) -> Tensor:
        """(B, D) of the products of `rows` that have an image."""
        return self.described[self.index[rows][self.index[rows] >= 0]]


def _describe(products: Products, images: Path, config: NgramColorMlpConfig) -> _Colors:
    keys, index = image_rows(products, np.arange(len(products.table)))
    if not keys:
        raise InputError(
            f"fusion {config.name}: no product has an image; leave the kind ngram_color_mlp out for a "
            "catalog of texts"
        )
    return _Colors(_described(images, tuple(keys)), index)


@lru_cache(maxsize=1)
def _described(images: Path, keys: tuple[str, ...]) -> Tensor:
    # Several nets of one stage read the same images.
    return describe_all(ImageStore(images), list(keys))


class _Inputs:
    """Both modalities of every product, on the host: TF-IDF (N, n-grams), and colors, standardized."""

    def __init__(
        self, ngrams: csr_array, colors: _Colors, mean: Tensor, scale: Tensor, device: torch.device
    ) -> None:
        self.ngrams, self.colors, self.device = ngrams, colors, device
        self.mean, self.scale = mean, scale

    def batch(self, rows: np.ndarray) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """N-grams of all texts end to end, where each text begins, their weights; colors, 0 for no image."""
        part = self.ngrams[rows]
        begins, found = part.indptr[:-1].astype(np.int64), part.indices.astype(np.int64)
        colors = torch.zeros(len(rows), len(self.mean))
        with_image = torch.from_numpy(self.colors.index[rows] >= 0)
        colors[with_image] = (self.colors.of(rows) - self.mean) * self.scale
        return (
            torch.from_numpy(found).to(self.device),
            torch.from_numpy(begins).to(self.device),
            torch.from_numpy(part.data).to(self.device),
            colors.to(self.device),
        )


class _Net(nn.Module):
    def __init__(self, ngrams: int, colors: int, classes: int, config: NgramColorMlpConfig) -> None:
        super().__init__()
        self.ngrams = nn.EmbeddingBag(ngrams, config.hidden, mode="sum")
        nn.init.normal_(self.ngrams.weight, std=NGRAM_DEVIATION)
        self.bias = nn.Parameter(torch.zeros(config.hidden))
        self.colors = nn.Linear(colors, config.hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(2 * config.hidden, classes)

    def forward(self, found: Tensor, begins: Tensor, weights: Tensor, colors: Tensor) -> Tensor:
        """What `_Inputs.batch` gives to class logits (B, C)."""
        text = self.ngrams(found, begins, per_sample_weights=self.dropout(weights)) + self.bias
        both = torch.cat([text, self.colors(colors)], dim=1).relu()
        return self.head(self.dropout(both))


@dataclass(frozen=True)
class NgramColorMlp:
    """A fitted net, and how its inputs are made.

    Attributes:
        mean, scale: (D,) by which colors are standardized.
    """

    ngrams: NgramSettings
    vectorizers: dict[str, Vectorizer]
    mean: Tensor
    scale: Tensor
    net: _Net

    def predict(
        self, table: pd.DataFrame, store: ImageStore, features: Mapping[str, np.ndarray]
    ) -> Predicted:
        """Probabilities of the products of a table with titles, descriptions and keys of images."""

        def predicted(part: slice) -> Predicted:
            texts = Texts(table.iloc[part], self.ngrams)
            keys, index = found_images(store, table["image"].iloc[part].tolist())
            rows, colors = np.arange(len(index)), _Colors(describe_all(store, keys), index)
            device = self.net.bias.device
            inputs = _Inputs(tfidf(texts, rows, self.vectorizers), colors, self.mean, self.scale, device)
            return Predicted(_predict(self.net, inputs, rows))

        return predict_in_parts(predicted, len(table))

    def tensors(self) -> dict[str, Tensor]:
        """What `load_ngram_color_mlp` reads, by name."""
        net = {f"{NET}{name}": tensor for name, tensor in self.net.state_dict().items()}
        return {**net, **ngram_tensors(self.vectorizers), "mean": self.mean, "scale": self.scale}


def load_ngram_color_mlp(folder: Path, *, device: torch.device) -> NgramColorMlp:
    """Reads what `fit_ngram_color_mlp` left."""
    settings, tensors = read_model(folder)
    config = restored_config(NgramColorMlpConfig, settings, where=str(folder))
    state = {name.removeprefix(NET): value for name, value in tensors.items() if name.startswith(NET)}
    sizes = len(state["ngrams.weight"]), len(tensors["mean"]), len(state["head.bias"])
    net = _Net(*sizes, config)
    net.load_state_dict(state)
    ngrams, vectorizers = NgramSettings(config.name), restored_vectorizers(tensors)
    return NgramColorMlp(ngrams, vectorizers, tensors["mean"], tensors["scale"], net.to(device))


def _train(
    texts: Texts,
    colors: _Colors,
    products: Products,
    fit: np.ndarray,
    *,
    config: NgramColorMlpConfig,
    seed: int,
    device: torch.device,
) -> tuple[NgramColorMlp, _Inputs]:
    vectorizers, _ = fit_vectorizers(texts, fit)
    ngrams = tfidf(texts, np.arange(len(products.table)), vectorizers)
    mean, scale = _standardization(colors.of(fit))
    inputs = _Inputs(ngrams, colors, mean, scale, device)
    torch.manual_seed(seed)
    known = sum(map(len, vectorizers.values()))
    net = _Net(known, len(inputs.mean), len(products.classes), config).to(device)

    def loss_of(rows: np.ndarray) -> Tensor:
        return cross_entropy(net(*inputs.batch(rows)), torch.from_numpy(products.labels[rows]).to(device))

    cycle = OneCycle(config.epochs, config.min_steps, BATCH_SIZE, config.learning_rate, WEIGHT_DECAY)
    train_one_cycle(net, fit, loss_of, cycle, name=f"fusion {config.name}", seed=seed)
    return NgramColorMlp(texts.settings, vectorizers, mean, scale, net), inputs


def _standardization(described: Tensor) -> tuple[Tensor, Tensor]:
    mean = described.mean(dim=0) if len(described) else torch.zeros(described.shape[1])
    # Colors that hardly occur vary little: they are not blown up to the size of the others.
    return mean, 1 / ((described - mean).square_().mean(dim=0).sqrt_().nan_to_num(0) + 0.02)


@torch.no_grad()
def _predict(net: _Net, inputs: _Inputs, rows: np.ndarray) -> np.ndarray:
    net.eval()
    parts = np.split(rows, range(PREDICTED_AT_ONCE, len(rows), PREDICTED_AT_ONCE))
    return torch.cat([net(*inputs.batch(part)).softmax(dim=1).cpu() for part in parts]).numpy()
