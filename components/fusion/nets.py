"""The paper's fusion nets: every net of every member and fold trained as one computation.

Training them one after the other costs launches and loaders, not arithmetic. Here all nets walk through
the same shuffled rows; a net's own held-out rows have weight zero in its loss. So the nets of one member
share one product of the rows with their stacked weights, and one optimiser steps them all.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Net:
    """One fusion classifier, of which one copy is trained a fold.

    Attributes:
        name: seeds its weights, so that they do not depend on which other nets train beside it.
        inputs: the voters whose probabilities it reads.
        hidden: size of the hidden layer; 0 for a single linear layer.
    """

    name: str
    inputs: tuple[int, ...]
    hidden: int


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


@dataclass(frozen=True)
class TrainedNet:
    """What one `Net` became, over K folds.

    Attributes:
        layers: one or two (K, inputs + 1, outputs) arrays, the last input row the bias: each fold's
            weights at its chosen epoch.
        epochs: (K,) the chosen epoch, from 0: the best macro-F1 on the net's own held-out fold, the
            first of equals.
        macro_f1: (epochs, K) on the held-out folds.
        out_of_fold: (N, C) float32: every row by the net that did not train on it, at the epoch that was
            best on the *other* folds. Taking the net's own best epoch would flatter the figure.
    """

    layers: tuple[np.ndarray, ...]
    epochs: np.ndarray
    macro_f1: np.ndarray
    out_of_fold: np.ndarray

    def predict(self, pred_probs: np.ndarray) -> np.ndarray:
        """(V, N, C) probabilities of the net's own V inputs -> (K, N, C) float32 of its K folds."""
        layers = [torch.from_numpy(layer) for layer in self.layers]
        return _logits(_with_bias(torch.from_numpy(pred_probs)), layers).softmax(-1).numpy()


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
        pred_probs: (V, N, C) float32 probabilities of V voters.
        labels: (N,) classes.
        folds: (N,) fold of every row, 0..K-1, none empty.
    """
    shapes = sorted({(len(net.inputs), net.hidden) for net in nets})
    stacks = [
        _Stack(
            [net for net in nets if (len(net.inputs), net.hidden) == shape],
            pred_probs,
            labels,
            folds,
            seed,
            device,
        )
        for shape in shapes
    ]
    parameters = [parameter for stack in stacks for parameter in stack.parameters]
    optimizer = torch.optim.Adam(parameters, lr=schedule.learning_rate, fused=True)
    for epoch in range(schedule.epochs):
        order = np.random.default_rng([seed, epoch]).permutation(len(labels))
        for stack in stacks:
            stack.shuffle(torch.from_numpy(order).to(device))
        for rows in np.array_split(np.arange(len(labels)), batches_per_epoch(folds, schedule.batch_size)):
            for stack in stacks:
                stack.set_gradients(slice(int(rows[0]), int(rows[-1]) + 1))
            optimizer.step()
        for stack in stacks:
            stack.keep_best()
    trained = {net.name: result for stack in stacks for net, result in stack.results()}
    return [trained[net.name] for net in nets]


def batches_per_epoch(folds: np.ndarray, batch_size: int) -> int:
    """Steps an epoch, so that a net, which skips its held-out rows, sees `batch_size` rows a step."""
    return -(-(len(folds) - len(folds) // (int(folds.max()) + 1)) // batch_size)


def initial_layers(net: Net, classes: int, *, fold: int, seed: int) -> list[np.ndarray]:
    """A net's weights before training, (inputs + 1, outputs) each, drawn as `torch.nn.Linear` does."""
    random = np.random.default_rng([seed, zlib.crc32(net.name.encode()), fold])
    sizes = [len(net.inputs) * classes, *([net.hidden] if net.hidden else []), classes]
    return [
        random.uniform(-(inputs**-0.5), inputs**-0.5, (inputs + 1, outputs)).astype(np.float32)
        for inputs, outputs in pairwise(sizes)
    ]


