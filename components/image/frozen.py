"""The frozen image classifier: a pretrained backbone's pooled features, and a classifier on them."""

import time

import numpy as np

from components.data.image_store import ImageStore
from components.data.products import Products, Task, image_rows
from components.image.embedding import embed_images, load_backbone, save_backbone
from components.image.kinds.frozen import FrozenImageConfig
from components.modeling.device import choose_device, device_name
from components.modeling.feature_classifier import feature_fit, train_on_features
from components.modeling.trained import Trained, TrainingSetup, write_model


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
    features = np.zeros((len(index), backbone.width), np.float32)
    if keys:
        embedded = embed_images(backbone, store, keys, fit=config.fit, device=device)
        features[index >= 0] = embedded[index[index >= 0]]
    name = f"classifier {config.name}"
    fit = feature_fit(products, config, name=name, seed=setup.seed)
    matrices, classifiers = train_on_features(
        features, index >= 0, products, task, fit, refit=config.refit, name=name
    )
    save_backbone(backbone, setup.model / "encoder")
    # Without the key "backbone", by which end-to-end fusion knows a network that goes on training.
    settings = {**config.model_dump(exclude={"backbone"}), "frozen_backbone": backbone.name}
    write_model(setup.model, classifiers[-1].tensors(), products, settings)
    metrics = {"training_seconds": time.perf_counter() - start, **classifiers[0].metrics}
    return Trained(
        {"final": matrices}, None if task.of_fold else features, metrics, device=device_name(device)
    )
