"""Training of the fusion nets: all nets of one shape, every fold of each, as one computation.

Training them one after the other costs launches and loaders, not arithmetic. Here all nets walk through the
same shuffled rows, and a net's own held-out rows have no part in its loss. All is float64: Adam divides a
gradient by its own size, so what rounding does to a small one moves a weight as far as a large one would.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn.functional import cross_entropy

from components.fusion.decision_level.nets import Net, TrainedNet, columns, initial_layers, logits_of

HELD_OUT = -100  # the label that `cross_entropy` ignores


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


# Sharing out tiny products among threads costs more than computing them.
@threadpool_limits.wrap(limits=1)
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
    """Trains every net once a fold on the rows of the other folds.

    Args:
        pred_probs: (V, N, C) float32 probabilities of V classifiers.
        labels: (N,) classes.
        folds: (N,) fold of every row, 0..K-1, none empty.
    """
    trained = {}
    for shape in sorted({(len(net.inputs), net.hidden) for net in nets}):
        alike = [net for net in nets if (len(net.inputs), net.hidden) == shape]
        stack = NetStack(alike, pred_probs, labels, folds, schedule=schedule, seed=seed, device=device)
        train_epoch = _Replayed(stack.train_epoch) if device.type == "cuda" else stack.train_epoch
        for epoch in range(schedule.epochs):
            order = np.random.default_rng([seed, epoch]).permutation(len(labels))
            stack.order.copy_(torch.from_numpy(order))
            train_epoch()
            stack.score()
        trained.update(stack.results())
    return [trained[net] for net in nets]


def batches_of(folds: np.ndarray, batch_size: int) -> int:
    """Batches of an epoch: a net skips its held-out rows, and sees `batch_size` of the others a step."""
    fitted = len(folds) - len(folds) // (int(folds.max()) + 1)
    return -(-fitted // batch_size)


class NetStack:
    """Nets of one shape: M nets by K folds, D inputs and a bias, C classes, N rows.

    Attributes:
        order: (N,) the rows' order in the next epoch.
    """

    def __init__(
        self,
        nets: Sequence[Net],
        pred_probs: np.ndarray,
        labels: np.ndarray,
        folds: np.ndarray,
        *,
        schedule: Schedule,
        seed: int,
        device: torch.device,
    ) -> None:
        shape = len(nets), int(folds.max()) + 1
        classifiers = torch.from_numpy(pred_probs).to(device)
        self.nets = nets
        self.inputs = torch.stack([columns(classifiers[list(net.inputs)]) for net in nets])  # M, N, D+1
        self.labels, self.folds = torch.from_numpy(labels).to(device), torch.from_numpy(folds).to(device)
        held_out = self.folds == torch.arange(shape[1], device=device)[:, None]
        self.targets = torch.where(held_out, HELD_OUT, self.labels)  # K, N
        self.order = torch.arange(len(labels), device=device)
        self.batches = batches_of(folds, schedule.batch_size)
        drawn = [
            initial_layers(net, pred_probs.shape[2], fold=fold, seed=seed)
            for net, fold in product(nets, range(shape[1]))
        ]
        self.layers = [
            torch.from_numpy(np.stack(layer)).unflatten(0, shape).to(device).requires_grad_()
            for layer in zip(*drawn, strict=True)
        ]  # M, K, outputs, inputs + 1
        self.optimizer = torch.optim.Adam(
            self.layers, lr=schedule.learning_rate, fused=True, capturable=device.type == "cuda"
        )
        self.scores: list[Tensor] = []
        self.best = self.inputs.new_full((2, *shape), -1)
        self.best_layers = [layer.detach().clone() for layer in self.layers]
        self.best_elsewhere = [layer.clone() for layer in self.best_layers]
        self.out_of_fold = self.inputs.new_zeros(shape[0], len(labels), pred_probs.shape[2])

    def train_epoch(self) -> None:
        """Walks through the rows in their order: one step of Adam a batch, for all nets."""
        for rows in self.order.tensor_split(self.batches):
            self.optimizer.zero_grad()
            self._loss(rows).backward()
            self.optimizer.step()

    def _loss(self, rows: Tensor) -> Tensor:
        """The sum over the nets of each one's mean cross-entropy over the rows that it trains on."""
        logits = logits_of(self.inputs.index_select(1, rows), self.layers)  # M, K, C, B
        targets = self.targets.index_select(1, rows).expand(len(logits), -1, -1)  # M, K, B
        losses = cross_entropy(logits.flatten(0, 1), targets.flatten(0, 1), reduction="none")
        counts = (targets != HELD_OUT).sum(2).clamp(min=1)
        return (losses.view(targets.shape).sum(2) / counts).sum()

    @torch.no_grad()
    def score(self) -> None:
        """Scores every net on its held-out fold and keeps what is the best so far."""
        logits = self._held_out_logits()
        scores = macro_f1_of_folds(self.labels, logits.argmax(2), self.folds, logits.shape[2])
        # Rounded, since sums in another order, as on a GPU, differ in their last bits: these choose no epoch.
        figures = torch.stack([scores, scores.sum(1, keepdim=True) - scores]).round(decimals=12)
        self.scores.append(figures[0])
        better, better_elsewhere = figures > self.best
        self.best = torch.maximum(figures, self.best)
        for best, elsewhere, layer in zip(self.best_layers, self.best_elsewhere, self.layers, strict=True):
            best[better] = layer[better]
            elsewhere[better_elsewhere] = layer[better_elsewhere]
        rows = better_elsewhere[:, self.folds]  # M, N
        self.out_of_fold[rows] = logits[rows]

    def _held_out_logits(self) -> Tensor:
        """(M, N, C): every row by the nets that do not train on it."""
        logits = torch.empty_like(self.out_of_fold)
        for fold in range(len(self.targets)):
            rows = self.folds == fold
            layers = [layer[:, fold : fold + 1] for layer in self.layers]
            logits[:, rows] = logits_of(self.inputs[:, rows], layers)[:, 0].mT
        return logits

    def results(self) -> Iterator[tuple[Net, TrainedNet]]:
        """Every net with what it became."""
        scores = torch.stack(self.scores).cpu().numpy()  # epochs, M, K
        out_of_fold = self.out_of_fold.softmax(2).float().cpu().numpy()
        for i, net in enumerate(self.nets):
            best, elsewhere = (
                tuple(layer[i].cpu().numpy() for layer in layers)
                for layers in (self.best_layers, self.best_elsewhere)
            )
            yield net, TrainedNet(best, elsewhere, scores[:, i], out_of_fold[i])


