"""Regularized logistic regression on log-probabilities: the stacking that beats the paper's nets.

All log-probabilities side by side are the inputs of one multinomial logistic regression with a ridge on
its weights (Wolpert 1992; Ting and Witten 1999). The ridge draws them to the weighted product of the inputs,
softmax(sum of w_m log p_m), which few rows are enough to fit. Left to choose is how strong the ridge is, up
to the product itself; how small a probability still counts, the fit of the product tells.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn.functional import cross_entropy

from components.modeling.ridge import bounding_curvature, fit_ridge, minimize


@dataclass(frozen=True)
class Stacked:
    """A fitted fusion: `weights` (V * C + 1, C), the last row the bias."""

    weights: np.ndarray
    clip_min: float

    def predict(self, pred_probs: np.ndarray, kept: None = None) -> np.ndarray:
        """(V, N, C) probabilities of the inputs -> (N, C) float32."""
        logits = _columns(to_logs(pred_probs, self.clip_min)) @ torch.from_numpy(self.weights).float()
        return logits.softmax(-1).numpy()


@threadpool_limits.wrap(limits=1)
def fit_candidates(
    pred_probs: np.ndarray, labels: np.ndarray, l2: Sequence[float], clip_min: Sequence[float]
) -> list[Stacked]:
    """Fits one classifier for each penalty, each from the one before on.

    Args:
        pred_probs: (V, N, C) probabilities of V inputs.
        labels: (N,) classes.
        l2: strengths of the penalty, in rows, the strongest first: half of it times the squared weights is
            added to the summed cross-entropy, so it is 1/C of scikit-learn's; weights are those that the
            product lacks. Infinity stands for the product itself.
        clip_min: smaller probabilities count as this. That one is taken with which the product fits the rows
            best: it has a weight an input, too few to learn rows by heart.
    """
    targets = torch.from_numpy(labels)
    clipped = [to_logs(pred_probs, clip) for clip in clip_min]
    products = [_fit_product(logs, targets) for logs in clipped]
    number = int(np.argmin([loss for _, loss in products]))
    product, columns = products[number][0], _columns(clipped[number])
    curvature, weights, fitted = bounding_curvature(columns), product, []
    for ridge in l2:
        if np.isfinite(ridge):
            penalty = columns.new_full((len(product),), ridge)
            weights = fit_ridge(columns, targets, curvature, penalty, weights, product)
        fitted.append(Stacked(weights.numpy(), clip_min[number]))
    return fitted


def _fit_product(logs: Tensor, targets: Tensor) -> tuple[Tensor, float]:
    """The weighted product as weights of all log-probabilities, a multiple of one an input; its loss."""
    equal = torch.full((len(logs),), 1 / len(logs))

    def loss(weights: Tensor) -> Tensor:
        fit = cross_entropy(_product(logs, weights), targets, reduction="sum")
        return fit + 0.5 * (weights - equal).square().sum()

    found = minimize(loss, equal, rows=len(targets))
    identity = torch.eye(logs.shape[2])
    weights = [weight * identity for weight in found]
    return torch.cat([*weights, torch.zeros_like(identity[:1])]), loss(found).item()


def to_logs(pred_probs: np.ndarray, clip_min: float) -> Tensor:
    """Logarithms of probabilities of any shape, none below that of `clip_min`, float32."""
    return torch.from_numpy(pred_probs.astype(np.float32)).clamp(min=clip_min).log()


def _product(logs: Tensor, weights: Tensor) -> Tensor:
    return torch.tensordot(weights, logs, dims=1)


def _columns(logs: Tensor) -> Tensor:
    """(V, N, C) -> (N, V * C + 1), the last column ones."""
    side_by_side = logs.transpose(0, 1).flatten(1)
    return torch.cat([side_by_side, side_by_side.new_ones(len(side_by_side), 1)], dim=1)
