"""Fusion of many classes by structure: what it learns grows in line with them.

One linear layer over all probabilities of V classifiers has V * C * C weights: at 3,000 classes more than
there are products to learn them from, and gigabytes. Here a class's logit is a weighted sum of its own
log-probabilities alone, with an exponent for each classifier and, as far as products tell, another for each
class; what one class's probability says of another goes through a few hidden units.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn.functional import cross_entropy, embedding

from components.data.stacks import Stack
from components.data.top_classes import counts_of
from components.modeling.ridge import minimize

READ = 3  # of which so many speak to the hidden units
ROWS_A_CLASS = 100  # of more, for which these few weights have no use, every so-manieth is taken


@dataclass(frozen=True)
class Structure:
    """One way to fit.

    Attributes:
        l2: strength of the penalty on what a class has of its own, in rows; infinity for nothing of its own.
        hidden: units that all classes share; 0 for none.
        clip_min: smaller probabilities count as this.
    """

    l2: float
    hidden: int
    clip_min: float


@dataclass(frozen=True)
class Structured:
    """What was fitted, float32.

    Attributes:
        exponents: (V + 1,) of the classifiers, for all classes; the last is 0.
        own: (C, V + 1) what each class adds to them, and its bias.
        reads: (C, V * hidden) what the probability of a class says to the hidden units.
        writes: (C, hidden) what these say to a class.
        clip_min: smaller probabilities count as this.
    """

    exponents: np.ndarray
    own: np.ndarray
    reads: np.ndarray
    writes: np.ndarray
    clip_min: float

    def predict(self, values: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """Values (V, N, k + 1) of the classifiers and classes (N, k), as `Stack` has them -> (N, k + 1)."""
        inputs = _Inputs.of(values, kept, len(self.own), float(self.clip_min))
        parts = [torch.from_numpy(getattr(self, name)) for name in _PARTS]
        each = inputs.logits(*parts).softmax(1)
        return (each / inputs.counts).numpy()


_PARTS = ("exponents", "own", "reads", "writes")


@dataclass(frozen=True)
class _Inputs:
    """Of N rows, in k columns of classes and one of all others.

    Attributes:
        logs: (N, k + 1, V + 1) logarithms, and 1 for the bias.
        kept: (N, k) classes.
        probabilities: (N, READ, V) of the most probable.
        counts: (k + 1,) classes a column.
    """

    logs: Tensor
    kept: Tensor
    probabilities: Tensor
    counts: Tensor

    @classmethod
    def of(cls, values: np.ndarray, kept: np.ndarray, classes: int, clip_min: float) -> "_Inputs":
        found = torch.from_numpy(values.astype(np.float32, copy=False)).permute(1, 2, 0)
        logs = found.clamp(min=clip_min).log()
        with_bias = torch.cat([logs, torch.ones_like(logs[..., :1])], dim=2)
        places = torch.from_numpy(kept.astype(np.int64))
        counts = torch.from_numpy(counts_of(kept.shape[1], classes))
        return cls(with_bias, places, found[:, :READ].contiguous(), counts)

    def logits(self, exponents: Tensor, own: Tensor, reads: Tensor, writes: Tensor) -> Tensor:
        """(N, k + 1): of every kept class, and of all others together."""
        shared = self.logs @ exponents + self.counts.log()
        of_class = (embedding(self.kept, own) * self.logs[:, :-1]).sum(2)
        if writes.shape[1]:
            first = self.kept[:, : self.probabilities.shape[1]]
            said = embedding(first, reads).unflatten(2, (self.probabilities.shape[2], -1))
            hidden = torch.einsum("njvh,njv->nh", said, self.probabilities).relu()
            of_class = of_class + (embedding(self.kept, writes) * hidden[:, None]).sum(2)
        return torch.cat([shared[:, :-1] + of_class, shared[:, -1:]], dim=1)


@threadpool_limits.wrap(limits=1)
def fit_structures(rows: Stack, ways: Sequence[Structure], seed: int) -> list[Structured]:
    """Fits in several ways, each of the same size from the one before on, by maximum likelihood.

    Args:
        rows: with their labels.
        ways: of one `clip_min`, the strongest penalty first.
    """
    step = -(-len(rows.labels) // (ROWS_A_CLASS * rows.classes))
    random = np.random.default_rng(seed)
    taken = np.sort(random.permutation(len(rows.labels))[: -(-len(rows.labels) // step)])
    rows = rows.part(taken).narrowed()
    assert rows.kept is not None
    inputs = _Inputs.of(rows.values, rows.kept, rows.classes, ways[0].clip_min)
    targets, classifiers = torch.from_numpy(rows.columns), len(rows.values)
    exponents = torch.full((classifiers + 1,), 1 / classifiers)
    exponents[-1] = 0
    own, hidden = torch.zeros(rows.classes, classifiers + 1), ways[0].hidden
    drawn = random.normal(0, 0.1, (rows.classes, classifiers * hidden)).astype(np.float32)
    reads, writes = torch.from_numpy(drawn), torch.zeros(rows.classes, hidden)
    parameters = torch.cat([exponents, own.flatten(), reads.flatten(), writes.flatten()])
    shapes = [exponents.shape, own.shape, reads.shape, writes.shape]
    # What all classes share comes first: a class of few products then adds little that is chance.
    parameters = _fit(parameters, shapes, inputs, targets, replace(ways[0], l2=np.inf))
    fitted = []
    for way in ways:
        parameters = _fit(parameters, shapes, inputs, targets, way)
        found = zip(_PARTS, _split(parameters, shapes), strict=True)
        fitted.append(Structured(clip_min=way.clip_min, **{name: each.numpy() for name, each in found}))
    return fitted


def _fit(
    start: Tensor, shapes: Sequence[torch.Size], inputs: _Inputs, targets: Tensor, way: Structure
) -> Tensor:
    free = torch.ones_like(start)
    free[shapes[0].numel() - 1] = 0
    if np.isinf(way.l2):
        free[shapes[0].numel() :] = 0

    def loss(moved: Tensor) -> Tensor:
        parameters = start + free * (moved - start)
        exponents, *others = _split(parameters, shapes)
        fit = cross_entropy(inputs.logits(exponents, *others), targets, reduction="sum")
        penalty = 0 if np.isinf(way.l2) else 0.5 * way.l2 * sum(each.square().sum() for each in others)
        return fit + penalty + 0.5 * exponents.square().sum()

    return minimize(loss, start, rows=len(targets))


def _split(parameters: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
    parts = parameters.split([shape.numel() for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
