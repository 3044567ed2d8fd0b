"""Feature-level fusion, the baseline that lost (section 3.3.1): whose backbones, and what is made of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

import numpy as np
import torch

from components.core.artifacts import write_manifest
from components.core.configuration import restored_config
from components.data.probabilities import Classifier
from components.data.products import Task, training_task
from components.fusion.classifiers import model_folder, write_fused
from components.fusion.config import FUSION_KINDS, GPU_FEATURES, FeatureLevelConfig
from components.fusion.feature_level.features import (
    Pooled,
    StepByStep,
    load_step_by_step,
    train_feature_level,
)
from components.fusion.feature_level.inputs import FeatureLevelData
from components.modeling.device import choose_device, device_name
from components.modeling.metrics import macro_f1
from components.modeling.trained import read_model, write_model

# Imported where it is used: it alone needs transformers and timm, which take four CPU seconds to import.
if TYPE_CHECKING:
    from components.fusion.feature_level.joint_training import EndToEnd


@dataclass(frozen=True)
class FeatureFused:
    """What a feature-level classifier makes of the products.

    Attributes:
        inputs: the classifiers whose backbones it reads; none where it reads the products themselves.
        splits: split -> (N, C) float32 class probabilities, in the order of the table's rows.
        device: what it was trained on.
    """

    inputs: list[str]
    splits: dict[str, np.ndarray]
    device: torch.device


def fuse_features(
    configs: Sequence[FeatureLevelConfig], data: FeatureLevelData, folder: Path
) -> list[Classifier]:
    """Trains every configured classifier on the train split and writes it.

    The `fit` of a feature-level kind takes a configuration and the data, writes the model and returns a
    `FeatureFused`, or None where the catalog is too small for it. Its `load` takes the folder and a device,
    and returns what has `predict(table, store, features)`, which gives a `Predicted`: of a table with title,
    description and image (a key or None), an `ImageStore`, and pooled features by the name of a classifier.

    Args:
        data: its `model` is the folder of all of them.
        folder: to write, one classifier folder a configuration.

    Returns:
        Those that the catalog is large enough for; their metadata hold their macro-F1 on validation.
    """
    table, made = data.products, []
    truth = table.labels[table.rows("validation")]
    for number, config in enumerate(configs):
        own = replace(data, model=data.model / model_folder("feature_level", len(made)))
        fused: FeatureFused | None = FUSION_KINDS.of(config).load_fit()(config, own)
        if fused is None:
            continue
        predicted = fused.splits["validation"].argmax(axis=1)
        metadata = {
            "config": config.model_dump(),
            "inputs": fused.inputs,
            "seed": data.seed,
            "device": device_name(fused.device),
            "macro_f1": macro_f1(truth, predicted, len(table.classes)),
        }
        made.append(write_fused(folder, number, config.name, fused.splits, metadata, table))
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(folder, seed=data.seed)
    return made


def fit_pooled(config: Pooled, data: FeatureLevelData) -> FeatureFused:
    """A classifier on the pooled features of the best text and the best image classifier.

    Raises:
        InputError: none of a modality has features, or a backbone to train on.
    """
    task = training_task(data.products, fold=None, cleaned=False)
    match config.training:
        case "step_by_step":
            enough = len(task.fit) >= GPU_FEATURES
            device = choose_device(config.accelerator, enough=enough)
            inputs, pred_probs = _fit_step_by_step(config, data, task, device)
        case "end_to_end":
            device = choose_device(config.accelerator)
            inputs, pred_probs = _fit_end_to_end(config, data, task, device)
        case _:
            assert_never(config.training)
    splits = {split: pred_probs[rows] for split, rows in task.predict.items()}
    return FeatureFused(inputs, splits, device)


def _fit_step_by_step(
    config: Pooled, data: FeatureLevelData, task: Task, device: torch.device
) -> tuple[list[str], np.ndarray]:
    """Trains on the features of the best pair, and on those of each pair that is the best on some others."""
    table = data.products
    (text, texts), (image, images) = data.text.best_features(table), data.image.best_features(table)
    elsewhere = list(zip(text.elsewhere, image.elsewhere, strict=True))
    fitted = {
        (one, other): train_feature_level(
            texts[one],
            images[other],
            table.labels,
            task.fit,
            config,
            classes=len(table.classes),
            seed=data.seed,
            device=device,
        )
        for one, other in sorted({(text.name, image.name), *elsewhere})
    }
    best = fitted[text.name, image.name]
    settings = {**config.model_dump(), "inputs": list(best.inputs)}
    write_model(data.model, best.tensors(), table.classes, settings)
    predicted = {
        (one, other): each.of_features(texts[one].values, images[other].values)
        for (one, other), each in fitted.items()
    }
    pred_probs = predicted[text.name, image.name].copy()
    for row, pair in zip(task.predict["validation"].tolist(), elsewhere, strict=True):
        pred_probs[row] = predicted[pair][row]
    return list(best.inputs), pred_probs


def _fit_end_to_end(
    config: Pooled, data: FeatureLevelData, task: Task, device: torch.device
) -> tuple[list[str], np.ndarray]:
    from components.fusion.feature_level.joint_training import train_end_to_end

    (text, text_model), (image, image_model) = (
        data.text.best_model(data.products),
        data.image.best_model(data.products),
    )
    fitted, pred_probs = train_end_to_end(
        data.products,
        data.images,
        text_model,
        image_model,
        task.fit,
        config,
        seed=data.seed,
        device=device,
    )
    fitted.save(data.model, data.products.classes, [text, image])
    return [text, image], pred_probs


def load_pooled(folder: Path, *, device: torch.device) -> "StepByStep | EndToEnd":
    """Reads what `fit_pooled` left."""
    settings, tensors = read_model(folder)
    kind: Any = FUSION_KINDS.kinds()[settings["kind"]].config
    config = restored_config(kind, settings, where=str(folder))
    if config.training == "step_by_step":
        return load_step_by_step(settings, tensors, config, device)
    from components.fusion.feature_level.joint_training import load_end_to_end

    return load_end_to_end(folder, settings, tensors, config, device)
