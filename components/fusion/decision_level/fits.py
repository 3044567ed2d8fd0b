"""How the decision-level kinds are fitted: out of fold on validation, and on all of it for new products."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from components.data.stacks import Stack
from components.fusion.config import GPU_ROWS
from components.fusion.decision_level.fitted import CrossFitted, Mean, net_tensors
from components.fusion.decision_level.logistic import fit_candidates
from components.fusion.decision_level.members import Fused, FusionData, Member
from components.fusion.decision_level.net_training import Schedule, train_nets
from components.fusion.decision_level.nets import Net, TrainedNet
from components.fusion.decision_level.product import CLIP_MIN, fit_product
from components.fusion.decision_level.structured import Structure, fit_structures
from components.fusion.kinds.linear import LinearFusionConfig
from components.fusion.kinds.logistic import LogisticConfig
from components.fusion.kinds.mlp import MlpConfig
from components.modeling.cross_fitting import cross_fit, mixture_weights
from components.modeling.device import choose_device, device_name
from components.modeling.voting import majority_vote, voted_probabilities

NET_L2 = 300.0  # of a structure in place of a net, in rows


def fit_nets(members: Sequence[Member], data: FusionData) -> list[Fused]:
    """The paper's nets, all of one schedule together; a net of each fold votes on the test split.

    Of many classes, which a layer over all probabilities would have more weights for than products, a
    structure with as many hidden units as the net has.
    """
    if not isinstance(data.on_validation, np.ndarray):
        return [_fit_structures(data.of(member), [_structure_of(member.config)]) for member in members]
    together: dict[tuple[Schedule, torch.device], list[Net]] = {}
    for member in members:
        config = member.config
        assert isinstance(config, LinearFusionConfig | MlpConfig)
        schedule = Schedule(config.learning_rate, config.epochs, config.batch_size)
        hidden = config.hidden if isinstance(config, MlpConfig) else 0
        device = choose_device(config.accelerator, enough=len(data.labels) >= GPU_ROWS)
        together.setdefault((schedule, device), []).append(Net(member.name, member.inputs, hidden))
    fused = {}
    rows = data.on_validation, data.labels, data.folds
    for (schedule, device), nets in together.items():
        trained = train_nets(*rows, nets, schedule=schedule, seed=data.seed, device=device)
        for net, result in zip(nets, trained, strict=True):
            fused[net.name] = _vote_of_nets(result, data.test[list(net.inputs)], device)
    return [fused[member.name] for member in members]


def _structure_of(config: Any) -> Structure:
    hidden = config.hidden if isinstance(config, MlpConfig) else 0
    return Structure(NET_L2, hidden, CLIP_MIN)


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

    The penalty of a fold's classifier is the one with the least log-loss on the *other* folds'
    held-out rows; that of the refit, on all.
    """
    return [_fit_logistic(member.config, data.of(member)) for member in members]


def _fit_logistic(config: Any, data: FusionData) -> Fused:
    assert isinstance(config, LogisticConfig)
    l2 = [np.inf, *sorted(config.l2)[::-1]]
    if not isinstance(data.on_validation, np.ndarray):
        return _fit_structures(data, [Structure(penalty, 0, max(config.clip_min)) for penalty in l2])
    pred_probs, labels, folds = data.on_validation, data.labels, data.folds
    held_out, fits_of_folds = cross_fit(
        lambda rows: fit_candidates(pred_probs[:, rows], labels[rows], l2, config.clip_min),
        lambda fits, rows: np.stack([fit.predict(pred_probs[:, rows]) for fit in fits], axis=1),
        folds,
    )  # N, penalties, C
    ways = [{"kind": "product"} if np.isinf(penalty) else {"kind": "ridge", "l2": penalty} for penalty in l2]
    chosen, best, metadata = _choice(held_out[np.arange(len(labels)), :, labels], folds, ways)
    refit = fit_candidates(pred_probs, labels, [l2[best]], config.clip_min)[0]
    out_of_fold = held_out[np.arange(len(labels)), chosen[folds]]
    of_folds = [fits[i] for fits, i in zip(fits_of_folds, chosen, strict=True)]
    metadata |= {"clip_min": refit.clip_min, "clip_min_of_folds": [fit.clip_min for fit in of_folds]}
    return Fused(out_of_fold, refit.predict(data.test), metadata, CrossFitted(refit, of_folds).tensors())


