"""Decision-level fusion: classifiers over the classifiers' probabilities (paper, section 3.3.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from components.fusion.config import (
    DecisionConfig,
    LinearConfig,
    LogisticConfig,
    MeanConfig,
    MlpConfig,
    ProductConfig,
)
from components.fusion.decision_level.logistic import Candidate, candidates, fit_candidates
from components.fusion.decision_level.net_training import Schedule, train_nets
from components.fusion.decision_level.nets import Net
from components.fusion.decision_level.product import fit_product
from components.modeling.cross_fitting import cross_fit, mixture_weights, weighted_mean
from components.modeling.voting import majority_vote, voted_probabilities


@dataclass(frozen=True)
class Member:
    """One member of the ensemble: a configuration with the classifiers it reads.

    Attributes:
        name: unique within a run.
        inputs: numbers of its classifiers.
    """

    name: str
    inputs: tuple[int, ...]
    config: DecisionConfig


@dataclass(frozen=True)
class Fused:
    """A member's probabilities: out of fold (N, C) on validation, and on test (T, C), float32."""

    out_of_fold: np.ndarray
    test: np.ndarray
    metadata: dict[str, Any]


def fuse_members(
    members: Sequence[Member],
    pred_probs: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    test: np.ndarray,
    *,
    seed: int,
    device: torch.device,
) -> dict[str, Fused]:
    """Fits every member on the validation split, cross-fitted, and applies it to the test split.

    Args:
        pred_probs: (V, N, C) the classifiers on validation.
        labels: (N,) classes.
        folds: (N,) fold of every row.
        test: (V, T, C) the classifiers on test; T may be 0.

    Returns:
        Member name -> what it makes of the classifiers, in the order of `members`.
    """
    nets = [member for member in members if isinstance(member.config, LinearConfig)]
    fused = _fuse_nets(nets, pred_probs, labels, folds, test, seed=seed, device=device)
    for member in members:
        inputs = list(member.inputs)
        if isinstance(member.config, LogisticConfig):
            fused[member.name] = fuse_logistic(member.config, pred_probs[inputs], labels, folds, test[inputs])
        elif isinstance(member.config, MeanConfig):
            fused[member.name] = fuse_mean(pred_probs[inputs], labels, folds, test[inputs])
        elif isinstance(member.config, ProductConfig):
            fused[member.name] = fuse_product(
                member.config.balance, pred_probs[inputs], labels, folds, test[inputs]
            )
    return {member.name: fused[member.name] for member in members}


def _fuse_nets(
    members: Sequence[Member],
    pred_probs: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    test: np.ndarray,
    *,
    seed: int,
    device: torch.device,
) -> dict[str, Fused]:
    together: dict[Schedule, list[Net]] = {}
    for member in members:
        config = member.config
        assert isinstance(config, LinearConfig)
        schedule = Schedule(config.learning_rate, config.epochs, config.batch_size)
        hidden = config.hidden if isinstance(config, MlpConfig) else 0
        together.setdefault(schedule, []).append(Net(member.name, member.inputs, hidden))
    fused = {}
    for schedule, nets in together.items():
        trained = train_nets(pred_probs, labels, folds, nets, schedule=schedule, seed=seed, device=device)
        for net, result in zip(nets, trained, strict=True):
            votes = result.predict(test[list(net.inputs)])
            winners, tied = majority_vote(votes)
            chosen = result.macro_f1.max(axis=0)
            metadata = {
                "chosen_epochs": result.epochs.tolist(),
                "macro_f1_of_chosen_epochs": chosen.tolist(),
                "test_ties": int(tied.sum()),
            }
            fused[net.name] = Fused(result.out_of_fold, voted_probabilities(votes, winners), metadata)
    return fused


def fuse_logistic(
    config: LogisticConfig,
    pred_probs: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    test: np.ndarray,
) -> Fused:
    """Logistic regression on log-probabilities, refitted on all rows for the test split.

    The candidate of a fold's classifier is the one with the least log-loss on the *other* folds'
    held-out rows; that of the refit, on all.
    """
    ways = candidates(config.strengths, config.smallest)
    held_out, _ = cross_fit(
        lambda rows: fit_candidates(pred_probs[:, rows], labels[rows], ways),
        lambda fits, rows: np.stack([fit.predict(pred_probs[:, rows]) for fit in fits], axis=1),
        folds,
    )  # N, candidates, C
    losses = -np.log(held_out[np.arange(len(labels)), :, labels].astype(np.float64) + 1e-12)
    of_fold = np.stack([losses[folds == fold].sum(axis=0) for fold in range(int(folds.max()) + 1)])
    chosen = (of_fold.sum(axis=0) - of_fold).argmin(axis=1)
    best = ways[int(of_fold.sum(axis=0).argmin())]
    refit = fit_candidates(pred_probs, labels, [best])[0]
    metadata = {
        "chosen": _candidate_metadata(best),
        "chosen_by_folds": [_candidate_metadata(ways[i]) for i in chosen],
        "log_loss": [
            {**_candidate_metadata(way), "log_loss": loss}
            for way, loss in zip(ways, (of_fold.sum(axis=0) / len(labels)).tolist(), strict=True)
        ],
    }
    out_of_fold = held_out[np.arange(len(labels)), chosen[folds]]
    return Fused(out_of_fold, refit.predict(test), metadata)


def _candidate_metadata(way: Candidate) -> dict[str, Any]:
    if np.isinf(way.ridge):
        return {"kind": "product", "smallest": way.smallest}
    return {"kind": "ridge", "ridge": way.ridge, "smallest": way.smallest}


def fuse_mean(pred_probs: np.ndarray, labels: np.ndarray, folds: np.ndarray, test: np.ndarray) -> Fused:
    """The weighted mean of the inputs; the weights minimize the log-loss of the rows they are fitted on."""
    out_of_fold, weights_of_folds = cross_fit(
        lambda rows: mixture_weights(pred_probs[:, rows], labels[rows]),
        lambda weights, rows: weighted_mean(pred_probs[:, rows], weights),
        folds,
    )
    weights = mixture_weights(pred_probs, labels)
    metadata = {"weights": weights.tolist(), "weights_of_folds": [w.tolist() for w in weights_of_folds]}
    return Fused(out_of_fold, weighted_mean(test, weights), metadata)


def fuse_product(
    balance: float, pred_probs: np.ndarray, labels: np.ndarray, folds: np.ndarray, test: np.ndarray
) -> Fused:
    """The product of the inputs' ratios to the class frequencies; see `product.fit_product`."""
    out_of_fold, fits = cross_fit(
        lambda rows: fit_product(pred_probs[:, rows], labels[rows], balance=balance),
        lambda fit, rows: fit.predict(pred_probs[:, rows]),
        folds,
    )
    fit = fit_product(pred_probs, labels, balance=balance)
    metadata = {
        "exponents": fit.exponents.tolist(),
        "exponents_of_folds": [of_fold.exponents.tolist() for of_fold in fits],
    }
    return Fused(out_of_fold, fit.predict(test), metadata)
