"""The paper's fusion nets (section 3.3.2): what one is, what it becomes, and what it computes."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad


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
        held_out_layers: the same at the epoch that was best on the *other* folds.
        macro_f1: (epochs, K) on the held-out folds.
        out_of_fold: (N, C) float32: every row by the net that did not train on it, of `held_out_layers`.
            Taking the net's own best epoch would flatter the figure.
    """

    layers: tuple[np.ndarray, ...]
    held_out_layers: tuple[np.ndarray, ...]
    macro_f1: np.ndarray
    out_of_fold: np.ndarray

    @property
    def epochs(self) -> np.ndarray:
        """(K,) chosen epochs, from 0: the best on the net's own held-out fold, the first of equals."""
        return self.macro_f1.argmax(axis=0)

    def predict(self, pred_probs: np.ndarray) -> np.ndarray:
        """(V, N, C) probabilities of the net's own V inputs -> (K, N, C) float32 of its K folds."""
        return predict_folds(self.layers, pred_probs)


def predict_folds(layers: Sequence[np.ndarray], pred_probs: np.ndarray) -> np.ndarray:
    """Layers of the nets of K folds, and what they read, (V, N, C) -> probabilities (K, N, C) float32."""
    inputs = columns(torch.from_numpy(pred_probs))
    logits = logits_of(inputs, [torch.from_numpy(layer) for layer in layers])
    return logits.softmax(1).float().mT.contiguous().numpy()


def initial_layers(net: Net, classes: int, *, fold: int, seed: int) -> list[np.ndarray]:
    """A net's weights before training, (outputs, inputs + 1) each, drawn as `torch.nn.Linear` does."""
    random = np.random.default_rng([seed, zlib.crc32(net.name.encode()), fold])
    sizes = [len(net.inputs) * classes, *([net.hidden] if net.hidden else []), classes]
    return [
        random.uniform(-(inputs**-0.5), inputs**-0.5, (outputs, inputs + 1))
        for inputs, outputs in pairwise(sizes)
    ]


def columns(pred_probs: Tensor) -> Tensor:
    """(V, N, C) -> (N, V * C + 1) float64, the last column ones: the bias's input."""
    return pad(pred_probs.double().transpose(0, 1).flatten(1), (0, 1), value=1)


def logits_of(inputs: Tensor, layers: Sequence[Tensor]) -> Tensor:
    """(..., N, D+1) inputs by (..., K, outputs, inputs + 1) layers of K folds -> (..., K, C, N).

    Rows come last, so that a softmax runs over whole vectors of rows.
    """
    outputs = torch.einsum("...ni,...koi->...kon", inputs, layers[0])
    for layer in layers[1:]:
        hidden = pad(outputs.relu(), (0, 0, 0, 1), value=1)
        outputs = torch.einsum("...kin,...koi->...kon", hidden, layer)
    return outputs
