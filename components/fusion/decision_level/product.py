"""The product of what the classifiers say beyond the class frequencies.

Where text and image are independent given the class, Bayes' rule gives p(class | all) as the class's
frequency times the product of p(class | one) / frequency (Kittler et al., "On combining classifiers", IEEE
TPAMI 1998: the product rule). Classifiers are neither independent nor calibrated, so each ratio has an
exponent: one number a classifier, which few rows tell well where a classifier on all probabilities would need
many of each class.
"""

from dataclasses import dataclass

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn.functional import cross_entropy

from components.data.stacks import Stack
from components.data.top_classes import counts_of
from components.fusion.decision_level.logistic import to_logs
from components.modeling.ridge import minimize

# Smaller probabilities say no more than "not this class"; their logarithms would only add noise.
CLIP_MIN = 1e-5


@dataclass(frozen=True)
class ProductRule:
    """A fitted product: `exponents` (V,) and the logarithms of the class frequencies, (C,)."""

    exponents: np.ndarray
    log_prior: np.ndarray

    def predict(self, values: np.ndarray, kept: np.ndarray | None = None) -> np.ndarray:
        """Values (V, N, K) of the classifiers, of classes `kept`, as `Stack` has them -> (N, K) float32."""
        log_prior, exponents = torch.from_numpy(self.log_prior), torch.from_numpy(self.exponents)
        if kept is None:
            ratios = to_logs(values, CLIP_MIN) - log_prior
            return _logits(ratios, exponents, log_prior).softmax(-1).float().numpy()
        ratios, prior, counts = _of_kept(values, kept, log_prior)
        return (_logits(ratios, exponents.float(), prior + counts.log()).softmax(-1) / counts).numpy()


@threadpool_limits.wrap(limits=1)
def fit_product(rows: Stack) -> ProductRule:
    """Fits the exponents by maximum likelihood, of rows with their labels."""
    count, rows = len(rows.labels), rows.narrowed()
    # One row more of each class: a class that these rows lack is rare, not impossible.
    frequencies = (np.bincount(rows.labels, minlength=rows.classes) + 1) / (count + rows.classes)
    log_prior, targets = torch.from_numpy(np.log(frequencies)), torch.from_numpy(rows.columns)
    if rows.kept is None:
        ratios, prior = to_logs(rows.values, CLIP_MIN) - log_prior, log_prior
    else:
        ratios, prior, counts = _of_kept(rows.values, rows.kept, log_prior)
        prior = prior + counts.log()
    equal = torch.full((len(rows.values),), 1 / len(rows.values), dtype=ratios.dtype)

    def loss(exponents: Tensor) -> Tensor:
        logits = _logits(ratios, exponents, prior)
        fit = cross_entropy(logits, targets, reduction="none").sum()
        return fit + 0.5 * (exponents - equal).square().sum()

    exponents = minimize(loss, equal, rows=count)
    return ProductRule(exponents.double().numpy(), log_prior.numpy())


def _of_kept(values: np.ndarray, kept: np.ndarray, log_prior: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logarithms of (V, N, k + 1) ratios and of (N, k + 1) frequencies, float32, and classes a column.

    The others have their mean frequency.
    """
    of_kept = log_prior.float()[torch.from_numpy(kept.astype(np.int64))]
    others = (1 - of_kept.exp().sum(1, keepdim=True)).clamp(min=0) / (len(log_prior) - kept.shape[1])
    prior = torch.cat([of_kept, others.clamp(min=CLIP_MIN**2).log()], dim=1)
    logs = torch.from_numpy(values.astype(np.float32, copy=False)).clamp(min=CLIP_MIN).log()
    return logs - prior, prior, torch.from_numpy(counts_of(kept.shape[1], len(log_prior)))


def _logits(ratios: Tensor, exponents: Tensor, log_prior: Tensor) -> Tensor:
    return torch.tensordot(exponents, ratios, dims=1) + log_prior
