"""Linear layers on a CPU by oneDNN, in float32: half the time of torch's own where that is not an Intel.

torch multiplies float32 matrices by MKL, which takes a slower path on other makers' processors
(https://github.com/pytorch/builder/issues/504); oneDNN, which torch carries too, compiles its kernels for
whatever the processor can do. Products are equal but for the order of their sums.
"""

from typing import Any

import torch
from torch import Tensor, nn


def use_onednn(model: nn.Module) -> None:
    """Makes every linear layer of `model` use oneDNN while it is on a CPU; its weights stay as they are."""
    if torch.backends.mkldnn.is_available():
        for layer in model.modules():
            if type(layer) is nn.Linear:
                layer.__class__ = OneDnnLinear


class OneDnnLinear(nn.Linear):
    """`nn.Linear`, multiplied by oneDNN where inputs are float32 on a CPU."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        if inputs.device.type != "cpu" or inputs.dtype != torch.float32:
            return super().forward(inputs)
        rows = _Product.apply(inputs.flatten(0, -2), self.weight, self.bias)
        return rows.unflatten(0, inputs.shape[:-1])  # type: ignore[union-attr]


class _Product(torch.autograd.Function):
    """rows @ weight.T + bias; (N, I), (O, I), (O,) to (N, O)."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows, weight)
        return _multiply(rows, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        rows, weight = ctx.saved_tensors
        for_rows, for_weight, for_bias = ctx.needs_input_grad
        return (
            _multiply(gradient, weight.t()) if for_rows else None,
            _weight_gradient(rows, gradient) if for_weight else None,
            gradient.sum(0) if for_bias else None,
        )


def _weight_gradient(rows: Tensor, gradient: Tensor) -> Tensor:
    # oneDNN is a third faster where the product has fewer rows than columns.
    if gradient.shape[1] > rows.shape[1]:
        return _multiply(rows.t(), gradient.t()).t()
    return _multiply(gradient.t(), rows.t())


def _multiply(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    # The product that torch.compile puts in place of a linear layer: left @ right.T + bias.
    return torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], "")
