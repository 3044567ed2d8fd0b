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

# Adam divides a gradient by its own size: what rounding does to a small one moves a weight as far as a
# large one would. So weights and their steps are float64, and the products of a linear layer, whose loss
# is convex, are float32 of residuals that keep their precision (`_residuals`): its weights end within 1e-5
# of float64's. With a hidden layer a rounding error can turn a unit on or off, and the nets part for good.
SHALLOW, DEEP = torch.float32, torch.float64


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
class TrainedNet:
    """What one `Net` became, over K folds.

    Attributes:
        layers: one or two (K, outputs, inputs + 1) float64 arrays, the last column the bias: each
            fold's weights at its chosen epoch.
        macro_f1: (epochs, K) on the held-out folds.
        out_of_fold: (N, C) float32: every row by the net that did not train on it, at the epoch that was
            best on the *other* folds. Taking the net's own best epoch would flatter the figure.
    """

    layers: tuple[np.ndarray, ...]
    macro_f1: np.ndarray
    out_of_fold: np.ndarray

    @property
    def epochs(self) -> np.ndarray:
        """(K,) chosen epochs, from 0: the best on the net's own held-out fold, the first of equals."""
        return self.macro_f1.argmax(axis=0)

    def predict(self, pred_probs: np.ndarray) -> np.ndarray:
        """(V, N, C) probabilities of the net's own V inputs -> (K, N, C) float32 of its K folds."""
        layers = [torch.from_numpy(layer) for layer in self.layers]
        logits = _logits(_columns(torch.from_numpy(pred_probs).double()), layers)
        return logits.softmax(1).float().mT.contiguous().numpy()


def initial_layers(net: Net, classes: int, *, fold: int, seed: int) -> list[np.ndarray]:
    """A net's weights before training, (outputs, inputs + 1) each, drawn as `torch.nn.Linear` does."""
    random = np.random.default_rng([seed, zlib.crc32(net.name.encode()), fold])
    sizes = [len(net.inputs) * classes, *([net.hidden] if net.hidden else []), classes]
    return [
        random.uniform(-(inputs**-0.5), inputs**-0.5, (outputs, inputs + 1))
        for inputs, outputs in pairwise(sizes)
    ]


