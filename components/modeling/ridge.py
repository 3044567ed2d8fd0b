"""Multinomial logistic regression with a ridge on its weights, in few steps to its optimum."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def bounding_curvature(columns: Tensor) -> Tensor:
    """(D, D) of the quadratic that bounds the curvature of the cross-entropy (Boehning 1992).

    Args:
        columns: (N, D) inputs.
    """
    return columns.T @ columns / 4


def fit_ridge(
    columns: Tensor, targets: Tensor, curvature: Tensor, penalty: Tensor, start: Tensor, center: Tensor
) -> Tensor:
    """The weights (D, C) of least summed cross-entropy plus half the penalty of the squared distances.

    Args:
        columns: (N, D) inputs.
        targets: (N,) classes.
        curvature: see `bounding_curvature`.
        penalty: (D,), each input's.
        start: (D, C).
        center: (D, C), from which distances are taken.
    """
    # In the coordinates of the bounding quadratic all directions are about equally steep.
    factor = torch.linalg.cholesky((curvature + penalty.diag()).double()).to(columns.dtype)
    whitened = torch.linalg.solve_triangular(factor, columns.T, upper=False).T

    def loss(rotated: Tensor) -> Tensor:
        weights = torch.linalg.solve_triangular(factor.T, rotated, upper=True)
        fit = cross_entropy(whitened @ rotated, targets, reduction="sum")
        return fit + 0.5 * (penalty @ (weights - center).square()).sum()

    rotated = minimize(loss, factor.T @ start, rows=len(targets))
    return torch.linalg.solve_triangular(factor.T, rotated, upper=True)


def minimize(loss: Callable[[Tensor], Tensor], start: Tensor, *, rows: int) -> Tensor:
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
