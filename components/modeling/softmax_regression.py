"""Multinomial logistic regression on a sparse matrix, in a few passes over its rows."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

# Passes over the rows, and steps at least: of few rows there are more passes.
PASSES, LEAST_STEPS = 4, 300
SMALLEST_BATCH, LARGEST_BATCH, BATCHES = 32, 256, 40
WEIGHTS = 2**27  # of one model at most, half a gibibyte; of more classes, fewer columns can be read
LEAST = 1e-16  # of a sum of squares that is divided by


@dataclass(frozen=True)
class SoftmaxRegression:
    """A fitted model: the probabilities of a row are the softmax of `row @ weights + bias`.

    Attributes:
        labels: (K,) int64, those that were seen.
        weights: (columns, K) float32.
        bias: (K,) float32.
    """

    labels: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    def predict(self, matrix: csr_array, classes: int) -> np.ndarray:
        """Probabilities (N, classes) float32 of the rows of (N, columns); 0 of a class that was not seen."""
        found = _softmax(matrix @ self.weights + self.bias)
        pred_probs = np.zeros((len(found), classes), np.float32)
        pred_probs[:, self.labels] = found
        return pred_probs

    def tensors(self) -> dict[str, Tensor]:
        """What `restored` reads, by name."""
        arrays = {"labels": self.labels, "coef": self.weights.T, "intercept": self.bias}
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor]) -> "SoftmaxRegression":
        """The model whose `tensors` these are."""
        labels, coef, bias = (tensors[name].numpy() for name in ("labels", "coef", "intercept"))
        if len(coef) < len(labels):  # scikit-learn's for two classes, as older models hold it: the second's
            coef, bias = np.concatenate([0 * coef, coef]), np.concatenate([0 * bias, bias])
        return cls(labels, np.ascontiguousarray(coef.T), bias)


@dataclass(frozen=True)
class _Batch:
    """Some rows, and the columns that are not empty in them.

    Attributes:
        labels: (B,), places in the model's.
        columns: (M,) numbers of those columns.
        matrix: (B, M).
        decay: (M, 1), the penalty's share of their gradient: over a pass every column has the same of it.
    """

    labels: np.ndarray
    columns: np.ndarray
    matrix: csr_array
    decay: np.ndarray


def fit_softmax(matrix: csr_array, labels: np.ndarray, *, l2: float, seed: int) -> SoftmaxRegression:
    """Fits by steps over batches, each of which touches the columns alone that its rows have.

    The step is AdaGrad's (Duchi, Hazan and Singer, JMLR 2011), one rate a column over all classes, and falls
    to 0. It ends short of the minimum; on titles that predicts no worse (benchmarks/linear_text.py). The time
    is the number of entries times classes, whatever the data: nothing waits for a tolerance.

    Args:
        matrix: (N, columns) float32, its rows of a length near 1.
        labels: (N,) int64.
        l2: the minimum is that of the summed log-loss and half of this times the squared weights.
    """
    seen, targets = np.unique(labels, return_inverse=True)
    random = np.random.default_rng(seed)
    batches = _make_batches(matrix, targets, l2, random)
    passes = max(PASSES, -(-LEAST_STEPS // len(batches)))
    order = np.concatenate([random.permutation(len(batches)) for _ in range(passes)])
    steps = _Steps(matrix.shape[1], len(seen))  # type: ignore[index]
    for number, place in enumerate(order):
        steps.step(batches[place], 1 - number / len(order))
    return SoftmaxRegression(seen, steps.weights, steps.bias)


class _Steps:
    def __init__(self, columns: int, classes: int) -> None:
        self.weights, self.bias = np.zeros((columns, classes), np.float32), np.zeros(classes, np.float32)
        self.squares = np.full(columns, LEAST, np.float32)
        self.squares_of_bias = np.full(classes, LEAST, np.float32)
        # The sums of squares go over all classes, of which most have a gradient of nearly 0.
        self.rate = max(1.0, classes / 50)

    def step(self, batch: _Batch, share: float) -> None:
        """Goes down the gradient of one batch, at a share of the highest rate."""
        weights = self.weights[batch.columns]
        residuals = _softmax(batch.matrix @ weights + self.bias)
        residuals[np.arange(len(residuals)), batch.labels] -= 1
        residuals /= len(residuals)
        gradient = batch.matrix.T @ residuals
        gradient += batch.decay * weights
        self.squares[batch.columns] += np.einsum("mc,mc->m", gradient, gradient)
        gradient *= (share * self.rate / np.sqrt(self.squares[batch.columns]))[:, None]
        self.weights[batch.columns] = weights - gradient
        of_bias = residuals.sum(axis=0)
        self.squares_of_bias += of_bias**2
        self.bias -= share * of_bias / np.sqrt(self.squares_of_bias)


def _make_batches(
    matrix: csr_array, targets: np.ndarray, l2: float, random: np.random.Generator
) -> list[_Batch]:
    rows, columns = matrix.shape  # type: ignore[misc]
    size = min(LARGEST_BATCH, max(SMALLEST_BATCH, rows // BATCHES))
    order = random.permutation(rows)
    shuffled, targets = matrix[order], targets[order]
    in_all, place = np.bincount(matrix.indices, minlength=columns), np.zeros(columns, np.int32)
    batches = []
    for start in range(0, rows, size):
        pointers = shuffled.indptr[start : start + size + 1]
        entries = slice(pointers[0], pointers[-1])
        indices = shuffled.indices[entries]
        counts = np.bincount(indices, minlength=columns)
        found = np.flatnonzero(counts)
        place[found] = np.arange(len(found))
        parts = shuffled.data[entries], place[indices], pointers - pointers[0]
        count = len(pointers) - 1
        part = csr_array(parts, shape=(count, len(found)))
        decay = (l2 / count * counts[found] / in_all[found]).astype(np.float32)[:, None]
        batches.append(_Batch(targets[start : start + size], found, part, decay))
    return batches


def _softmax(logits: np.ndarray) -> np.ndarray:
    """In place, along the last axis."""
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    return logits
