"""The frozen image classifier: a pretrained backbone's pooled features, and a classifier on them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from components.data.image_store import ImageStore, found_images
from components.data.products import Products, Task, image_rows
from components.image.embedding import embed_images, load_backbone, save_backbone
from components.image.kinds.frozen import FrozenImageConfig
from components.modeling.device import choose_device, device_name
from components.modeling.feature_classifier import FeatureClassifier, feature_fit, train_on_features
from components.modeling.image.backbones import Backbone
from components.modeling.trained import (
    ENCODER,
    Predicted,
    Trained,
    TrainingSetup,
    encoder_folder,
    predict_in_parts,
    read_model,
    write_models,
)


@dataclass(frozen=True)
class FrozenImage:
    """A fitted classifier, and the backbone that makes its features.

    Attributes:
        fit: what is done to an image of another aspect, see `decode`.
    """

    backbone: Backbone
    classifier: FeatureClassifier
    fit: str
    device: torch.device

    def predict(self, store: ImageStore, keys: Sequence[str | None]) -> Predicted:
        """Probabilities and features of the products of some keys; None, or one unknown: without an image."""

        def predicted(part: slice) -> Predicted:
            found, index = found_images(store, keys[part])
            features = _features(self.backbone, store, found, index, self.fit, self.device, keep=False)
            return Predicted(self.classifier.predict(features, index >= 0), features)

        return predict_in_parts(predicted, len(keys))


def load_frozen(folder: Path, *, device: torch.device) -> FrozenImage:
    """Reads what `train_frozen` left."""
    settings, tensors = read_model(folder)
    height, width = settings["size"]
    name, weights, of_hub = settings["frozen_backbone"], str(encoder_folder(folder)), settings["of_hub"]
    backbone = load_backbone(name, weights, (height, width), of_hub)
    return FrozenImage(backbone, FeatureClassifier.restored(tensors, device), settings["fit"], device)


def _features(
    backbone: Backbone,
    store: ImageStore,
    keys: list[str],
    index: np.ndarray,
    fit: str,
    device: torch.device,
    *,
    keep: bool,
) -> np.ndarray:
    """(N, W) float32, zeros without an image, of products whose image is `keys[index]`."""
    features = np.zeros((len(index), backbone.width), np.float32)
    if keys:
        embedded = embed_images(backbone, store, keys, fit=fit, device=device, keep=keep)
        features[index >= 0] = embedded[index[index >= 0]]
    return features


def train_frozen(
    products: Products, store: ImageStore, task: Task, config: FrozenImageConfig, setup: TrainingSetup
) -> Trained:
    """Trains on `task.fit` and predicts `task.predict`; without an image, the class frequencies.

    Raises:
        InputError: no such backbone or weights, an image cannot be decoded, or fewer than two products to
            train on have an image.
    """
    start = time.perf_counter()
    backbone = load_backbone(config.backbone, config.weights, config.size)
    keys, index = image_rows(products, np.union1d(task.fit, task.predicted(products)))
    device = choose_device(config.accelerator)
    features = _features(backbone, store, keys, index, config.fit, device, keep=True)
    name = f"classifier {config.name}"
    fit = feature_fit(products, config, name=name, seed=setup.seed)
    matrices, classifiers = train_on_features(
        features, index >= 0, products, task, fit, refit=config.refit, name=name
    )
    save_backbone(backbone, setup.model / ENCODER)
    # Without the key "backbone", by which end-to-end fusion knows a network that goes on training.
    made_of = {"frozen_backbone": backbone.name, "of_hub": backbone.of_hub}
    settings = {**config.model_dump(exclude={"backbone"}), **made_of}
    models = [classifier.tensors() for classifier in classifiers]
    write_models(setup.model, models, products.classes, settings)
    metrics = {"training_seconds": time.perf_counter() - start, **classifiers[0].metrics}
    return Trained(
        {"final": matrices}, None if task.of_fold else features, metrics, device=device_name(device)
    )
