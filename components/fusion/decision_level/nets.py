"""The paper's fusion nets: what one is, what it becomes, and how many are scored at once."""

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
        inputs: the classifiers whose probabilities it reads.
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
        logits = logits_of(columns(torch.from_numpy(pred_probs).double()), layers)
        return logits.softmax(1).float().mT.contiguous().numpy()


def initial_layers(net: Net, classes: int, *, fold: int, seed: int) -> list[np.ndarray]:
    """A net's weights before training, (outputs, inputs + 1) each, drawn as `torch.nn.Linear` does."""
    random = np.random.default_rng([seed, zlib.crc32(net.name.encode()), fold])
    sizes = [len(net.inputs) * classes, *([net.hidden] if net.hidden else []), classes]
    return [
        random.uniform(-(inputs**-0.5), inputs**-0.5, (outputs, inputs + 1))
        for inputs, outputs in pairwise(sizes)
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


def logits_of(inputs: Tensor, layers: Sequence[Tensor]) -> Tensor:
    """(..., N, D+1) inputs, the last one 1, by (..., outputs, inputs + 1) layers -> (..., C, N)."""
    outputs = layers[0] @ inputs.mT
    return outputs if len(layers) == 1 else layers[1] @ with_ones(outputs.relu_())


def columns(pred_probs: Tensor) -> Tensor:
    """(V, N, C) -> (N, V * C + 1), the last column ones."""
    return with_ones(pred_probs.transpose(1, 2).flatten(0, 1)).mT.contiguous()


def with_ones(values: Tensor) -> Tensor:
    """(..., D, N) -> (..., D+1, N): the bias's input."""
    return torch.cat([values, torch.ones_like(values[..., :1, :])], dim=-2)
