"""What follows the steps and epochs of a training: averages, predictions, the best epoch."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from components.data.top_classes import PredProbs, TopClasses, matrix_tensors, replaced
from components.modeling.cross_fitting import choosing_rows
from components.modeling.metrics import log_loss, macro_f1
from components.modeling.processes import process_rank
from components.modeling.training import Callback, TrainingLoop


class Average(Callback):
    """An exponential moving average of a model's weights, in `average.module`."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = model
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))

    def on_batch_end(self, loop: TrainingLoop) -> None:
        self.average.update_parameters(self.model)

    def state_dict(self) -> dict[str, Tensor]:
        return self.average.state_dict()

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        self.average.load_state_dict(tensors)


class EpochEvaluation(Callback):
    """Scores every epoch on a split, and keeps what the newest epochs make of all splits.

    Args:
        predict: split -> (rows of the split, C) class probabilities, whole or in part.
        labels: split -> the labels of its rows. Every epoch is scored on validation, but none of a fold's
            training, where nothing may be chosen by a score.
        keeps: epoch, counted from 1 -> whether its probabilities may be wanted.
        newest: so many epochs are kept.
        folds: (N,) of validation, in which the choice of an epoch is cross-fitted; None where none is chosen.

    Attributes:
        kept: epoch -> split -> probabilities, oldest epoch first.
        out_of_fold: (N, C) every validation row at the epoch that is the best on the other folds, the first
            of equals; empty as long as none was scored. At the best epoch of all they would flatter it.
    """

    def __init__(
        self,
        predict: Callable[[str], PredProbs],
        labels: Mapping[str, np.ndarray],
        *,
        keeps: Callable[[int], bool],
        newest: int,
        folds: np.ndarray | None = None,
    ) -> None:
        self.predict, self.labels, self.keeps, self.newest = predict, labels, keeps, newest
        self.folds = folds
        self.scores: list[float] = []  # the best so far on the rows that choose for each fold
        self.out_of_fold: PredProbs = np.empty((0, 0), np.float32)
        self.scored = "" if "out_of_fold" in labels else "validation"
        self.kept: dict[int, dict[str, PredProbs]] = {}

    def on_epoch_end(self, loop: TrainingLoop, curve: dict[str, float]) -> None:
        epoch = int(curve["epoch"])
        keep = self.keeps(epoch)
        found = {split: self.predict(split) for split in self.labels if keep or split == self.scored}
        if self.scored in found:
            pred_probs, labels = found[self.scored], self.labels[self.scored]
            curve["validation_loss"] = log_loss(labels, pred_probs)
            curve["macro_f1"] = macro_f1(labels, pred_probs.argmax(axis=1), pred_probs.shape[1])
            self._choose(pred_probs, labels)
        if keep:
            self.kept[epoch] = found
            self.kept = dict(sorted(self.kept.items())[-self.newest :])

    def _choose(self, pred_probs: PredProbs, labels: np.ndarray) -> None:
        if self.folds is None:
            return
        choosing = choosing_rows(self.folds)
        if not self.scores:
            self.scores, self.out_of_fold = [-1.0] * len(choosing), pred_probs
        for fold, rows in enumerate(choosing):
            score = macro_f1(labels[rows], pred_probs[rows].argmax(axis=1), pred_probs.shape[1])
            if score > self.scores[fold]:
                self.scores[fold] = score
                here = self.folds == fold
                self.out_of_fold = replaced(self.out_of_fold, here, pred_probs[here])

    def state_dict(self) -> dict[str, Tensor]:
        chosen = {"scores": torch.tensor(self.scores, dtype=torch.float64)}
        chosen |= _tensors("out_of_fold", self.out_of_fold)
        kept = {
            name: tensor
            for epoch, splits in self.kept.items()
            for split, pred_probs in splits.items()
            for name, tensor in _tensors(f"{epoch}.{split}", pred_probs).items()
        }
        return (chosen if self.scores else {}) | kept

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        tensors = dict(tensors)
        if "scores" in tensors:
            self.scores = tensors.pop("scores").tolist()
        matrices = _matrices(tensors)
        self.out_of_fold = matrices.pop("out_of_fold", self.out_of_fold)
        for name, pred_probs in matrices.items():
            epoch, split = name.split(".")
            self.kept.setdefault(int(epoch), {})[split] = pred_probs
        self.kept = dict(sorted(self.kept.items()))


class BestEpoch(Callback):
    """Keeps the weights of the epoch with the best macro-F1.

    Args:
        model: what is evaluated.

    Attributes:
        weights: a copy on the CPU; empty as long as no epoch had a macro-F1.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.weights: dict[str, Tensor] = {}

    def on_epoch_end(self, loop: TrainingLoop, curve: dict[str, float]) -> None:
        if best_epoch([*loop.curves, curve]) == curve["epoch"]:
            self.weights = copied_weights(self.model)

    def state_dict(self) -> dict[str, Tensor]:
        return self.weights

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        self.weights = tensors


class LateWeights(Callback):
    """Keeps the weights of the newest epochs, in the first of the processes that train together.

    Args:
        model: what is evaluated.
        keeps: epoch, counted from 1 -> whether its weights may be wanted.
        newest: so many epochs are kept.

    Attributes:
        kept: epoch -> a copy on the CPU, oldest epoch first.
    """

    def __init__(self, model: nn.Module, *, keeps: Callable[[int], bool], newest: int) -> None:
        self.model, self.keeps, self.newest = model, keeps, newest
        self.kept: dict[int, dict[str, Tensor]] = {}

    def on_epoch_end(self, loop: TrainingLoop, curve: dict[str, float]) -> None:
        if process_rank() == 0 and self.keeps(epoch := int(curve["epoch"])):
            self.kept[epoch] = copied_weights(self.model)
            self.kept = dict(sorted(self.kept.items())[-self.newest :])

    def state_dict(self) -> dict[str, Tensor]:
        return {
            f"{epoch}.{name}": tensor for epoch, state in self.kept.items() for name, tensor in state.items()
        }

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        for key, tensor in tensors.items():
            epoch, _, name = key.partition(".")
            self.kept.setdefault(int(epoch), {})[name] = tensor
        self.kept = dict(sorted(self.kept.items()))


def _tensors(name: str, pred_probs: PredProbs) -> dict[str, Tensor]:
    """A matrix as a checkpoint has it: under its name, or of many classes its parts below the name."""
    if not isinstance(pred_probs, TopClasses):
        return {name: torch.from_numpy(pred_probs)}
    parts = {**matrix_tensors(pred_probs), "classes": np.array(pred_probs.classes)}
    return {f"{name}.{part}": torch.from_numpy(values) for part, values in parts.items()}


def _matrices(tensors: Mapping[str, Tensor]) -> dict[str, PredProbs]:
    """The matrices whose `_tensors` these are, by name."""
    found: dict[str, PredProbs] = {}
    for key, tensor in tensors.items():
        name, _, part = key.rpartition(".")
        if part == "kept":
            values, classes = tensors[f"{name}.values"].numpy(), int(tensors[f"{name}.classes"])
            found[name] = TopClasses(tensor.numpy(), values, classes)
        elif part not in ("values", "classes"):
            found[key] = tensor.numpy()
    return found


def copied_weights(model: nn.Module) -> dict[str, Tensor]:
    """A model's state, copied to the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def best_epoch(curves: list[dict[str, float]]) -> int | None:
    """The first epoch with the highest macro-F1, counted from 1; None where none was scored."""
    scored = [curve for curve in curves if "macro_f1" in curve]
    return int(max(scored, key=lambda curve: curve["macro_f1"])["epoch"]) if scored else None
