"""Class probabilities and pooled features of products from their images."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from components.core.configuration import restored_config
from components.data.image_store import ImageStore, found_images
from components.data.top_classes import PredProbs, concatenated, in_form
from components.image.kinds.network import NetworkConfig, TrainingStage
from components.image.network import PlainNetwork, build_network
from components.modeling.growing_matrix import GrowingMatrix
from components.modeling.image.augmentation import center_crop
from components.modeling.image.cache import ImageCache
from components.modeling.precision import autocast
from components.modeling.trained import Predicted, predict_in_parts, read_model

GPU_PIXELS = 256 * 224 * 224  # of a batch, which a GPU takes little longer for than for a smaller one


@dataclass(frozen=True)
class ImageNetwork:
    """The network that a stage left.

    Attributes:
        prior: (C,) the probabilities of a product without an image.
    """

    network: PlainNetwork
    stage: TrainingStage
    prior: np.ndarray

    def predict(self, store: ImageStore, keys: Sequence[str | None]) -> Predicted:
        """Probabilities and features of the products of some keys; None, or one unknown: without an image."""
        fit, device = self.network.config.fit, next(self.network.parameters()).device

        def predicted(part: slice) -> Predicted:
            found, places = found_images(store, keys[part])
            with ImageCache(store, found, self.stage.resize, fit=fit, place="stream", device=device) as cache:
                return Predicted(*predict(self.network, self.stage, cache, places, self.prior))

        return predict_in_parts(predicted, len(keys))


def load_network(folder: Path, *, device: torch.device) -> ImageNetwork:
    """Reads what `train_network` left, or one of its further checkpoints."""
    settings, tensors = read_model(folder)
    config, prior = restored_config(NetworkConfig, settings, where=str(folder)), tensors.pop("prior").numpy()
    stage = next(stage for stage in config.stages() if stage.kind == settings["stage"])
    network = build_network(config, stage, prior, settings["of_hub"])
    network.load_state_dict(tensors)
    return ImageNetwork(network.to(device).eval(), stage, prior)


def predict(
    network: PlainNetwork,
    stage: TrainingStage,
    cache: ImageCache,
    images: np.ndarray,
    prior: np.ndarray,
    *,
    pause: Callable[[], None] = lambda: None,
) -> tuple[PredProbs, np.ndarray]:
    """Predicts products by the center crop of their image, without randomness.

    Args:
        images: (N,) positions in the cache; -1 for a product without an image.
        prior: (C,) the probabilities of a product without an image.
        pause: called after every batch; it may save and leave.

    Returns:
        Probabilities (N, C) and pooled features (N, D), float32; features of a product without an
        image are zero.
    """
    distinct, slot = np.unique(images[images >= 0], return_inverse=True)
    features = np.zeros((len(images), network.backbone.width), np.float32)
    training, found, pooled = network.training, GrowingMatrix(), []
    network.eval()
    try:
        with torch.inference_mode():
            for probs, values in _predict_batches(network, stage, cache, distinct):
                found.append(probs)
                pooled.append(values)
                pause()
    finally:
        network.train(training)
    without = in_form(prior.astype(np.float32)[None])
    if not pooled:
        return without[np.zeros(len(images), np.int64)], features
    features[images >= 0] = torch.cat(pooled).cpu().numpy()[slot]
    place = np.zeros(len(images), np.int64)
    place[images >= 0] = 1 + slot
    return concatenated([without, found.matrix()])[place], features


def _predict_batches(
    network: PlainNetwork, stage: TrainingStage, cache: ImageCache, images: np.ndarray
) -> Iterator[tuple[Tensor, Tensor]]:
    on_gpu, size = cache.device.type == "cuda", 2 * stage.batch_size
    if on_gpu:
        size = max(size, GPU_PIXELS // math.prod(stage.crop))
    chunks = [images[start : start + size] for start in range(0, len(images), size)]
    # A compiled network knows batches of one size; the rest of the last is not looked at.
    filled = (np.resize(chunk, size) if on_gpu else chunk for chunk in chunks)
    for chunk, batch in zip(chunks, cache.batches(filled), strict=True):
        with autocast(cache.device):
            logits, pooled = network.predict(center_crop(batch, stage.crop))
            probs = logits.double().softmax(1)
        # Left on the device: a copy would make the host wait, and the GPU after it.
        yield probs.float()[: len(chunk)], pooled[: len(chunk)]
