"""The frozen text classifier: a pretrained encoder's pooled features, and a classifier on them."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from components.core.configuration import restored_config
from components.data.products import Products, Task
from components.modeling.device import choose_device, device_name
from components.modeling.feature_classifier import FeatureClassifier, feature_fit, train_on_features
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
from components.text.embedding import TextEmbedder
from components.text.encoder import check_max_tokens
from components.text.kinds.frozen import FrozenTextConfig
from components.text.weights import find_weights


@dataclass(frozen=True)
class FrozenText:
    """A fitted classifier, and the encoder that makes its features."""

    embedder: TextEmbedder
    classifier: FeatureClassifier

    def predict(self, table: pd.DataFrame) -> Predicted:
        """Probabilities and features of the products of a table with titles and descriptions."""

        def predict(part: slice) -> Predicted:
            features = self.embedder.features(table.iloc[part], keep=False)
            return Predicted(self.classifier.predict(features, np.ones(len(features), bool)), features)

        return predict_in_parts(predict, len(table))


def load_frozen(folder: Path, *, device: torch.device) -> FrozenText:
    """Reads what `train_frozen` left."""
    settings, tensors = read_model(folder)
    config = restored_config(FrozenTextConfig, settings, where=str(folder))
    encoder = encoder_folder(folder)
    embedder = TextEmbedder.load(encoder, max_tokens=config.max_tokens, device=device)
    return FrozenText(embedder, FeatureClassifier.restored(tensors, device))


def train_frozen(products: Products, task: Task, config: FrozenTextConfig, setup: TrainingSetup) -> Trained:
    """Trains on `task.fit` and predicts `task.predict`.

    Raises:
        InputError: the weights cannot be had, must not be opened, or pool in a way of their own.
    """
    start = time.perf_counter()
    rows = np.union1d(task.fit, task.predicted(products))
    device = choose_device(config.accelerator)
    folder = find_weights(config.weights, revision=config.revision or None)
    embedder = TextEmbedder.load(folder, max_tokens=config.max_tokens, device=device)
    check_max_tokens(embedder.model, config)
    embedded = embedder.features(products.table.iloc[rows], keep=True)
    features = np.zeros((len(products.table), embedded.shape[1]), np.float32)
    features[rows] = embedded
    known = np.ones(len(features), dtype=bool)
    name = f"classifier {config.name}"
    fit = feature_fit(products, config, name=name, seed=setup.seed)
    matrices, classifiers = train_on_features(
        features, known, products, task, fit, refit=config.refit, name=name
    )
    embedder.save(setup.model / ENCODER)
    models = [classifier.tensors() for classifier in classifiers]
    write_models(setup.model, models, products.classes, config.model_dump())
    metrics = {"training_seconds": time.perf_counter() - start, **classifiers[0].metrics}
    return Trained(
        {"final": matrices}, None if task.of_fold else features, metrics, device=device_name(device)
    )
