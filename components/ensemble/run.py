"""The ensemble stage: votes of the decision-level members (paper, section 3.4), and of others on request."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.core.configuration import parse_config
from components.core.errors import InputError
from components.data.probabilities import Classifier, Probabilities, read_classifiers, write_classifier
from components.data.products import read_products
from components.ensemble.config import EnsembleConfig
from components.ensemble.voting import (
    agreement,
    leave_one_out_gains,
    member_weights,
    out_of_fold_vote,
    starting_weights,
    vote,
)
from components.modeling.cross_fitting import affordable_folds
from components.modeling.metrics import macro_f1

log = logging.getLogger(__name__)


def run_ensemble(
    products: Path, members: Path, feature_level: Path, config: dict[str, Any], *, probabilities: Path
) -> dict[str, float]:
    """Lets the members vote, and the feature-level classifiers beside them that `config` names.

    Where members or weights are chosen, the choice is cross-fitted on validation: the ensemble's
    validation matrix is out of fold like the members' own. On test the choice is made from all of it.

    Args:
        products: the product table.
        members: folder of member classifiers, as the fusion stage writes it.
        feature_level: folder of feature-level classifiers, likewise.
        config: see `EnsembleConfig`.
        probabilities: classifier folder to write; its metadata hold the members used, weights, what each adds
            (leave one out), pairwise agreement and the number of ties.

    Returns:
        Macro-F1 on validation, that of the best member, the number of members used, ties.

    Raises:
        InputError: no member, or members whose ids, classes or values do not fit the products.
    """
    parsed = parse_config(EnsembleConfig, config, where="ensemble configuration")
    table = read_products(products)
    classifiers = read_classifiers(members, classes=table.classes)
    if not classifiers:
        raise InputError(f"{members}: no member to vote")
    beside = _read_beside(feature_level, parsed, table.classes) if parsed.feature_level else []
    start = starting_weights(parsed, len(classifiers), [classifier.name for classifier in beside])
    classifiers += beside
    splits = [split for split in ("validation", "test") if len(table.rows(split))]
    if "validation" not in splits:
        raise InputError(f"{products}: no validation split to predict the members on")
    matrices = {
        split: np.stack(
            [classifier.chosen(split, table.ids[table.rows(split)]) for classifier in classifiers]
        )
        for split in splits
    }
    rows = table.rows("validation")
    labels, groups = table.labels[rows], table.table["group"].to_numpy()[rows]
    if parsed.learns:
        folds = affordable_folds(
            labels,
            folds=parsed.folds,
            groups=groups,
            labeled=int((table.labels >= 0).sum()),
            setting='--param ensemble_config with "folds": {}',
        )
        parsed = parsed.model_copy(update={"folds": folds})
    voted, metadata = _vote_everywhere(parsed, matrices, labels, groups, start)
    metadata = {
        "config": parsed.model_dump(),
        "members": [classifier.name for classifier in classifiers],
        **metadata,
    }
    chosen = {
        split: Probabilities(table.ids[table.rows(split)], table.classes, values)
        for split, values in voted.items()
    }
    write_classifier(probabilities, Classifier(parsed.name, "ensemble", {"chosen": chosen}, metadata))
    return {
        "macro_f1": metadata["macro_f1"],
        "best_member_macro_f1": max(metadata["macro_f1_of_members"]),
        "members_used": float(np.count_nonzero(metadata["weights"])),
        "validation_ties": float(metadata["ties"]["validation"]),
    }


def _read_beside(folder: Path, config: EnsembleConfig, classes: Sequence[str]) -> list[Classifier]:
    classifiers = read_classifiers(folder, classes=classes)
    for name in config.feature_level.keys() - {classifier.name for classifier in classifiers}:
        # A run that leaves out one of the preset's classifiers still gets its vote.
        log.warning(
            "%s: feature_level names %r, but fusion made %s: the others vote without it",
            *(config.name, name, ", ".join(classifier.name for classifier in classifiers) or "none"),
        )
    return [classifier for classifier in classifiers if classifier.name in config.feature_level]


def _vote_everywhere(
    config: EnsembleConfig,
    matrices: dict[str, np.ndarray],
    labels: np.ndarray,
    groups: np.ndarray,
    start: np.ndarray,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The vote on every split, and what is worth knowing of it."""
    validation = matrices["validation"]
    classes = validation.shape[2]
    weights = member_weights(config, validation, labels, start)
    votes = {split: vote(config, matrix, weights) for split, matrix in matrices.items()}
    votes["validation"] = out_of_fold_vote(config, validation, labels, groups, start)
    score = macro_f1(labels, votes["validation"][0].argmax(axis=1), classes)
    metadata = {
        "weights": weights.tolist(),
        "macro_f1": score,
        "macro_f1_of_members": [macro_f1(labels, one.argmax(axis=1), classes) for one in validation],
        "leave_one_out_gain": leave_one_out_gains(config, validation, labels, groups, start, score),
        "agreement": agreement(validation).tolist(),
        "ties": {split: int(tied.sum()) for split, (_, tied) in votes.items()},
    }
    return {split: pred_probs for split, (pred_probs, _) in votes.items()}, metadata
