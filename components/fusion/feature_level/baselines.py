"""Feature-level fusion, the baseline that lost (section 3.3.1): whose backbones, and what is made of them."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from components.core.errors import InputError
from components.data.features import Features, read_features
from components.data.products import Products, training_task
from components.fusion.classifiers import Input, best_on_validation, write_fused
from components.fusion.config import ConcatConfig, FeatureLevelConfig, LightConfig
from components.fusion.feature_level.features import train_feature_level
from components.fusion.feature_level.joint import joint_models
from components.fusion.feature_level.joint_training import train_end_to_end
from components.fusion.feature_level.light import train_light
from components.modeling.metrics import macro_f1

log = logging.getLogger(__name__)

# How a classifier comes to have features.
FEATURES = {
    "text": 'set "features" of a linear one above 0 in --param text_configs',
    "image": "give its features",
}


@dataclass(frozen=True)
class Modality:
    """What the classifiers of one modality leave for feature-level fusion.

    Attributes:
        name: "text" or "image".
        inputs: their probabilities.
        features: files of pooled features.
        models: model folders.
    """

    name: str
    inputs: list[Input]
    features: list[Path]
    models: list[Path]

    def best_features(self, table: Products) -> Features:
        """The features of the best classifier on validation, aligned to the table's rows.

        Raises:
            InputError: no classifier has any.
        """
        features = {found.name: found for found in map(read_features, self.features) if found.values.shape[1]}
        name = best_on_validation(self.inputs, features, table)
        if name is None:
            raise InputError(
                f"feature-level fusion: no {self.name} classifier ({self._names()}) is among those with "
                f"features ({', '.join(features) or 'none'}): {FEATURES[self.name]}, or leave out the kinds "
                "concat, sum and attention"
            )
        return Features(name, table.ids, features[name].aligned(table.ids))

    def best_model(self, table: Products) -> tuple[str, Path]:
        """The best classifier on validation of those whose backbone can be trained on, and its model folder.

        Raises:
            InputError: there is none.
        """
        models = joint_models(self.models, {"text": "model_type", "image": "backbone"}[self.name])
        name = best_on_validation(self.inputs, models, table)
        if name is None:
            raise InputError(
                f"feature-level fusion end to end: no {self.name} classifier ({self._names()}) left a "
                f"backbone to train on (those with one: {', '.join(models) or 'none'}); it needs a "
                'transformer for texts and a network for images, or "training": "step_by_step"'
            )
        return name, models[name]

    def _names(self) -> str:
        return ", ".join(name for name, _ in self.inputs) or "none"


def fuse_features(
    table: Products,
    images: Path,
    text: Modality,
    image: Modality,
    configs: Sequence[FeatureLevelConfig],
    folder: Path,
    *,
    seed: int,
    device: torch.device,
) -> list[float]:
    """Trains every configured baseline on the train split and writes it as a classifier.

    Args:
        images: the image store, which only a training on images opens.
        folder: to write, one classifier folder a configuration.

    Returns:
        Their macro-F1 on validation; of those that the catalog is large enough for.
    """
    task = training_task(table, fold=None, cleaned=False)
    truth = table.labels[task.predict["validation"]]
    scores = []
    for number, config in enumerate(configs):
        if isinstance(config, LightConfig):
            if len(task.fit) < config.least:
                log.warning(
                    "%s is left out: %d products to train on, of %d that it wants at least",
                    *(config.name, len(task.fit), config.least),
                )
                continue
            inputs, splits = [], train_light(table, images, config, seed=seed, device=device)
        else:
            train = _train_jointly if config.training == "end_to_end" else _train_on_features
            inputs, pred_probs = train(table, images, text, image, task.fit, config, seed, device)
            splits = {split: pred_probs[rows] for split, rows in task.predict.items()}
        scores.append(macro_f1(truth, splits["validation"].argmax(axis=1), len(table.classes)))
        metadata = {"config": asdict(config), "inputs": inputs, "seed": seed, "macro_f1": scores[-1]}
        write_fused(folder, number, config.name, splits, metadata, table)
    return scores


def _train_on_features(
    table: Products,
    images: Path,
    text: Modality,
    image: Modality,
    fit: np.ndarray,
    config: ConcatConfig,
    seed: int,
    device: torch.device,
) -> tuple[list[str], np.ndarray]:
    texts, pictures = text.best_features(table), image.best_features(table)
    pred_probs = train_feature_level(
        texts.values,
        pictures.values,
        table.labels,
        fit,
        config,
        classes=len(table.classes),
        seed=seed,
        device=device,
    )
    return [texts.name, pictures.name], pred_probs


def _train_jointly(
    table: Products,
    images: Path,
    text: Modality,
    image: Modality,
    fit: np.ndarray,
    config: ConcatConfig,
    seed: int,
    device: torch.device,
) -> tuple[list[str], np.ndarray]:
    (text_classifier, text_model), (image_classifier, image_model) = (
        text.best_model(table),
        image.best_model(table),
    )
    pred_probs = train_end_to_end(
        table, images, text_model, image_model, fit, config, seed=seed, device=device
    )
    return [text_classifier, image_classifier], pred_probs
