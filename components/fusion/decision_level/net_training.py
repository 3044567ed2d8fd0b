"""Training of the fusion nets: every net of every member and fold walks through the same batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from components.fusion.decision_level.net_stack import NetStack
from components.fusion.decision_level.nets import Net, TrainedNet
from components.fusion.decision_level.threads import one_thread


@dataclass(frozen=True)
class Schedule:
    """Adam's schedule (paper, section 4.1; the batch size is the text classifier's).

    Attributes:
        learning_rate: Adam's.
        epochs: passes over the rows.
        batch_size: rows that a net sees a step, on average.
    """

    learning_rate: float = 0.01
    epochs: int = 40
    batch_size: int = 64


@one_thread()
def train_nets(
    pred_probs: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    nets: Sequence[Net],
    *,
    schedule: Schedule,
    seed: int,
    device: torch.device,
) -> list[TrainedNet]:
    """Trains every net once a fold on the rows of the other folds, all together.

    Args:
        pred_probs: (V, N, C) float32 probabilities of V classifiers.
        labels: (N,) classes.
        folds: (N,) fold of every row, 0..K-1, none empty.
    """
    shapes = sorted({(len(net.inputs), net.hidden) for net in nets})
    alike = [[net for net in nets if (len(net.inputs), net.hidden) == shape] for shape in shapes]
    stacks = [
        NetStack(
            group,
            pred_probs,
            labels,
            folds,
            seed=seed,
            learning_rate=schedule.learning_rate,
            device=device,
        )
        for group in alike
    ]
    ends = batch_ends(folds, schedule.batch_size)
    for epoch in range(schedule.epochs):
        order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(len(labels))).to(device)
        for stack in stacks:
            stack.train_epoch(order, ends)
    trained = {net.name: result for stack in stacks for net, result in stack.results()}
    return [trained[net.name] for net in nets]


def batch_ends(folds: np.ndarray, batch_size: int) -> list[int]:
    """Where the batches of an epoch end.

    A net skips its held-out rows: batches are so much larger that it sees `batch_size` rows a step.
    """
    fitted = len(folds) - len(folds) // (int(folds.max()) + 1)
    parts = np.array_split(np.arange(len(folds)), -(-fitted // batch_size))
    return np.cumsum([len(part) for part in parts]).tolist()
