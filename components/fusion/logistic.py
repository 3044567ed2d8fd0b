"""Regularised logistic regression on log-probabilities: the stacking that beats the paper's nets.

The classifier starts from the weighted product of its inputs, softmax(sum of w_m log p_m), and learns how
to deviate from it: softmax(sum of w_m log p_m + x A + b), x all log-probabilities side by side, with a
ridge on A and b. Few rows, or noisy ones, choose a strong ridge, which leaves the product of the inputs;
many rows choose a weak one, which is multinomial stacking (Wolpert 1992; Ting and Witten 1999).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from components.fusion.threads import one_thread

# Smaller probabilities say no more than "not this class"; their logarithms would only add noise.
SMALLEST = 1e-5


@dataclass(frozen=True)
class Stacked:
    """A fitted fusion: `weights` (V,) of the product, `deviation` (V * C + 1, C), the last row the bias."""

    weights: np.ndarray
    deviation: np.ndarray

    def predict(self, pred_probs: np.ndarray) -> np.ndarray:
        """(V, N, C) probabilities of the inputs -> (N, C) float32."""
        logs = to_logs(pred_probs)
        logits = _product(logs, torch.from_numpy(self.weights)) + _columns(logs) @ torch.from_numpy(
            self.deviation
        )
        return logits.softmax(-1).float().numpy()


@one_thread()
def fit_path(pred_probs: np.ndarray, labels: np.ndarray, strengths: Sequence[float]) -> list[Stacked]:
    """Fits one classifier a ridge strength, from the strongest on, each starting from the one before.

    Args:
        pred_probs: (V, N, C) probabilities of V inputs.
        labels: (N,) classes.
        strengths: of the ridge, in rows: the loss is the summed cross-entropy plus half the strength
            times the squared deviation; infinity for the product of the inputs alone. Descending.
    """
    logs, targets = to_logs(pred_probs), torch.from_numpy(labels)
    weights = _fit_weights(logs, targets)
    offset, columns = _product(logs, weights), _columns(logs)
    # The curvature of the cross-entropy is bounded by that of this quadratic (Boehning 1992).
    curvature = columns.T @ columns / 4
    deviation = torch.zeros(columns.shape[1], logs.shape[2], dtype=torch.float64)
    path = []
    for strength in strengths:
        if np.isfinite(strength):
            deviation = _fit_deviation(columns, offset, targets, curvature, strength, deviation)
        path.append(Stacked(weights.numpy(), deviation.numpy()))
    return path


def _fit_weights(logs: Tensor, targets: Tensor) -> Tensor:
    equal = torch.full((len(logs),), 1 / len(logs), dtype=torch.float64)

    def loss(weights: Tensor) -> Tensor:
        fit = cross_entropy(_product(logs, weights), targets, reduction="sum")
        return fit + 0.5 * (weights - equal).square().sum()

    return minimise(loss, equal, rows=len(targets))


def _fit_deviation(
    columns: Tensor, offset: Tensor, targets: Tensor, curvature: Tensor, strength: float, start: Tensor
) -> Tensor:
    # In the coordinates of the bounding quadratic all directions are about equally steep.
    ridge = strength * torch.eye(len(curvature), dtype=torch.float64)
    factor = torch.linalg.cholesky(curvature + ridge)
    whitened = torch.linalg.solve_triangular(factor, columns.T, upper=False).T

    def loss(rotated: Tensor) -> Tensor:
        deviation = torch.linalg.solve_triangular(factor.T, rotated, upper=True)
        fit = cross_entropy(offset + whitened @ rotated, targets, reduction="sum")
        return fit + 0.5 * strength * deviation.square().sum()

    rotated = minimise(loss, factor.T @ start, rows=len(targets))
    return torch.linalg.solve_triangular(factor.T, rotated, upper=True)


def minimise(loss: Callable[[Tensor], Tensor], start: Tensor, *, rows: int) -> Tensor:
    """Where a smooth, convex loss, summed over `rows` rows, is least: shaped as `start`."""
    parameter = start.clone().requires_grad_()
    # Losses are sums over rows: a millionth of a nat a row is more precise than any choice made by them.
    optimizer = torch.optim.LBFGS(
        [parameter],
        max_iter=300,
        tolerance_grad=1e-2,
        tolerance_change=1e-6 * rows,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(parameter)
        value.backward()
        return value

    optimizer.step(closure)
    return parameter.detach()


def to_logs(pred_probs: np.ndarray) -> Tensor:
    """Logarithms of probabilities of any shape, none below that of SMALLEST, float64."""
    return torch.from_numpy(pred_probs.astype(np.float64)).clamp(min=SMALLEST).log()


def _product(logs: Tensor, weights: Tensor) -> Tensor:
    return torch.tensordot(weights, logs, dims=1)


def _columns(logs: Tensor) -> Tensor:
    """(V, N, C) -> (N, V * C + 1), the last column ones."""
    side_by_side = logs.transpose(0, 1).flatten(1)
    return torch.cat([side_by_side, side_by_side.new_ones(len(side_by_side), 1)], dim=1)
