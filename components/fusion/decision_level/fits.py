"""How the decision-level kinds are fitted: out of fold on validation, and on all of it for new products."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from components.fusion.config import GPU_ROWS
from components.fusion.decision_level.fitted import CrossFitted, Mean, net_tensors
from components.fusion.decision_level.logistic import Candidate, candidates, fit_candidates
from components.fusion.decision_level.members import Fused, FusionData, Member
from components.fusion.decision_level.net_training import Schedule, train_nets
from components.fusion.decision_level.nets import Net, TrainedNet
from components.fusion.decision_level.product import fit_product
from components.fusion.kinds.linear import LinearFusionConfig
from components.fusion.kinds.logistic import LogisticConfig
from components.fusion.kinds.mlp import MlpConfig
from components.modeling.cross_fitting import cross_fit, mixture_weights
from components.modeling.device import choose_device, device_name
from components.modeling.voting import majority_vote, voted_probabilities


def fit_nets(members: Sequence[Member], data: FusionData) -> list[Fused]:
    """The paper's nets, all of one schedule together; a net of each fold votes on the test split."""
    together: dict[tuple[Schedule, torch.device], list[Net]] = {}
    for member in members:
        config = member.config
        assert isinstance(config, LinearFusionConfig | MlpConfig)
        schedule = Schedule(config.learning_rate, config.epochs, config.batch_size)
        hidden = config.hidden if isinstance(config, MlpConfig) else 0
        device = choose_device(config.accelerator, enough=len(data.labels) >= GPU_ROWS)
        together.setdefault((schedule, device), []).append(Net(member.name, member.inputs, hidden))
    fused = {}
    rows = data.pred_probs, data.labels, data.folds
    for (schedule, device), nets in together.items():
        trained = train_nets(*rows, nets, schedule=schedule, seed=data.seed, device=device)
        for net, result in zip(nets, trained, strict=True):
            fused[net.name] = _vote_of_nets(result, data.test[list(net.inputs)], device)
    return [fused[member.name] for member in members]


def _vote_of_nets(trained: TrainedNet, test: np.ndarray, device: torch.device) -> Fused:
    votes = trained.predict(test)
    winners, tied = majority_vote(votes)
    metadata = {
        "chosen_epochs": trained.epochs.tolist(),
        "macro_f1_of_chosen_epochs": trained.macro_f1.max(axis=0).tolist(),
        "test_ties": int(tied.sum()),
        "device": device_name(device),
    }
    return Fused(trained.out_of_fold, voted_probabilities(votes, winners), metadata, net_tensors(trained))


def fit_logistic(members: Sequence[Member], data: FusionData) -> list[Fused]:
    """Logistic regression on log-probabilities, refitted on all rows for new products.

    The candidate of a fold's classifier is the one with the least log-loss on the *other* folds'
    held-out rows; that of the refit, on all.
    """
    return [_fit_logistic(member.config, data.of(member)) for member in members]


def _fit_logistic(config: Any, data: FusionData) -> Fused:
    assert isinstance(config, LogisticConfig)
    pred_probs, labels, folds = data.pred_probs, data.labels, data.folds
    ways = candidates(config.l2, config.clip_min)
    held_out, fits_of_folds = cross_fit(
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
    of_folds = [fits[i] for fits, i in zip(fits_of_folds, chosen, strict=True)]
    return Fused(out_of_fold, refit.predict(data.test), metadata, CrossFitted(refit, of_folds).tensors())


def _candidate_metadata(way: Candidate) -> dict[str, Any]:
    if np.isinf(way.l2):
        return {"kind": "product", "clip_min": way.clip_min}
    return {"kind": "ridge", "l2": way.l2, "clip_min": way.clip_min}


def fit_means(members: Sequence[Member], data: FusionData) -> list[Fused]:
    """The weighted mean of the inputs; the weights minimize the log-loss of the rows they are fitted on."""
    return [_fit_mean(data.of(member)) for member in members]


def _fit_mean(data: FusionData) -> Fused:
    pred_probs, labels = data.pred_probs, data.labels
    out_of_fold, fits = cross_fit(
        lambda rows: Mean(mixture_weights(pred_probs[:, rows], labels[rows])),
        lambda fit, rows: fit.predict(pred_probs[:, rows]),
        data.folds,
    )
    fit = Mean(mixture_weights(pred_probs, labels))
    metadata = {
        "weights": fit.weights.tolist(),
        "weights_of_folds": [of_fold.weights.tolist() for of_fold in fits],
    }
    return Fused(out_of_fold, fit.predict(data.test), metadata, CrossFitted(fit, fits).tensors())


def fit_products(members: Sequence[Member], data: FusionData) -> list[Fused]:
    """The product of the inputs' ratios to the class frequencies; see `product.fit_product`."""
    return [_fit_product(data.of(member)) for member in members]


def _fit_product(data: FusionData) -> Fused:
    pred_probs, labels = data.pred_probs, data.labels
    out_of_fold, fits = cross_fit(
        lambda rows: fit_product(pred_probs[:, rows], labels[rows]),
        lambda fit, rows: fit.predict(pred_probs[:, rows]),
        data.folds,
    )
    fit = fit_product(pred_probs, labels)
    metadata = {
        "exponents": fit.exponents.tolist(),
        "exponents_of_folds": [of_fold.exponents.tolist() for of_fold in fits],
    }
    return Fused(out_of_fold, fit.predict(data.test), metadata, CrossFitted(fit, fits).tensors())
