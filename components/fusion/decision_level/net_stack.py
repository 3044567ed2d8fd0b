"""Nets of one shape, trained on the same batches as one computation.

Training them one after the other costs launches and loaders, not arithmetic. Here all nets walk through
the same shuffled rows; a net's own held-out rows have weight zero in its loss. So the nets of one member
share one product of the rows with their stacked weights, and one optimizer steps them all.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from components.fusion.decision_level.nets import (
    Net,
    TrainedNet,
    batched_macro_f1,
    columns,
    initial_layers,
    logits_of,
    with_ones,
)

# Adam divides a gradient by its own size: what rounding does to a small one moves a weight as far as a
# large one would. A linear layer, whose loss is convex, is trained in float32 all the same: its residuals
# keep their precision (`_residuals`), and the steps of an epoch, small numbers, are summed apart from the
# float64 weights. So its weights end within 1e-5 of float64's. With a hidden layer a rounding error can
# turn a unit on or off, and the nets part for good.
SHALLOW, DEEP = torch.float32, torch.float64
LOG2_E = 1 / math.log(2)


class Adam:
    """Adam (Kingma and Ba, 2015) with torch's defaults, of one vector.

    Not torch's own: in float32 that multiplies an average by 0.999 rounded, which makes it 1e-5 too large.
    """

    def __init__(self, vector: Tensor, learning_rate: float) -> None:
        self.vector, self.learning_rate, self.count = vector, learning_rate, 0
        self.mean, self.square = torch.zeros_like(vector), torch.zeros_like(vector)

    def step(self, gradient: Tensor) -> None:
        """Moves the vector by a gradient, which is overwritten."""
        self.count += 1
        root = math.sqrt(1 - 0.999**self.count)
        rate = self.learning_rate * root / (1 - 0.9**self.count)
        self.mean.lerp_(gradient, 1 - 0.9)
        self.square.lerp_(gradient.square_(), 1 - 0.999)
        torch.sqrt(self.square, out=gradient)
        self.vector.addcdiv_(self.mean, gradient.add_(1e-8 * root), value=-rate)


class Best:
    """The weights of every net, (M, K, inputs + 1, outputs) a layer, at the epoch of its highest score."""

    def __init__(self, layers: Sequence[Tensor]) -> None:
        self.layers = [layer.clone() for layer in layers]
        self.scores = layers[0].new_full(layers[0].shape[:2], -1)

    def update(self, scores: Tensor, layers: Sequence[Tensor]) -> None:
        """Keeps the weights of the nets whose score, (M, K), is higher than ever before."""
        better = scores > self.scores
        self.scores = torch.where(better, scores, self.scores)
        for best, layer in zip(self.layers, layers, strict=True):
            best[better] = layer[better]


class NetStack:
    """Nets of one shape: M members, K folds, D inputs and a bias, C classes.

    Outputs are laid out with the rows last, so that a softmax runs over whole vectors of rows, and weights
    with their outputs last, (M, D+1, K, H or C) and (M, K, H+1, C), all in one vector: so products and
    steps are fastest.

    Args:
        nets: of one number of inputs and one hidden size.
        pred_probs: (V, N, C) probabilities of all classifiers.
        labels: (N,) classes.
        folds: (N,) fold of every row.
        seed: of the initial weights.
        learning_rate: Adam's.
    """

    def __init__(
        self,
        nets: Sequence[Net],
        pred_probs: np.ndarray,
        labels: np.ndarray,
        folds: np.ndarray,
        *,
        seed: int,
        learning_rate: float,
        device: torch.device,
    ) -> None:
        self.nets, self.classes, self.folds = nets, pred_probs.shape[2], int(folds.max()) + 1
        self.dtype = DEEP if nets[0].hidden else SHALLOW
        layers = self._initial(seed)
        self.shapes = [layer.shape for layer in layers]
        self.weights = torch.cat([layer.flatten() for layer in layers]).to(device)
        self.steps = torch.zeros_like(self.weights, dtype=self.dtype)
        self.current, self.gradient = torch.zeros_like(self.steps), torch.zeros_like(self.steps)
        self.layers, self.gradients = self._layers(self.current), self._layers(self.gradient)
        self.adam = Adam(self.steps, learning_rate)
        self.best, self.best_elsewhere = Best(self._by_net()), Best(self._by_net())
        classifiers = torch.from_numpy(pred_probs).to(device, self.dtype)
        self.inputs = torch.stack([columns(classifiers[list(net.inputs)]) for net in nets])  # M, N, D+1
        fits = folds != np.arange(self.folds)[:, None]
        self.fits = torch.from_numpy(fits).to(device, self.dtype)  # K, N
        self.labels = torch.from_numpy(labels).to(device)
        self._set_held_out(labels, folds, device)
        self.scores: list[Tensor] = []

    def _initial(self, seed: int) -> list[Tensor]:
        drawn = [
            [initial_layers(net, self.classes, fold=fold, seed=seed) for fold in range(self.folds)]
            for net in self.nets
        ]
        depth = range(len(drawn[0][0]))
        first, *others = [
            torch.tensor(np.array([[fold[i] for fold in net] for net in drawn])).mT for i in depth
        ]
        return [first.movedim(1, 2), *others]

    def _layers(self, vector: Tensor) -> list[Tensor]:
        """A vector of weights, steps or gradients by layer: (M, D+1, K, H or C), (M, K, H+1, C)."""
        parts = vector.split([shape.numel() for shape in self.shapes])
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def _by_net(self) -> list[Tensor]:
        """The weights of each layer, (M, K, inputs + 1, outputs)."""
        first, *others = self._layers(self.weights)
        return [first.movedim(2, 1), *others]

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

    def train_epoch(self, order: Tensor, ends: Sequence[int]) -> None:
        """Walks through the rows in their order, in batches that end at `ends`, and scores every net."""
        start = self.weights.to(self.dtype)
        for begin, end in pairwise([0, *ends]):
            torch.add(start, self.steps, out=self.current)
            self._set_gradient(order[begin:end])
            self.adam.step(self.gradient)
        self.weights += self.steps
        self.steps.zero_()
        self._keep_best()

    def _set_gradient(self, rows: Tensor) -> None:
        """Sets the gradient of every net's mean cross-entropy over the rows of a batch that it trains on.

        The gradient of cross-entropy by the logits is softmax minus target; the rest is two products.
        """
        inputs, labels = self.inputs.index_select(1, rows), self.labels.index_select(0, rows)
        fits = self.fits.index_select(1, rows)
        shares = (fits / fits.sum(1, keepdim=True).clamp(min=1)).unsqueeze(1)  # K, 1, B; 0 if held out
        first, *others = self.layers
        # All folds of a member read the same rows: one product with all their weights.
        outputs = (first.flatten(2).mT @ inputs.mT).unflatten(1, first.shape[2:])  # M, K, H or C, B
        if others:
            (second,) = others
            hidden = with_ones(outputs.relu_())
            residuals = _residuals(second.mT @ hidden, labels, shares)
            self.gradients[1].copy_(hidden @ residuals.mT)
            residuals = (second[..., :-1, :] @ residuals).mul_(outputs.sign())
        else:
            residuals = _residuals(outputs, labels, shares)
        torch.bmm(inputs.mT, residuals.flatten(1, 2).mT, out=self.gradients[0].flatten(2))

    def _keep_best(self) -> None:
        """Scores every net on its held-out fold and keeps what is the best so far."""
        layers = self._by_net()
        predicted = self._held_out_logits(layers).max(2).indices
        scores = batched_macro_f1(self.truth, predicted, self.classes)  # M, K
        self.scores.append(scores)
        self.best.update(scores, layers)
        self.best_elsewhere.update(scores.sum(1, keepdim=True) - scores, layers)

    def _held_out_logits(self, layers: Sequence[Tensor]) -> Tensor:
        """By weights as `_by_net` has them: (M, K, C, rows of the longest fold)."""
        return logits_of(self.held_out, [layer.mT.to(self.dtype) for layer in layers])

    def results(self) -> list[tuple[Net, TrainedNet]]:
        """Every net with what it became."""
        scores = torch.stack(self.scores).cpu().numpy()  # epochs, M, K
        layers = [layer.mT.contiguous().cpu().numpy() for layer in self.best.layers]
        out_of_fold = self._held_out_logits(self.best_elsewhere.layers).softmax(2).float()
        kept = self.truth < self.classes
        pred_probs = np.empty((len(self.nets), self.inputs.shape[1], self.classes), np.float32)
        pred_probs[:, self.rows[kept].cpu().numpy()] = out_of_fold.mT[:, kept].cpu().numpy()
        return [
            (net, TrainedNet(tuple(layer[i] for layer in layers), scores[:, i], pred_probs[i]))
            for i, net in enumerate(self.nets)
        ]


def _residuals(logits: Tensor, labels: Tensor, shares: Tensor) -> Tensor:
    """Softmax minus one-hot labels, times the rows' shares: (M, K, C, B), in place of the logits.

    Each entry is as precise as its own size: where the softmax is nearly 1, subtracting 1 would leave
    little but rounding, so a label's residual is minus the sum of the others. Powers of 2 take a third of
    exp's time.
    """
    likelihoods = logits.sub_(logits.amax(2, keepdim=True)).mul_(LOG2_E).exp2_()
    total = likelihoods.sum(2, keepdim=True)
    where = labels.expand_as(total)
    likelihoods.scatter_(2, where, 0)
    others = likelihoods.sum(2, keepdim=True)
    scale = shares / total
    return likelihoods.mul_(scale).scatter_(2, where, others.mul_(scale).neg_())
