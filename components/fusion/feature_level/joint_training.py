"""Training of feature-level fusion end to end: texts and images through both backbones (section 3.3.1)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from components.core.errors import InputError
from components.data.image_store import ImageStore
from components.data.products import Products, image_rows
from components.fusion.feature_level.features import WEIGHT_DECAY, Pooled
from components.fusion.feature_level.joint import ImageInput, JointNetwork, load_joint_network
from components.modeling.image.augmentation import UNIFORMS, ImageBatch, augment, center_crop, uniforms
from components.modeling.image.cache import ImageCache
from components.modeling.schedules import linear
from components.modeling.step import OptimizerStep
from components.modeling.text.packing import make_batch
from components.modeling.text.tokens import Tokens, tokenize
from components.modeling.training import Plan, TrainingLoop

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
    config: Pooled,
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
    config: Pooled,
    seed: int,
) -> None:
    device = inputs.cache.device
    epoch_steps = -(-len(fit) // config.batch_size)
    steps = config.epochs * epoch_steps

    def batches(epoch: int, _first: int) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
        order = np.random.default_rng([seed, epoch]).permutation(fit)
        for rows, images, with_image in inputs.batches(np.array_split(order, epoch_steps)):
            draws = uniforms(seed, epoch, rows, UNIFORMS).to(device)
            yield rows, _augmented(inputs.image, images, draws), with_image

    def backward(batch: tuple[np.ndarray, Tensor, Tensor]) -> Tensor:
        rows, pixels, with_image = batch
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = network(make_batch(network.encoder, inputs.tokens, rows, device), pixels, with_image)
        loss = cross_entropy(logits, torch.from_numpy(labels[rows]).to(device))
        loss.backward()
        return loss

    def learning_rate(step: int) -> float:
        return linear(step, steps, peak=config.learning_rate, warmup=WARMUP)

    step = OptimizerStep(network, _optimizer(network, config), backward)
    plan = Plan(f"fusion {config.name}", config.epochs, epoch_steps, learning_rate)
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
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = network(texts, center_crop(images, inputs.image.crop), with_image)
        found.append(logits.softmax(1).cpu())
    pred_probs = np.empty((len(by_length), found[0].shape[1]), np.float32)
    pred_probs[by_length] = torch.cat(found).numpy()
    return pred_probs
