"""The color classifier: histograms of an image's colors and a small net on them.

It needs no weights and no GPU and trains in seconds. What tells products apart by color alone a network
on pixels learns slowly, so it is a classifier to put beside one, as TF-IDF is beside a transformer.
"""

import logging
import time

import numpy as np

from components.data.image_store import ImageStore
from components.data.products import Products, Task, image_rows
from components.image.kinds.color_histogram import ColorHistogramConfig
from components.modeling.device import choose_device, device_name
from components.modeling.feature_classifier import train_on_features
from components.modeling.feature_config import GPU_ROWS
from components.modeling.image.color_histogram import describe_all
from components.modeling.light_net import LightNet, fit_light_net
from components.modeling.trained import Trained, TrainingSetup, write_model

log = logging.getLogger(__name__)


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
    known = index >= 0
    described = describe_all(store, keys).numpy()
    features = np.zeros((len(index), described.shape[1]), np.float32)
    features[known] = described[index[known]]
    log.info("%s: colors of %s images counted", config.name, f"{len(keys):,}")
    device = choose_device(config.accelerator, enough=known[task.fit].sum().item() >= GPU_ROWS)

    def fit(inputs: np.ndarray, rows: np.ndarray) -> LightNet:
        labels, classes = products.labels[rows], len(products.classes)
        return fit_light_net(inputs, labels, classes, config, name=name, seed=setup.seed, device=device)

    matrices, classifiers = train_on_features(
        features, known, products, task, fit, refit=config.refit, name=name
    )
    write_model(setup.model, classifiers[-1].tensors(), products, config.model_dump())
    net = classifiers[0].model
    hidden = None
    if isinstance(net, LightNet) and not task.of_fold:
        hidden = net.outputs(features)[1].numpy() * known[:, None]
    metrics = {"training_seconds": time.perf_counter() - start, **classifiers[0].metrics}
    return Trained({"final": matrices}, hidden, metrics, device=device_name(device))