def _choice(
    likelihoods: np.ndarray, folds: np.ndarray, ways: Sequence[dict[str, Any]]
) -> tuple[np.ndarray, int, dict[str, Any]]:
    """By fold the number of the way with the least log-loss on the other folds, that of the best on all, and
    both in words.

    Args:
        likelihoods: (N, ways) what each way, fitted without a row's fold, gives the row's label.
        ways: in words.
    """
    losses = -np.log(likelihoods.astype(np.float64) + 1e-12)
    of_fold = np.stack([losses[folds == fold].sum(axis=0) for fold in range(int(folds.max()) + 1)])
    chosen = (of_fold.sum(axis=0) - of_fold).argmin(axis=1)
    best = int(of_fold.sum(axis=0).argmin())
    metadata = {
        "chosen": ways[best],
        "chosen_by_folds": [ways[i] for i in chosen],
        "log_loss": [
            {**way, "log_loss": loss}
            for way, loss in zip(ways, (of_fold.sum(axis=0) / len(folds)).tolist(), strict=True)
        ],
    }
    return chosen, best, metadata


def _fit_structures(data: FusionData, ways: Sequence[Structure]) -> Fused:
    """As the logistic regression: each fold in the way that is the best on the others."""
    rows, folds, fits = data.rows, data.folds, []
    likelihoods = np.empty((len(folds), len(ways)), np.float32)
    for fold in range(int(folds.max()) + 1):
        fits.append(fit_structures(rows.part(np.flatnonzero(folds != fold)), ways, data.seed))
        held_out = rows.part(np.flatnonzero(folds == fold))
        for number, fit in enumerate(fits[-1]):
            of_columns = fit.predict(held_out.values, held_out.kept)
            likelihoods[folds == fold, number] = of_columns[np.arange(len(of_columns)), held_out.columns]
    chosen, best, metadata = _choice(likelihoods, folds, [_in_words(way) for way in ways])
    of_folds = [of_fold[number] for of_fold, number in zip(fits, chosen, strict=True)]
    refit = fit_structures(rows, ways[: best + 1], data.seed)[-1]
    return _fused(data, CrossFitted(refit, of_folds), metadata)


def _in_words(way: Structure) -> dict[str, Any]:
    if np.isinf(way.l2):
        return {"kind": "product", "clip_min": way.clip_min}
    return {"kind": "structure", "l2": way.l2, "clip_min": way.clip_min, "hidden": way.hidden}


def _fused(data: FusionData, fitted: CrossFitted, metadata: dict[str, Any]) -> Fused:
    """What the fits of the folds make of the rows that each left out, and the refit of the test split."""
    rows, test = data.rows, data.test_rows
    values = np.empty(rows.values.shape[1:], np.float32)
    for fold, fit in enumerate(fitted.of_folds):
        held_out = rows.part(np.flatnonzero(data.folds == fold))
        values[data.folds == fold] = fit.predict(held_out.values, held_out.kept)
    of_test = test.matrix(fitted.refit.predict(test.values, test.kept))
    return Fused(rows.matrix(values), of_test, metadata, fitted.tensors())


def fit_means(members: Sequence[Member], data: FusionData) -> list[Fused]:
    """The weighted mean of the inputs; the weights minimize the log-loss of the rows they are fitted on."""
    return [_fit_mean(data.of(member)) for member in members]


def _fit_mean(data: FusionData) -> Fused:
    fitted = _cross_fitted(lambda rows: Mean(mixture_weights(rows.values, rows.columns)), data)
    metadata = {
        "weights": fitted.refit.weights.tolist(),
        "weights_of_folds": [of_fold.weights.tolist() for of_fold in fitted.of_folds],
    }
    return _fused(data, fitted, metadata)


def fit_products(members: Sequence[Member], data: FusionData) -> list[Fused]:
    """The product of the inputs' ratios to the class frequencies; see `product.fit_product`."""
    return [_fit_product(data.of(member)) for member in members]


def _fit_product(data: FusionData) -> Fused:
    fitted = _cross_fitted(fit_product, data)
    metadata = {
        "exponents": fitted.refit.exponents.tolist(),
        "exponents_of_folds": [of_fold.exponents.tolist() for of_fold in fitted.of_folds],
    }
    return _fused(data, fitted, metadata)


def _cross_fitted(fit: Callable[[Stack], Any], data: FusionData) -> CrossFitted:
    folds = range(int(data.folds.max()) + 1)
    of_folds = [fit(data.rows.part(np.flatnonzero(data.folds != fold))) for fold in folds]
    return CrossFitted(fit(data.rows), of_folds)
