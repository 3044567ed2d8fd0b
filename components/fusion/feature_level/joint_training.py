"""Training of feature-level fusion end to end: texts and images through both backbones (section 3.3.1)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerBase

from components.core.errors import InputError
from components.data.image_store import ImageStore, found_images
from components.data.products import Products, image_rows
from components.fusion.feature_level.features import WEIGHT_DECAY, Pooled
from components.fusion.feature_level.joint import (
    ImageInput,
    JointNetwork,
    load_joint_network,
    restore_joint_network,
    save_joint_network,
)
from components.modeling.image.augmentation import UNIFORMS, ImageBatch, augment, center_crop, uniforms
from components.modeling.image.cache import ImageCache
from components.modeling.precision import autocast, loss_scaler
from components.modeling.schedules import linear
from components.modeling.step import OptimizerStep
from components.modeling.text.packing import make_batch
from components.modeling.text.tokens import Tokens, table_tokens
from components.modeling.trained import Predicted, predict_in_parts
from components.modeling.training import TrainingLoop, TrainingPlan

WARMUP = 0.1  # share of the steps in which learning rates rise; then they fall to 0 (section 4.1, of texts)


@dataclass(frozen=True)
class _Inputs:
    """Both modalities of every product: tokens, images, (N,) places in the cache, -1 without an image."""

    tokens: Tokens
    cache: ImageCache
    places: np.ndarray
    image: ImageInput

    def batches(self, batches: list[np.ndarray]) -> Iterator[tuple[np.ndarray, ImageBatch, Tensor]]:
        """For every batch its rows, shortest text first, their images, and which have one."""
        # The order in which `make_batch` puts texts.
        ordered = [rows[np.argsort(self.tokens.lengths[rows], kind="stable")] for rows in batches]
        images = self._images(ordered)
        for rows, batch in zip(ordered, images, strict=True):
            yield rows, batch, torch.from_numpy(self.places[rows] >= 0).to(self.cache.device)

    def _images(self, batches: list[np.ndarray]) -> Iterator[ImageBatch]:
        if (self.places >= 0).any():
            return self.cache.batches(np.maximum(self.places[rows], 0) for rows in batches)
        blank = torch.zeros(1, *self.image.resize, 3, dtype=torch.uint8, device=self.cache.device)
        first = torch.zeros(1, dtype=torch.long, device=self.cache.device)
        return (ImageBatch(blank, first.expand(len(rows))) for rows in batches)


@dataclass(frozen=True)
class EndToEnd:
    """A fitted network.

    Attributes:
        image: how images are brought to what the network sees.
    """

    network: JointNetwork
    tokenizer: PreTrainedTokenizerBase
    image: ImageInput
    config: Pooled

    def predict(
        self, table: pd.DataFrame, store: ImageStore, features: Mapping[str, np.ndarray]
    ) -> Predicted:
        """Probabilities of the products of a table with titles, descriptions and keys of images."""
        device, size, fit = next(self.network.parameters()).device, self.image.resize, self.image.fit

        def predicted(part: slice) -> Predicted:
            keys, places = found_images(store, table["image"].iloc[part].tolist())
            with ImageCache(store, keys, size, fit=fit, place="stream", device=device) as cache:
                inputs = _Inputs(table_tokens(table.iloc[part], self.tokenizer), cache, places, self.image)
                return Predicted(_predict(self.network, inputs, self.config))

        return predict_in_parts(predicted, len(table))

    def save(self, folder: Path, classes: Sequence[str], inputs: Sequence[str]) -> None:
        """Writes what `load_end_to_end` reads; `inputs` are the classifiers that its backbones start from."""
        settings = {**self.config.model_dump(), "inputs": list(inputs)}
        save_joint_network(folder, self.network, self.tokenizer, self.image, classes, settings)


def load_end_to_end(
    folder: Path,
    settings: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    config: Pooled,
    device: torch.device,
) -> EndToEnd:
    """The network of a model folder, of which settings and tensors have been read."""
    network, tokenizer, image = restore_joint_network(folder, settings, tensors, config)
    return EndToEnd(network.to(device), tokenizer, image, config)


def train_end_to_end(
    products: Products,
    images: Path,
    text_model: Path,
    image_model: Path,
    fit: np.ndarray,
    config: Pooled,
    *,
    seed: int,
    device: torch.device,
) -> tuple[EndToEnd, np.ndarray]:
    """Trains both backbones and a classifier on top jointly, and predicts every product.

    The backbones start from the classifiers that were trained on one modality each. The last epoch is
    taken: none is chosen on validation.

    Args:
        images: the image store.
        text_model: model folder of a transformer text classifier; `image_model` of an image classifier.
        fit: row numbers to train on.

    Returns:
        What was fitted, and (N, C) float32 class probabilities.

    Raises:
        InputError: a model cannot be used, no product has an image, or the loss is not a number.
    """
    torch.manual_seed(seed)
    network, tokenizer, image = load_joint_network(text_model, image_model, len(products.classes), config)
    network.to(device)
    keys, places = image_rows(products, np.arange(len(products.table)))
    if not keys:
        raise InputError(f"fusion {config.name}: no product has an image to train an image backbone on")
    tokens, store = table_tokens(products.table, tokenizer), ImageStore(images)
    with ImageCache(store, keys, image.resize, fit=image.fit, place="auto", device=device) as cache:
        inputs = _Inputs(tokens, cache, places, image)
        _fit(network, inputs, products.labels, fit, config, seed)
        return EndToEnd(network, tokenizer, image, config), _predict(network, inputs, config)


def _fit(
    network: JointNetwork,
    inputs: _Inputs,
    labels: np.ndarray,
    fit: np.ndarray,
    config: Pooled,
    seed: int,
) -> None:
    device = inputs.cache.device
    scaler = loss_scaler(device)
    epoch_steps = -(-len(fit) // config.batch_size)
    steps = config.epochs * epoch_steps

    def batches(epoch: int, _first: int) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
        order = np.random.default_rng([seed, epoch]).permutation(fit)
        for rows, images, with_image in inputs.batches(np.array_split(order, epoch_steps)):
            draws = uniforms(seed, epoch, rows, UNIFORMS).to(device)
            yield rows, _augmented(inputs.image, images, draws), with_image

    def backward(batch: tuple[np.ndarray, Tensor, Tensor]) -> Tensor:
        rows, pixels, with_image = batch
        with autocast(device):
            logits = network(make_batch(network.encoder, inputs.tokens, rows, device), pixels, with_image)
        loss = cross_entropy(logits, torch.from_numpy(labels[rows]).to(device))
        scaler.scale(loss).backward()
        return loss

    def learning_rate(step: int) -> float:
        return linear(step, steps, peak=config.learning_rate, warmup=WARMUP)

    step = OptimizerStep(network, _optimizer(network, config), backward, scaler=scaler)
    plan = TrainingPlan(f"fusion {config.name}", config.epochs, epoch_steps, learning_rate)
    TrainingLoop(step, plan).run(batches)


def _optimizer(network: JointNetwork, config: Pooled) -> torch.optim.AdamW:
    backbones = [*network.encoder.parameters(), *network.backbone.parameters()]
    return torch.optim.AdamW(
        [
            {"params": backbones, "scale": config.backbone_learning_rate / config.learning_rate},
            {"params": list(network.classifier.parameters()), "scale": 1.0},
        ],
        lr=config.learning_rate,
        weight_decay=WEIGHT_DECAY,
        fused=True,
    )


def _augmented(image: ImageInput, images: ImageBatch, draws: Tensor) -> Tensor:
    return augment(
        images, draws, crop=image.crop, rotation=image.rotation, flip=image.flip, padding=image.padding
    )


@torch.inference_mode()
def _predict(network: JointNetwork, inputs: _Inputs, config: Pooled) -> np.ndarray:
    network.eval()
    device = inputs.cache.device
    by_length = np.argsort(inputs.tokens.lengths, kind="stable")
    chunks = np.array_split(by_length, -(-len(by_length) // (2 * config.batch_size)))
    found = []
    for rows, images, with_image in inputs.batches(chunks):
        texts = make_batch(network.encoder, inputs.tokens, rows, device)
        with autocast(device):
            logits = network(texts, center_crop(images, inputs.image.crop), with_image)
        found.append(logits.softmax(1).cpu())
    pred_probs = np.empty((len(by_length), found[0].shape[1]), np.float32)
    pred_probs[by_length] = torch.cat(found).numpy()
    return pred_probs
