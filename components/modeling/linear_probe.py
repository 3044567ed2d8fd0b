"""Logistic regression on features as they are: a linear probe (Alain and Bengio, arXiv:1610.01644)."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from components.modeling.cross_fitting import cross_fit, stratified_folds
from components.modeling.metrics import LEAST_CHOOSING, log_loss
from components.modeling.ridge import bounding_curvature, fit_ridge

log = logging.getLogger(__name__)

FOLDS = 5  # in which the strength of the penalty is chosen
CHOSEN_ON = 4000  # rows at most: the best strength hardly depends on their number


@dataclass(frozen=True)
class LinearProbe:
    """A fitted probe: logits are `(features - center) / spread @ weights + bias`.

    Attributes:
        center: (D,) means of the features.
        spread: the root of their mean squared distance from it, one for all: features that hardly vary
            stay small.
        weights: (D, C).
        bias: (C,), minus infinity for a class that it has not seen.
        log_losses: strength of the penalty -> out-of-fold log-loss of it on the rows to fit.
    """

    center: np.ndarray
    spread: float
    weights: np.ndarray
    bias: np.ndarray
    log_losses: dict[float, float]

    def predict(self, features: np.ndarray) -> np.ndarray:
        """(N, D) to probabilities (N, C), float32."""
        logits = (features - self.center) / self.spread @ self.weights + self.bias
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)

    def tensors(self) -> dict[str, torch.Tensor]:
        """What `predict` reads, by name."""
        arrays = {"center": self.center, "weights": self.weights, "bias": self.bias}
        return {
            "spread": torch.tensor(self.spread),
            **{name: torch.from_numpy(array) for name, array in arrays.items()},
        }

    @classmethod
    def restored(cls, tensors: Mapping[str, torch.Tensor]) -> "LinearProbe":
        """The probe whose `tensors` these are."""
        center, weights, bias = (tensors[name].numpy() for name in ("center", "weights", "bias"))
        return cls(center, tensors["spread"].item(), weights, bias, {})


def fit_probe(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    *,
    l2: Sequence[float],
    groups: np.ndarray,
    seed: int,
) -> LinearProbe:
    """Fits a probe, its penalty chosen by the log-loss of cross-fitting on the same rows.

    Args:
        features: (N, D) float32.
        labels: (N,) classes, all of which need not occur.
        l2: strengths of the penalty to choose from, in rows: 1/C of scikit-learn's.
        groups: (N,) products that share a text or an image share a group.
        seed: of the folds.
    """
    log_losses = _log_losses(features, labels, classes, l2, groups, seed) if len(l2) > 1 else {}
    best = min(log_losses, key=log_losses.__getitem__, default=max(l2))
    [probe] = _fit(features, labels, classes, [best])
    return replace(probe, log_losses=log_losses)


def _log_losses(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    l2: Sequence[float],
    groups: np.ndarray,
    seed: int,
) -> dict[float, float]:
    chosen = np.random.default_rng(seed).permutation(len(labels))[:CHOSEN_ON]
    features, labels, groups = features[chosen], labels[chosen], groups[chosen]
    folds = min(FOLDS, int(np.bincount(labels).max()), len(np.unique(groups)))
    if folds < 2:
        return {}
    fold_of = stratified_folds(labels, folds=folds, seed=seed, groups=groups)
    pred_probs, _ = cross_fit(
        lambda rows: _fit(features[rows], labels[rows], classes, l2),
        lambda probes, rows: np.stack([probe.predict(features[rows]) for probe in probes], axis=1),
        fold_of,
    )
    found = {
        strength: log_loss(labels, pred_probs[:, place], least=LEAST_CHOOSING)
        for place, strength in enumerate(l2)
    }
    log.info("out-of-fold log-loss by l2: %s", ", ".join(f"{k:g}: {v:.4f}" for k, v in found.items()))
    return found


def _fit(features: np.ndarray, labels: np.ndarray, classes: int, l2: Sequence[float]) -> list[LinearProbe]:
    """One probe a strength of the penalty."""
    center = features.mean(axis=0)
    spread = float(np.sqrt(np.square(features - center).sum(axis=1).mean())) or 1.0
    scaled = torch.from_numpy((features - center) / spread)
    columns = torch.cat([scaled, scaled.new_ones(len(scaled), 1)], dim=1)
    seen, targets = np.unique(labels, return_inverse=True)
    zero, curvature = columns.new_zeros(columns.shape[1], len(seen)), bounding_curvature(columns)
    penalized = columns.new_ones(columns.shape[1])
    penalized[-1] = 0  # the bias
    probes = []
    for strength in l2:
        fitted = fit_ridge(columns, torch.from_numpy(targets), curvature, strength * penalized, zero, zero)
        weights = np.zeros((features.shape[1], classes), np.float32)
        bias = np.full(classes, -np.inf, np.float32)
        weights[:, seen], bias[seen] = fitted[:-1].numpy(), fitted[-1].numpy()
        probes.append(LinearProbe(center, spread, weights, bias, {}))
    return probes
