"""Fitted members of the decision level: what predicts, and what they leave to be read again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from safetensors.numpy import load_file

from components.core.reading import reading
from components.data.stacks import Stack
from components.data.top_classes import PredProbs, in_form
from components.fusion.decision_level.logistic import Stacked
from components.fusion.decision_level.nets import TrainedNet, predict_folds
from components.fusion.decision_level.product import ProductRule
from components.fusion.decision_level.structured import Structured
from components.modeling.cross_fitting import weighted_mean
from components.modeling.trained import TENSORS
from components.modeling.voting import majority_vote, voted_probabilities


class Fit(Protocol):
    """What was fitted on some rows: a dataclass of arrays and numbers."""

    def predict(self, values: np.ndarray, kept: Any = None, /) -> np.ndarray:
        """Values (V, N, K) of a member's own classifiers, as `Stack` has them -> (N, K) float32."""
        ...


@dataclass(frozen=True)
class Mean:
    """A weighted mean: `weights` (V,), which sum to 1."""

    weights: np.ndarray

    def predict(self, values: np.ndarray, kept: np.ndarray | None = None) -> np.ndarray:
        """Values (V, N, K) of the classifiers, as `Stack` has them -> (N, K) float32."""
        return weighted_mean(values, self.weights)


@dataclass(frozen=True)
class CrossFitted:
    """A member that is fitted once a fold, and again on all rows.

    Attributes:
        refit: by all rows.
        of_folds: by the rows outside each fold.
    """

    refit: Any
    of_folds: Sequence[Any]

    def predict(self, pred_probs: np.ndarray | Sequence[PredProbs], fold: int | None = None) -> PredProbs:
        """V matrices (N, C) of its classifiers -> (N, C) float32; a fold by the fit without it."""
        fit: Fit = self.refit if fold is None else self.of_folds[fold]
        if isinstance(fit, Stacked):  # packages of earlier releases have one however many classes there are
            return fit.predict(np.asarray(pred_probs))
        # As the fusion read them: of many classes the most probable ones of each row.
        stack = Stack.of([in_form(one) for one in pred_probs])
        return stack.matrix(fit.predict(stack.values, stack.kept))

    def tensors(self) -> dict[str, np.ndarray]:
        """Each field's values, the refit's first, then one a fold."""
        fits = [vars(fit) for fit in (self.refit, *self.of_folds)]
        return {name: np.stack([fit[name] for fit in fits]) for name in fits[0]}


@dataclass(frozen=True)
class VotingNets:
    """The nets of all folds, which vote.

    Attributes:
        layers: see `TrainedNet`; `held_out_layers` likewise.
    """

    layers: Sequence[np.ndarray]
    held_out_layers: Sequence[np.ndarray]

    def predict(self, pred_probs: np.ndarray | Sequence[PredProbs], fold: int | None = None) -> np.ndarray:
        """V matrices (N, C) of its classifiers -> (N, C) float32; a fold by the net without it."""
        pred_probs = np.asarray(pred_probs)
        if fold is not None:
            return predict_folds([layer[fold : fold + 1] for layer in self.held_out_layers], pred_probs)[0]
        votes = predict_folds(self.layers, pred_probs)
        return voted_probabilities(votes, majority_vote(votes)[0])


def net_tensors(trained: TrainedNet) -> dict[str, np.ndarray]:
    """What `load_nets` reads."""
    both = {"layers": trained.layers, "held_out_layers": trained.held_out_layers}
    return {f"{name}.{i}": layer for name, layers in both.items() for i, layer in enumerate(layers)}


def load_nets(folder: Path) -> VotingNets | CrossFitted:
    """Reads the nets of a member, or what stands for them where there are many classes."""
    tensors = _tensors(folder)
    if "own" in tensors:
        return _load_fits(Structured, folder)

    def layers(name: str) -> list[np.ndarray]:
        return [tensors[key] for key in sorted(tensors) if key.startswith(f"{name}.")]

    return VotingNets(layers("layers"), layers("held_out_layers"))


def load_logistic(folder: Path) -> CrossFitted:
    """Reads the logistic regressions of a member."""
    return _load_fits(Structured if "own" in _tensors(folder) else Stacked, folder)


def load_mean(folder: Path) -> CrossFitted:
    """Reads the weighted means of a member."""
    return _load_fits(Mean, folder)


def load_product(folder: Path) -> CrossFitted:
    """Reads the products of a member."""
    return _load_fits(ProductRule, folder)


def _load_fits(kind: Callable[..., Any], folder: Path) -> CrossFitted:
    tensors = _tensors(folder)
    refit, *of_folds = (
        kind(**{name: values[row] for name, values in tensors.items()})
        for row in range(len(next(iter(tensors.values()))))
    )
    return CrossFitted(refit, of_folds)


def _tensors(folder: Path) -> dict[str, np.ndarray]:
    with reading(folder / TENSORS, "a safetensors file"):
        return load_file(folder / TENSORS)
