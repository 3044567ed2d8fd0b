"""The training of the light nets: AdamW in one cycle of the learning rate."""

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn


class OneCycle(Protocol):
    """How long and how fast a net is trained.

    Attributes:
        epochs: passes over the products.
        min_steps: a small catalog gets as many epochs as these optimizer steps take.
        batch_size: products a step.
        learning_rate: AdamW's at its highest.
        weight_decay: AdamW's.
    """

    @property
    def epochs(self) -> int: ...
    @property
    def min_steps(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...


def train_one_cycle(
    net: nn.Module,
    fit: np.ndarray,
    loss_of: Callable[[np.ndarray], Tensor],
    settings: OneCycle,
    *,
    seed: int,
) -> float:
    """Trains the net in whole batches of shuffled rows (Smith and Topin 2017, "Super-Convergence").

    Args:
        fit: row numbers to train on.
        loss_of: row numbers of a batch -> their mean loss.
        seed: of the order.

    Returns:
        The mean loss of the last epoch.
    """
    size = min(settings.batch_size, len(fit))
    epoch_steps = len(fit) // size
    epochs = max(settings.epochs, math.ceil(settings.min_steps / epoch_steps))
    optimizer = torch.optim.AdamW(
        net.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=epochs * epoch_steps, pct_start=0.2
    )
    random = np.random.default_rng(seed)
    losses: list[float] = []
    net.train()
    for _ in range(epochs):
        order = random.permutation(fit)[: epoch_steps * size]
        losses = []
        for rows in np.split(order, epoch_steps):
            loss = loss_of(rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    return float(np.mean(losses))
