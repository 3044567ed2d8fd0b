"""What a training of a text or image classifier is given, and what it leaves behind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file
from torch import Tensor

from components.core.artifacts import whole_file, write_json, write_manifest
from components.data.features import Features, write_features
from components.data.probabilities import Classifier, Probabilities, write_classifier
from components.data.products import Products, Task
from components.modeling.metrics import macro_f1


@dataclass(frozen=True)
class TrainingSetup:
    """What a training is given beside its products and its configuration.

    Attributes:
        seed: of every random draw.
        model: folder that receives the model.
        checkpoints: folder that outlives an attempt, from which a killed training goes on; None saves none.
        gpus: how many the task asked for and has; 0 on a CPU.
    """

    seed: int
    model: Path
    checkpoints: Path | None = None
    gpus: int = 0


@dataclass(frozen=True)
class Trained:
    """A trained classifier's evaluation of the products.

    Attributes:
        matrices: checkpoint -> split -> (rows of the split, C) float32 class probabilities, in the
            order of `Task.predict`; the first checkpoint is the chosen one.
        features: (N, D) float32 pooled features of all N products; None for a fold's training.
        metrics: scalars for the pipelines UI: finite, named in plain words.
        curves: one mapping an epoch: "epoch", "loss", "macro_f1", "learning_rate", "seconds", ...
        delete_checkpoints: deletes the training's checkpoints; called once all is written, so that what fails
            before finds them again.
        device: what it was trained on, in words.
    """

    matrices: dict[str, dict[str, np.ndarray]]
    features: np.ndarray | None
    metrics: dict[str, float]
    curves: list[dict[str, float]] = field(default_factory=list)
    delete_checkpoints: Callable[[], None] | None = None
    device: str = "CPU"


def write_model(
    folder: Path, tensors: Mapping[str, Tensor], products: Products, settings: Mapping[str, Any]
) -> None:
    """Writes model.safetensors, config.json and the manifest of all that lies in the folder.

    Args:
        settings: the configuration; its `name` is the classifier's.
    """
    found = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with whole_file(folder / "model.safetensors") as temporary:
        save_file(found, temporary)
    write_json(folder / "config.json", {**settings, "classes": list(products.classes)})
    write_manifest(folder, name=settings["name"])


def write_trained(
    trained: Trained,
    products: Products,
    task: Task,
    *,
    name: str,
    modality: str,
    metadata: dict[str, Any],
    probabilities: Path,
    features: Path,
) -> Classifier:
    """Writes the classifier's matrices and features, and scores the chosen checkpoint where it can.

    Then the training's own checkpoints go.

    Returns:
        The classifier. Its metadata hold the training's curves and metrics, with `macro_f1` of the chosen
        checkpoint on validation (or out of fold).

    Raises:
        InputError: a matrix or the features break their rules (NaN, rows that do not sum to 1).
    """
    ids, labels = products.ids, products.labels
    matrices = {
        checkpoint: {
            split: Probabilities(ids[task.predict[split]], products.classes, values)
            for split, values in splits.items()
        }
        for checkpoint, splits in trained.matrices.items()
    }
    metrics = dict(trained.metrics)
    chosen = next(iter(trained.matrices.values()))
    for split in ("validation", "out_of_fold"):
        if split in chosen:
            truth = labels[task.predict[split]]
            metrics["macro_f1"] = macro_f1(truth, chosen[split].argmax(axis=1), len(products.classes))
    metadata = {**metadata, "metrics": metrics, "curves": trained.curves, "device": trained.device}
    classifier = Classifier(name, modality, matrices, metadata)
    write_classifier(probabilities, classifier)
    kept = np.zeros((len(ids), 0), np.float32) if trained.features is None else trained.features
    write_features(features, Features(name, ids, kept))
    if trained.delete_checkpoints is not None:
        trained.delete_checkpoints()
    return classifier
