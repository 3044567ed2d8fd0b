"""The color classifier: histograms of an image's colors and a small net on them.

It needs no weights and no GPU and trains in seconds. What tells products apart by color alone a network
on pixels learns slowly, so it is a classifier to put beside one, as TF-IDF is beside a transformer.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from components.data.image_store import ImageStore, found_images
from components.data.products import Products, Task, image_rows
from components.image.kinds.color_histogram import ColorHistogramConfig
from components.modeling.device import choose_device, device_name
from components.modeling.feature_classifier import FeatureClassifier, train_on_features
from components.modeling.feature_config import GPU_ROWS
from components.modeling.image.color_histogram import describe_all
from components.modeling.light_net import LightNet, fit_light_net
from components.modeling.trained import (
    Predicted,
    Trained,
    TrainingSetup,
    predict_in_parts,
    read_model,
    write_models,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ColorHistogram:
    """A fitted classifier."""

    classifier: FeatureClassifier
    net: LightNet

    def predict(self, store: ImageStore, keys: Sequence[str | None]) -> Predicted:
        """Probabilities and features of the products of some keys; None, or one unknown: without an image."""

        def predicted(part: slice) -> Predicted:
            colors, known = _colors(store, *found_images(store, keys[part]))
            pred_probs = self.classifier.predict(colors, known)
            return Predicted(pred_probs, self.net.outputs(colors)[1].numpy() * known[:, None])

        return predict_in_parts(predicted, len(keys))


def load_color_histogram(folder: Path, *, device: torch.device) -> ColorHistogram:
    """Reads what `train_color_histogram` left."""
    _, tensors = read_model(folder)
    classifier = FeatureClassifier.restored(tensors, device)
    assert isinstance(classifier.model, LightNet)
    return ColorHistogram(classifier, classifier.model)


def _colors(store: ImageStore, keys: list[str], index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colors (N, D) float32 of the images `keys[index]`, zeros without one, and (N,) who has one."""
    described, known = describe_all(store, keys).numpy(), index >= 0
    colors = np.zeros((len(index), described.shape[1]), np.float32)
    colors[known] = described[index[known]]
    return colors, known


def train_color_histogram(
    products: Products, store: ImageStore, task: Task, config: ColorHistogramConfig, setup: TrainingSetup
) -> Trained:
    """Trains on `task.fit` and predicts `task.predict`; without an image, the class frequencies.

    The pooled features are the hidden layer.

    Raises:
        InputError: fewer than two products to train on have an image, or one cannot be decoded.
    """
    start, name = time.perf_counter(), f"classifier {config.name}"
    keys, index = image_rows(products, np.arange(len(products.table)))
    features, known = _colors(store, keys, index)
    log.info("%s: colors of %s images counted", config.name, f"{len(keys):,}")
    device = choose_device(config.accelerator, enough=known[task.fit].sum().item() >= GPU_ROWS)

    def fit(inputs: np.ndarray, rows: np.ndarray) -> LightNet:
        labels, classes = products.labels[rows], len(products.classes)
        return fit_light_net(inputs, labels, classes, config, name=name, seed=setup.seed, device=device)

    matrices, classifiers = train_on_features(
        features, known, products, task, fit, refit=config.refit, name=name
    )
    models = [classifier.tensors() for classifier in classifiers]
    write_models(setup.model, models, products.classes, config.model_dump())
    net = classifiers[0].model
    hidden = None
    if isinstance(net, LightNet) and not task.of_fold:
        hidden = net.outputs(features)[1].numpy() * known[:, None]
    metrics = {"training_seconds": time.perf_counter() - start, **classifiers[0].metrics}
    return Trained({"final": matrices}, hidden, metrics, device=device_name(device))
