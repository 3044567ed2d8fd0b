"""Training of feature-level fusion end to end: texts and images through both backbones (section 3.3.1)."""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR

from components.core.errors import InputError
from components.data.image_store import ImageStore
from components.data.products import Products, image_rows
from components.fusion.config import ConcatConfig
from components.fusion.feature_level.joint import ImageInput, JointNetwork, load_joint_network
from components.modeling.image.augmentation import DRAWS, augment, centre_crop, uniforms
from components.modeling.image.augmentation import Batch as ImageBatch
from components.modeling.image.cache import ImageCache
from components.modeling.text.packing import make_batch
from components.modeling.text.tokens import Tokens, tokenize

log = logging.getLogger(__name__)

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
        images = self.cache.batches(np.maximum(self.places[rows], 0) for rows in ordered)
        for rows, batch in zip(ordered, images, strict=True):
            yield rows, batch, torch.from_numpy(self.places[rows] >= 0).to(self.cache.device)


def train_end_to_end(
    products: Products,
    images: Path,
    text_model: Path,
    image_model: Path,
    fit: np.ndarray,
    config: ConcatConfig,
    *,
    seed: int,
    device: torch.device,
) -> np.ndarray:
    """Trains both backbones and a classifier on top jointly, and predicts every product.

    The backbones start from the classifiers that were trained on one modality each. The last epoch is
    taken: none is chosen on validation.

    Args:
        images: the image store.
        text_model: model folder of a transformer text classifier; `image_model` of an image classifier.
        fit: row numbers to train on.

    Returns:
        (N, C) float32 class probabilities.

    Raises:
        InputError: a model cannot be used, no product has an image, or the loss is not a number.
    """
    torch.manual_seed(seed)
    network, tokenizer, image = load_joint_network(text_model, image_model, len(products.classes), config)
    network.to(device)
    table = products.table
    keys, places = image_rows(products, np.arange(len(table)))
    if not keys:
        raise InputError(f"fusion {config.name}: no product has an image to train an image backbone on")
    tokens = tokenize(
        tokenizer,
        table["title"].tolist(),
        table["description"].tolist(),
        max_tokens=tokenizer.model_max_length,
    )
    store = ImageStore(images)
    with ImageCache(store, keys, image.resize, fit=image.fit, place="auto", device=device) as cache:
        inputs = _Inputs(tokens, cache, places, image)
        _fit(network, inputs, products.labels, fit, config, seed)
        return _predict(network, inputs, config)


def _fit(
    network: JointNetwork,
    inputs: _Inputs,
    labels: np.ndarray,
    fit: np.ndarray,
    config: ConcatConfig,
    seed: int,
) -> None:
    device = inputs.cache.device
    optimizer = _optimizer(network, config)
    per_epoch = -(-len(fit) // config.batch_size)
    schedule = LambdaLR(optimizer, lambda step: _rate(step, config.epochs * per_epoch))
    network.train()
    for epoch in range(config.epochs):
        order = np.random.default_rng([seed, epoch]).permutation(fit)
        losses = []
        for rows, images, with_image in inputs.batches(np.array_split(order, per_epoch)):
            pixels = _augmented(inputs.image, images, uniforms(seed, epoch, rows, DRAWS).to(device))
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                logits = network(make_batch(network.encoder, inputs.tokens, rows, device), pixels, with_image)
            loss = cross_entropy(logits, torch.from_numpy(labels[rows]).to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        mean = float(torch.stack(losses).mean())
        if not math.isfinite(mean):
            raise InputError(
                f"fusion {config.name}: the loss is {mean} in epoch {epoch + 1}: lower learning_rate "
                f"({config.learning_rate:g}) or backbone_learning_rate ({config.backbone_learning_rate:g})"
            )
        log.info("%s, epoch %d of %d: loss %.4f", config.name, epoch + 1, config.epochs, mean)


def _optimizer(network: JointNetwork, config: ConcatConfig) -> torch.optim.AdamW:
    backbones = [*network.encoder.parameters(), *network.backbone.parameters()]
    return torch.optim.AdamW(
        [
            {"params": backbones, "lr": config.backbone_learning_rate},
            {"params": list(network.classifier.parameters()), "lr": config.learning_rate},
        ],
        weight_decay=config.weight_decay,
        fused=True,
    )


def _rate(step: int, steps: int) -> float:
    """What learning rates are multiplied by: a linear rise, then a linear fall to 0."""
    rising = max(1, math.ceil(WARMUP * steps))
    return (step + 1) / rising if step < rising else (steps - step) / max(1, steps - rising)


def _augmented(image: ImageInput, images: ImageBatch, draws: Tensor) -> Tensor:
    return augment(
        images, draws, crop=image.crop, rotation=image.rotation, flip=image.flip, padding=image.padding
    )


@torch.inference_mode()
def _predict(network: JointNetwork, inputs: _Inputs, config: ConcatConfig) -> np.ndarray:
    network.eval()
    device = inputs.cache.device
    by_length = np.argsort(inputs.tokens.lengths, kind="stable")
    chunks = np.array_split(by_length, -(-len(by_length) // (2 * config.batch_size)))
    found = []
    for rows, images, with_image in inputs.batches(chunks):
        texts = make_batch(network.encoder, inputs.tokens, rows, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = network(texts, centre_crop(images, inputs.image.crop), with_image)
        found.append(logits.softmax(1).cpu())
    pred_probs = np.empty((len(by_length), found[0].shape[1]), np.float32)
    pred_probs[by_length] = torch.cat(found).numpy()
    return pred_probs
