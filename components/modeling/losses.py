"""The losses of a training's steps, read from the device in bunches."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from components.core.errors import InputError

CHECK_STEPS = {"cpu": 1, "cuda": 50}  # steps between two readings: each makes the host wait for a GPU


def read_losses(
    unread: list[Tensor],
    *,
    step: int,
    epoch_steps: int,
    learning_rate: Callable[[int], float],
    training: str,
    reduce: Callable[[Tensor], Tensor] = lambda losses: losses,
) -> list[float]:
    """Takes the newest losses off `unread`, the last one that of the step before `step`.

    Args:
        learning_rate: the rate of a step, for the message.
        training: what trains, for the message.
        reduce: applied to the losses (n,) on their device; several processes take their mean.

    Raises:
        InputError: a loss is not a number; names the step and the learning rate.
    """
    if not unread:
        return []
    values = reduce(torch.stack(unread)).tolist()
    unread.clear()
    for number, value in enumerate(values, start=step - len(values)):
        if not math.isfinite(value):
            raise InputError(
                f"{training}: the loss is {value} at step {number} (epoch {number // epoch_steps + 1}) with "
                f"learning rate {learning_rate(number):.3g}: lower learning_rate, or lengthen a warm-up"
            )
    return values