class NetStack:
    """Nets of one shape: M members, K folds, D inputs and a bias, C classes.

    Outputs are laid out with the rows last, so that a softmax runs over whole vectors of rows.

    Args:
        nets: of one number of inputs and one hidden size.
        pred_probs: (V, N, C) probabilities of all voters.
        labels: (N,) classes.
        folds: (N,) fold of every row.
        seed: of the initial weights.
    """

    def __init__(
        self,
        nets: Sequence[Net],
        pred_probs: np.ndarray,
        labels: np.ndarray,
        folds: np.ndarray,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        self.nets, self.classes, self.folds = nets, pred_probs.shape[2], int(folds.max()) + 1
        self.dtype = DEEP if nets[0].hidden else SHALLOW
        self.parameters = [parameter.to(device) for parameter in self._initial(seed)]
        voters = torch.from_numpy(pred_probs).to(device, self.dtype)
        self.inputs = torch.stack([_columns(voters[list(net.inputs)]) for net in nets])  # M, N, D+1
        fits = folds != np.arange(self.folds)[:, None]
        self.fits = torch.from_numpy(fits).to(device, self.dtype)  # K, N
        self.labels = torch.from_numpy(labels).to(device)
        self._set_held_out(labels, folds, device)
        self.best = [parameter.clone() for parameter in self.parameters]
        self.out_of_fold = torch.zeros(len(nets), self.folds, self.classes, self.rows.shape[1], device=device)
        self.best_score = torch.full((len(nets), self.folds), -1.0, device=device, dtype=torch.float64)
        self.best_elsewhere = self.best_score.clone()
        self.scores: list[Tensor] = []

    def _initial(self, seed: int) -> list[Tensor]:
        drawn = [
            [initial_layers(net, self.classes, fold=fold, seed=seed) for fold in range(self.folds)]
            for net in self.nets
        ]
        depth = range(len(drawn[0][0]))
        return [torch.tensor(np.array([[fold[i] for fold in net] for net in drawn])) for i in depth]

    def _set_held_out(self, labels: np.ndarray, folds: np.ndarray, device: torch.device) -> None:
        # Folds differ in size by a few rows: short ones are padded with row 0, under a class of its own.
        longest = int(np.bincount(folds).max())
        rows = np.zeros((self.folds, longest), np.int64)
        truth = np.full((self.folds, longest), self.classes)
        for fold in range(self.folds):
            held_out = np.flatnonzero(folds == fold)
            rows[fold, : len(held_out)], truth[fold, : len(held_out)] = held_out, labels[held_out]
        self.rows, self.truth = torch.from_numpy(rows).to(device), torch.from_numpy(truth).to(device)
        self.held_out = self.inputs[:, self.rows]  # M, K, longest, D+1

    def shuffle(self, order: Tensor) -> None:
        """Lays out an epoch's rows in their order, so that a batch is a slice."""
        self.shuffled_inputs = self.inputs.index_select(1, order)
        self.shuffled_labels = self.labels.index_select(0, order)
        self.shuffled_fits = self.fits.index_select(1, order)

    def set_gradients(self, batch: slice) -> None:
        """Sets the gradient of every net's mean cross-entropy over the rows of a batch that it trains on.

        The gradient of cross-entropy by the logits is softmax minus target; the rest is two products.

        Args:
            batch: of the shuffled rows.
        """
        inputs, labels = self.shuffled_inputs[:, batch], self.shuffled_labels[batch]
        fits = self.shuffled_fits[:, batch]
        weights = (fits / fits.sum(1, keepdim=True).clamp(min=1)).unsqueeze(1)  # K, 1, B; 0 if held out
        first, *others = (parameter.to(self.dtype) for parameter in self.parameters)
        # All folds of a member read the same rows: one product with all their weights.
        outputs = (first.flatten(1, 2) @ inputs.mT).unflatten(1, first.shape[1:3])  # M, K, H or C, B
        if others:
            (second,) = others
            hidden = _with_ones(outputs.relu_())
            residuals = _residuals(second @ hidden, labels, weights)
            self.parameters[1].grad = residuals @ hidden.mT
            gradient = second[..., :-1].mT @ residuals
            gradient.mul_(outputs > 0)
        else:
            gradient = _residuals(outputs, labels, weights)
        gradient = (gradient.flatten(1, 2) @ inputs).view_as(first)
        self.parameters[0].grad = gradient.to(torch.float64)

    def keep_best(self) -> None:
        """Scores every net on its held-out fold and keeps what is the best so far."""
        logits = _logits(self.held_out, [parameter.to(self.dtype) for parameter in self.parameters])
        scores = batched_macro_f1(self.truth, logits.max(2).indices, self.classes)  # M, K
        self.scores.append(scores)
        better = scores > self.best_score
        self.best_score = torch.where(better, scores, self.best_score)
        for best, parameter in zip(self.best, self.parameters, strict=True):
            best[better] = parameter[better]
        elsewhere = scores.sum(1, keepdim=True) - scores
        better = elsewhere > self.best_elsewhere
        self.best_elsewhere = torch.where(better, elsewhere, self.best_elsewhere)
        self.out_of_fold[better] = logits[better].softmax(1).float()

    def results(self) -> list[tuple[Net, TrainedNet]]:
        """Every net with what it became."""
        scores = torch.stack(self.scores).cpu().numpy()  # epochs, M, K
        layers = [layer.cpu().numpy() for layer in self.best]
        kept = self.truth < self.classes
        pred_probs = np.empty((len(self.nets), self.inputs.shape[1], self.classes), np.float32)
        pred_probs[:, self.rows[kept].cpu().numpy()] = self.out_of_fold.mT[:, kept].cpu().numpy()
        return [
            (net, TrainedNet(tuple(layer[i] for layer in layers), scores[:, i], pred_probs[i]))
            for i, net in enumerate(self.nets)
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


def _residuals(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Weighted softmax minus one-hot labels, (M, K, C, B), each entry as precise as its own size.

    Where the softmax is nearly 1, subtracting 1 would leave little but rounding: a label's residual is
    minus the sum of the others.
    """
    residuals = logits.softmax(2)
    where = labels.expand(*logits.shape[:2], 1, -1)
    residuals.scatter_(2, where, 0)
    residuals.scatter_(2, where, residuals.sum(2, keepdim=True).neg_())
    return residuals.mul_(weights)


def _logits(inputs: Tensor, layers: Sequence[Tensor]) -> Tensor:
    outputs = layers[0] @ inputs.mT
    return outputs if len(layers) == 1 else layers[1] @ _with_ones(outputs.relu_())


def _columns(pred_probs: Tensor) -> Tensor:
    """(V, N, C) -> (N, V * C + 1), the last column ones."""
    return _with_ones(pred_probs.transpose(1, 2).flatten(0, 1)).mT.contiguous()


def _with_ones(values: Tensor) -> Tensor:
    return torch.cat([values, torch.ones_like(values[..., :1, :])], dim=-2)