def macro_f1_of_folds(labels: Tensor, predicted: Tensor, folds: Tensor, classes: int) -> Tensor:
    """Macro-F1 of M nets on the rows of each of K folds, by three counts on their device: (M, K) float64.

    Args:
        labels: (N,) integers in 0..classes-1.
        predicted: (M, N) integers in 0..classes-1.
        folds: (N,) integers in 0..K-1.
    """
    shape = len(predicted), int(folds.max()) + 1, classes
    net = torch.arange(len(predicted), device=folds.device)[:, None]
    cells = (net * shape[1] + folds) * classes  # M, N

    def count(values: Tensor) -> Tensor:
        return torch.bincount(values.flatten(), minlength=math.prod(shape)).view(shape)

    both = count(cells + labels) + count(cells + predicted)
    hits = count((cells + labels)[predicted == labels])
    return (2 * hits / both.clamp(min=1).double()).sum(2) / (both > 0).sum(2)


class _Replayed:
    """Work on a GPU that reads and writes the same tensors each time: a CUDA graph from its second call on.

    A kernel of such tiny nets takes longer to launch than to run: on an H100 40 epochs of the paper's 96 nets
    take 1.9 s, and launched one by one 9.9 s.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self.work, self.graph = work, None

    def __call__(self) -> None:
        if self.graph:
            self.graph.replay()
            return
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self.work()
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.work()  # is recorded and does not run
