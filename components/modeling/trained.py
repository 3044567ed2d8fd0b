"""What a training of a classifier is given, and what it leaves behind: matrices, features, and its model."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file, save_file
from torch import Tensor

from components.core.artifacts import read_manifest, whole_file, write_json, write_manifest
from components.core.reading import read_json, reading
from components.data.features import Features, write_features
from components.data.folds import fold_folder
from components.data.probabilities import Classifier, Probabilities, write_classifier
from components.data.products import Products, Task
from components.data.top_classes import PredProbs, concatenated, in_form
from components.modeling.metrics import macro_f1

TENSORS, SETTINGS = "model.safetensors", "config.json"
REFIT = "refit"  # the folder in a classifier's, of what was fitted again on train and validation
ENCODER = "encoder"  # the folder in a classifier's, of the network that it reads features from
PREDICTED_AT_ONCE = 4096  # products


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
        matrices: checkpoint -> split -> (rows of the split, C) float32 class probabilities, whole or in part,
            in the order of `Task.predict`; the first checkpoint is the chosen one.
        features: (N, D) float32 pooled features of all N products; None for a fold's training.
        metrics: scalars for the pipelines UI: finite, named in plain words.
        curves: one mapping an epoch: "epoch", "loss", "macro_f1", "learning_rate", "seconds", ...
        delete_checkpoints: deletes the training's checkpoints; called once all is written, so that what fails
            before finds them again.
        device: what it was trained on, in words.
    """

    matrices: dict[str, dict[str, Any]]
    features: np.ndarray | None
    metrics: dict[str, float]
    curves: list[dict[str, float]] = field(default_factory=list)
    delete_checkpoints: Callable[[], None] | None = None
    device: str = "CPU"


@dataclass(frozen=True)
class Predicted:
    """What a fitted classifier makes of some products.

    Attributes:
        pred_probs: (N, C) float32, in the order of the catalog's classes; of many classes it may be in part.
        pooled: what `features` is, or makes it where that takes work of its own.
    """

    pred_probs: Any
    pooled: np.ndarray | Callable[[], np.ndarray] | None = None

    @cached_property
    def features(self) -> np.ndarray | None:
        """Pooled features (N, D) float32; None where it has none."""
        return self.pooled() if callable(self.pooled) else self.pooled


def predict_in_parts(predict: Callable[[slice], Predicted], count: int) -> Predicted:
    """Predicts `count` products, so many at a time that memory does not depend on their number."""
    starts = range(0, max(count, 1), PREDICTED_AT_ONCE)
    asked = (predict(slice(start, start + PREDICTED_AT_ONCE)) for start in starts)
    parts = [replace(part, pred_probs=in_form(part.pred_probs)) for part in asked]
    features = [part.features for part in parts if part.features is not None]
    pred_probs = concatenated([part.pred_probs for part in parts])
    return Predicted(pred_probs, np.concatenate(features) if features else None)


def write_model(
    folder: Path, tensors: Mapping[str, Tensor], classes: Sequence[str], settings: Mapping[str, Any]
) -> None:
    """Writes model.safetensors, config.json and the manifest of all that lies in the folder.

    Args:
        settings: the configuration; its `name` is the classifier's, its `kind` says what reads the folder.
    """
    found = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with whole_file(folder / TENSORS) as temporary:
        save_file(found, temporary)
    write_json(folder / SETTINGS, {**settings, "classes": list(classes)})
    write_manifest(folder, name=settings["name"], kind=settings["kind"])


def write_models(
    folder: Path,
    fitted: Sequence[Mapping[str, Tensor]],
    classes: Sequence[str],
    settings: Mapping[str, Any],
) -> None:
    """`write_model` of what was fitted on train, and into `folder/refit` of what was fitted again."""
    parts = [(folder, fitted[0]), *((folder / REFIT, tensors) for tensors in fitted[1:])]
    for part, tensors in reversed(parts):  # the folder's manifest lists the refit's files
        write_model(part, tensors, classes, settings)


def read_model(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The settings and the tensors that `write_model` wrote; see `Registry.load` for the files' check.

    Raises:
        InputError: a file is not what it should be.
    """
    settings = read_json(folder / SETTINGS, "a model's settings")
    with reading(folder / TENSORS, "a safetensors file"):
        return settings, load_file(folder / TENSORS)


def encoder_folder(folder: Path) -> Path:
    """Where the encoder of a classifier on features lies: a refitted one has that of the folder around it.

    Raises:
        InputError: that folder is damaged.
    """
    if not (folder / ENCODER).is_dir() and folder.name == REFIT:
        folder = folder.parent
        read_manifest(folder)
    return folder / ENCODER


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
    known = metadata | _training_of(trained)
    classifier = _classifier(trained.matrices, products, task, name, modality, known)
    write_classifier(probabilities, classifier)
    kept = np.zeros((len(products.ids), 0), np.float32) if trained.features is None else trained.features
    write_features(features, Features(name, products.ids, kept))
    if trained.delete_checkpoints is not None:
        trained.delete_checkpoints()
    return classifier


def write_folds(
    trained: Iterable[Trained],
    products: Products,
    tasks: Mapping[int, Task],
    *,
    name: str,
    modality: str,
    metadata: dict[str, Any],
    probabilities: Path,
    features: Path,
) -> Classifier:
    """Writes the classifiers of several folds, each into its `fold_folder`, and features that are empty.

    Args:
        trained: of each fold, in the order of `tasks`.

    Returns:
        All of them as one, whose matrix holds the out-of-fold rows of every fold and is scored as a whole.
    """
    found, seconds = [], 0.0
    for (fold, task), each in zip(tasks.items(), trained, strict=True):
        known = metadata | _training_of(each) | {"fold": fold}
        part = _classifier(each.matrices, products, task, name, modality, known)
        write_classifier(fold_folder(probabilities, fold), part)
        found.append(in_form(part.chosen("out_of_fold", products.ids[task.predict["out_of_fold"]])))
        seconds += each.metrics["seconds"]
    metadata = metadata | {"folds": list(tasks)}
    write_manifest(probabilities, name=name, modality=modality, metadata=metadata)
    write_features(features, Features(name, products.ids, np.zeros((len(products.ids), 0), np.float32)))
    rows = np.concatenate([task.predict["out_of_fold"] for task in tasks.values()])
    matrices = {"final": {"out_of_fold": concatenated(found)}}
    metadata["metrics"] = {"seconds": seconds}
    return _classifier(matrices, products, Task(rows, {"out_of_fold": rows}), name, modality, metadata)


def _training_of(trained: Trained) -> dict[str, Any]:
    return {"metrics": dict(trained.metrics), "curves": trained.curves, "device": trained.device}


def _classifier(
    matrices: Mapping[str, Mapping[str, PredProbs]],
    products: Products,
    task: Task,
    name: str,
    modality: str,
    metadata: dict[str, Any],
) -> Classifier:
    """Names the rows of matrices, and adds the macro-F1 of the first to the metrics."""
    found = {
        checkpoint: {
            split: Probabilities(products.ids[task.predict[split]], products.classes, values)
            for split, values in splits.items()
        }
        for checkpoint, splits in matrices.items()
    }
    chosen = next(iter(matrices.values()))
    for split in ("validation", "out_of_fold"):
        if split in chosen:
            truth, predicted = products.labels[task.predict[split]], chosen[split].argmax(axis=1)
            metadata["metrics"]["macro_f1"] = macro_f1(truth, predicted, len(products.classes))
    return Classifier(name, modality, found, metadata)
