"""The usual step of a training: gradients by autograd, one update of an optimizer of torch's."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from components.modeling.memory import MemoryLimit

SCALER = "scaler."


class OptimizerStep:
    """One update of a model's weights by a batch.

    Args:
        backward: batch -> its mean loss, (), with the gradients left in the model's parameters.
        optimizer: see `set_learning_rate`.
        max_grad_norm: gradients are scaled down to this norm together; 0 leaves them.
        scaler: by which `backward` scales its loss; see `loss_scaler`.
        limit: says what to do where the device's memory runs out.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        backward: Callable[[Any], Tensor],
        *,
        max_grad_norm: float = 0.0,
        scaler: GradScaler | None = None,
        limit: MemoryLimit | None = None,
    ) -> None:
        self.model, self.optimizer, self.backward = model.train(), optimizer, backward
        self.max_grad_norm, self.limit = max_grad_norm, limit
        self.scaler = scaler or GradScaler(enabled=False)

    def __call__(self, batch: Any, learning_rate: float) -> Tensor:
        set_learning_rate(self.optimizer, learning_rate)
        with self.limit.explained() if self.limit else nullcontext():
            return self._take(batch)

    def _take(self, batch: Any) -> Tensor:
        loss = self.backward(batch)
        if self.max_grad_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.max_grad_norm)
        self.scaler.step(self.optimizer)  # or not, where a scaled gradient is not a number
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def state_dict(self) -> dict[str, Tensor]:
        weights = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        scale = {SCALER + name: torch.tensor(value) for name, value in self.scaler.state_dict().items()}
        return weights | scale | flatten_optimizer(self.optimizer)

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        prefix = "model."
        self.model.load_state_dict(
            {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        )
        scale = {key.removeprefix(SCALER): t.item() for key, t in tensors.items() if key.startswith(SCALER)}
        if scale:
            self.scaler.load_state_dict(scale)
        restore_optimizer(self.optimizer, tensors)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets every group to `rate`, or to so many times it as its key "scale" says; tensors stay."""
    for group in optimizer.param_groups:
        scaled = rate * group.get("scale", 1.0)
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(scaled)
        else:
            group["lr"] = scaled


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """An optimizer's state as named tensors: `optimizer.<parameter number>.<name>`."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{number}.{name}": torch.as_tensor(value)
        for number, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Puts back what `flatten_optimizer` took, laid out in memory as the parameters are.

    Learning rates are the schedule's business.
    """
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimizer."):
            _, number, name = key.split(".", 2)
            state.setdefault(int(number), {})[name] = tensor
    whole = optimizer.state_dict()
    optimizer.load_state_dict({"state": state, "param_groups": whole["param_groups"]})
    # A file knows no strides, and fused kernels read a parameter and its state in step.
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