class _Stack:
    """Nets of one shape: M members, K folds, D inputs and a bias, C classes."""

    def __init__(
        self,
        nets: list[Net],
        pred_probs: np.ndarray,
        labels: np.ndarray,
        folds: np.ndarray,
        seed: int,
        device: torch.device,
    ) -> None:
        self.nets = nets
        self.folds, self.classes = int(folds.max()) + 1, pred_probs.shape[2]
        self.parameters = [p.to(device) for p in self._initial(seed)]
        voters = torch.from_numpy(pred_probs).to(device)
        self.inputs = torch.stack([_with_bias(voters[list(net.inputs)]) for net in nets])  # M, N, D+1
        self.targets = torch.nn.functional.one_hot(torch.from_numpy(labels), self.classes).to(
            device, torch.float32
        )
        self.fits = torch.from_numpy(folds[:, None] != np.arange(self.folds)).to(
            device, torch.float32
        )  # N, K
        self._set_held_out(labels, folds, device)
        self.best = [parameter.clone() for parameter in self.parameters]
        self.out_of_fold = torch.zeros(len(nets), *self.rows.shape, self.classes, device=device)
        self.best_score = torch.full((len(nets), self.folds), -1.0, device=device, dtype=torch.float64)
        self.best_elsewhere = self.best_score.clone()
        self.scores: list[Tensor] = []

    def _initial(self, seed: int) -> list[Tensor]:
        drawn = [
            [initial_layers(net, self.classes, fold=fold, seed=seed) for fold in range(self.folds)]
            for net in self.nets
        ]
        depth = len(drawn[0][0])
        stacked = [np.array([[fold[layer] for fold in member] for member in drawn]) for layer in range(depth)]
        # The first layer is kept as (M, D+1, K, H): one product of the rows with all K folds' columns.
        first = torch.from_numpy(stacked[0]).transpose(1, 2).contiguous()
        return [first, *(torch.from_numpy(layer) for layer in stacked[1:])]

    def _set_held_out(self, labels: np.ndarray, folds: np.ndarray, device: torch.device) -> None:
        # Folds differ in size by a few rows: short ones are padded with row 0, under a class of its own.
        longest = int(np.bincount(folds).max())
        rows = np.zeros((self.folds, longest), np.int64)
        truth = np.full((self.folds, longest), self.classes)
        for fold in range(self.folds):
            held_out = np.flatnonzero(folds == fold)
            rows[fold, : len(held_out)], truth[fold, : len(held_out)] = held_out, labels[held_out]
        self.rows, self.truth = torch.from_numpy(rows).to(device), torch.from_numpy(truth).to(device)
        self.held_out_inputs = self.inputs[:, self.rows]  # M, K, longest, D+1

    def shuffle(self, order: Tensor) -> None:
        """Lays the rows in this epoch's order, so that a batch is a slice."""
        self.shuffled = self.inputs[:, order], self.targets[order], self.fits[order]

    def set_gradients(self, batch: slice) -> None:
        """Sets the gradient of every net's mean cross-entropy over the rows of a batch that it trains on."""
        rows, targets, fits = (tensor[..., batch, :] for tensor in self.shuffled)
        weights = (fits / fits.sum(0).clamp(min=1)).unsqueeze(-1)  # B, K, 1
        first, members = self.parameters[0], len(self.nets)
        columns = rows @ first.flatten(2)  # M, B, K * outputs
        if len(self.parameters) == 1:
            gradient = columns.unflatten(2, (self.folds, -1)).softmax(-1)
            gradient.sub_(targets.unsqueeze(1)).mul_(weights)
        else:
            second = self.parameters[1]
            hidden = _with_ones(columns.unflatten(2, (self.folds, -1)).transpose(1, 2).relu())  # M, K, B, H+1
            logits = (hidden @ second).softmax(-1)
            logits.sub_(targets).mul_(weights.transpose(0, 1))
            second.grad = hidden.transpose(2, 3) @ logits
            gradient = (logits @ second[:, :, :-1].transpose(2, 3)).mul_(hidden[..., :-1] > 0).transpose(1, 2)
        first.grad = (rows.transpose(1, 2) @ gradient.reshape(members, -1, columns.shape[2])).view_as(first)

    def keep_best(self) -> None:
        """Scores every net on its held-out fold and keeps what is the best so far."""
        logits = _logits(self.held_out_inputs, [self.parameters[0].transpose(1, 2), *self.parameters[1:]])
        scores = batched_macro_f1(self.truth, logits.argmax(-1), self.classes)  # M, K
        self.scores.append(scores)
        better = scores > self.best_score
        self.best_score = torch.where(better, scores, self.best_score)
        for best, parameter in zip(self.best, self.parameters, strict=True):
            of_fold = (
                better[:, None, :, None] if parameter is self.parameters[0] else better[:, :, None, None]
            )
            best.copy_(torch.where(of_fold, parameter, best))
        elsewhere = scores.sum(1, keepdim=True) - scores
        better = elsewhere > self.best_elsewhere
        self.best_elsewhere = torch.where(better, elsewhere, self.best_elsewhere)
        self.out_of_fold[better] = logits[better].softmax(-1)

    def results(self) -> list[tuple[Net, TrainedNet]]:
        """Every net with what it became."""
        scores = torch.stack(self.scores).cpu().numpy()  # epochs, M, K
        layers = [self.best[0].transpose(1, 2), *self.best[1:]]
        kept = self.truth < self.classes
        pred_probs = np.empty((len(self.nets), *self.targets.shape), np.float32)
        pred_probs[:, self.rows[kept].cpu().numpy()] = self.out_of_fold[:, kept].cpu().numpy()
        return [
            (
                net,
                TrainedNet(
                    tuple(layer[member].cpu().numpy() for layer in layers),
                    scores[:, member].argmax(axis=0),
                    scores[:, member],
                    pred_probs[member],
                ),
            )
            for member, net in enumerate(self.nets)
        ]


def batched_macro_f1(labels: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """Macro-F1 of many predictions at once, by three counts on their device: (...,) float64.

    Args:
        labels: integers that broadcast to `predicted`; rows with label `classes` are padding.
        predicted: (..., N) integers in 0..classes-1.
    """
    labels = labels.expand_as(predicted).flatten(0, -2)
    shape, predicted = predicted.shape[:-1], predicted.flatten(0, -2)
    predicted = torch.where(labels == classes, classes, predicted)
    offsets = torch.arange(len(predicted), device=predicted.device).unsqueeze(1) * (classes + 1)

    def count(values: Tensor) -> Tensor:
        flat = torch.bincount((values + offsets).flatten(), minlength=len(offsets) * (classes + 1))
        return flat.view(len(offsets), classes + 1)[:, :classes]

    both = count(labels) + count(predicted)
    hits = count(torch.where(labels == predicted, labels, classes))
    f1 = 2 * hits / both.clamp(min=1).double()
    return (f1.sum(1) / (both > 0).sum(1).clamp(min=1)).view(shape)


def _logits(inputs: Tensor, layers: Sequence[Tensor]) -> Tensor:
    outputs = inputs @ layers[0]
    return outputs if len(layers) == 1 else _with_ones(outputs.relu()) @ layers[1]


def _with_bias(pred_probs: Tensor) -> Tensor:
    """(V, N, C) -> (N, V * C + 1), the last column ones."""
    return _with_ones(pred_probs.transpose(0, 1).flatten(1))


def _with_ones(values: Tensor) -> Tensor:
    return torch.cat([values, values.new_ones(*values.shape[:-1], 1)], dim=-1)
