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

from components.fusion.decision_level.logistic import to_logs
from components.modeling.ridge import minimize

# Smaller probabilities say no more than "not this class"; their logarithms would only add noise.
CLIP_MIN = 1e-5


@dataclass(frozen=True)
class ProductRule:
    """A fitted product: `exponents` (V,) and the logarithms of the class frequencies, (C,)."""

    exponents: np.ndarray
    log_prior: np.ndarray

    def predict(self, pred_probs: np.ndarray) -> np.ndarray:
        """(V, N, C) probabilities of the classifiers -> (N, C) float32."""
        logits = _logits(
            to_logs(pred_probs, CLIP_MIN), torch.from_numpy(self.exponents), torch.from_numpy(self.log_prior)
        )
        return logits.softmax(-1).float().numpy()


@threadpool_limits.wrap(limits=1)
def fit_product(pred_probs: np.ndarray, labels: np.ndarray) -> ProductRule:
    """Fits the exponents by maximum likelihood.

    Args:
        pred_probs: (V, N, C) probabilities of V classifiers.
        labels: (N,) classes.
    """
    classifiers, rows, classes = pred_probs.shape
    # One row more of each class: a class that these rows lack is rare, not impossible.
    frequencies = (np.bincount(labels, minlength=classes) + 1) / (rows + classes)
    log_prior, logs, targets = (
        torch.from_numpy(np.log(frequencies)),
        to_logs(pred_probs, CLIP_MIN),
        torch.from_numpy(labels),
    )
    equal = torch.full((classifiers,), 1 / classifiers, dtype=torch.float64)

    def loss(exponents: Tensor) -> Tensor:
        logits = _logits(logs, exponents, log_prior)
        fit = cross_entropy(logits, targets, reduction="none").sum()
        return fit + 0.5 * (exponents - equal).square().sum()

    exponents = minimize(loss, equal, rows=rows)
    return ProductRule(exponents.numpy(), log_prior.numpy())


def _logits(logs: Tensor, exponents: Tensor, log_prior: Tensor) -> Tensor:
    return torch.tensordot(exponents, logs - log_prior, dims=1) + log_prior
