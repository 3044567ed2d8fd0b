"""The training of the light nets: AdamW in one cycle of the learning rate, in seconds and never resumed."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from components.modeling.precision import subnormals_as_zero
from components.modeling.schedules import one_cycle
from components.modeling.step import OptimizerStep
from components.modeling.training import TrainingLoop, TrainingPlan


@dataclass(frozen=True)
class OneCycle:
    """How long and how fast a net is trained.

    Attributes:
        epochs: passes over the products.
        min_steps: a small catalog gets as many epochs as these optimizer steps take.
        batch_size: products a step.
        learning_rate: AdamW's at its highest.
        weight_decay: AdamW's.
    """

    epochs: int
    min_steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float


def train_one_cycle(
    net: nn.Module,
    fit: np.ndarray,
    loss_of: Callable[[np.ndarray], Tensor],
    settings: OneCycle,
    *,
    name: str,
    seed: int,
) -> float:
    """Trains the net in whole batches of shuffled rows (Smith and Topin 2017, "Super-Convergence").

    Args:
        fit: row numbers to train on.
        loss_of: row numbers of a batch -> their mean loss.
        name: what is trained, for messages.
        seed: of the order.

    Returns:
        The mean loss of the last epoch.

    Raises:
        InputError: a loss is not a number.
    """
    size = min(settings.batch_size, len(fit))
    epoch_steps = len(fit) // size
    epochs = max(settings.epochs, math.ceil(settings.min_steps / epoch_steps))
    steps, peak = epochs * epoch_steps, settings.learning_rate
    optimizer = torch.optim.AdamW(net.parameters(), lr=peak, weight_decay=settings.weight_decay, fused=True)
    taken = itertools.count()

    def backward(rows: np.ndarray) -> Tensor:
        momentum = one_cycle(next(taken), steps, low=0.95, peak=0.85, end=0.95)
        optimizer.param_groups[0]["betas"] = (momentum, 0.999)
        loss = loss_of(rows)
        loss.backward()
        return loss

    def learning_rate(step: int) -> float:
        return one_cycle(step, steps, low=peak / 25, peak=peak, end=peak / 25 / 1e4)

    random = np.random.default_rng(seed)
    loop = TrainingLoop(
        OptimizerStep(net, optimizer, backward), TrainingPlan(name, epochs, epoch_steps, learning_rate)
    )
    # One thread, so that all of it takes such numbers for 0, whichever threads there are already.
    with threadpool_limits(1), subnormals_as_zero():
        loop.run(lambda *_: np.split(random.permutation(fit)[: epoch_steps * size], epoch_steps))
    return loop.curves[-1]["loss"]
