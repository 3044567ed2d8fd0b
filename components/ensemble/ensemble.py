"""The ensemble stage: votes of the decision-level members (paper, section 3.4), and of others on request."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from components.catalog import read_products
from components.config import parse_config
from components.crossfit import affordable_folds
from components.ensemble.config import EnsembleConfig
from components.ensemble.voting import (
    agreement,
    leave_one_out_gains,
    member_weights,
    out_of_fold_vote,
    starting_weights,
    vote,
)
from components.errors import InputError
from components.metrics import macro_f1
from components.probabilities import Probabilities, Voter, read_voters, write_voter

log = logging.getLogger(__name__)


def run_ensemble(
    products: Path, members: Path, feature_level: Path, config: dict[str, Any], *, probabilities: Path
) -> dict[str, float]:
    """Lets the members vote, and the feature-level classifiers beside them that `config` names.

    Where members or weights are chosen, the choice is cross-fitted on validation: the ensemble's
    validation matrix is out of fold like the members' own. On test the choice is made from all of it.

    Args:
        products: the product table.
        members: folder of member voters, as the fusion stage writes it.
        feature_level: folder of feature-level voters, likewise.
        config: see `EnsembleConfig`.
        probabilities: voter folder to write; its facts hold the members used, weights, what each adds
            (leave one out), pairwise agreement and the number of ties.

    Returns:
        Macro-F1 on validation, that of the best member, the number of members used, ties.

    Raises:
        InputError: no member, or members whose ids, classes or values do not fit the products.
    """
    parsed = parse_config(EnsembleConfig, config, where="ensemble configuration")
    table = read_products(products)
    voters = read_voters(members, classes=table.classes)
    if not voters:
        raise InputError(f"{members}: no member to vote")
    beside = _read_beside(feature_level, parsed, table.classes) if parsed.feature_level else []
    start = starting_weights(parsed, len(voters), [voter.name for voter in beside])
    voters += beside
    splits = [split for split in ("validation", "test") if len(table.rows(split))]
    if "validation" not in splits:
        raise InputError(f"{products}: no validation split to judge the members on")
    matrices = {
        split: np.stack([voter.chosen(split, table.ids[table.rows(split)]) for voter in voters])
        for split in splits
    }
    rows = table.rows("validation")
    labels, groups = table.labels[rows], table.table["group"].to_numpy()[rows]
    if parsed.learns:
        folds = affordable_folds(
            labels,
            folds=parsed.folds,
            groups=groups,
            labelled=int((table.labels >= 0).sum()),
            setting='--param ensemble_config with "folds": {}',
        )
        parsed = replace(parsed, folds=folds)
    voted, facts = _vote_everywhere(parsed, matrices, labels, groups, start)
    facts = {"config": asdict(parsed), "members": [voter.name for voter in voters], **facts}
    chosen = {
        split: Probabilities(table.ids[table.rows(split)], table.classes, values)
        for split, values in voted.items()
    }
    write_voter(probabilities, Voter(parsed.voter, "ensemble", {"chosen": chosen}, facts))
    return {
        "macro_f1": facts["macro_f1"],
        "best_member_macro_f1": max(facts["macro_f1_of_members"]),
        "members_used": float(np.count_nonzero(facts["weights"])),
        "validation_ties": float(facts["ties"]["validation"]),
    }


def _read_beside(folder: Path, config: EnsembleConfig, classes: Sequence[str]) -> list[Voter]:
    voters = read_voters(folder, classes=classes)
    for name in config.feature_level.keys() - {voter.name for voter in voters}:
        # A run that leaves out one of the preset's classifiers still gets its vote.
        log.warning(
            "%s: feature_level names %r, but fusion made %s: the others vote without it",
            *(config.voter, name, ", ".join(voter.name for voter in voters) or "none"),
        )
    return [voter for voter in voters if voter.name in config.feature_level]


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
    facts = {
        "weights": weights.tolist(),
        "macro_f1": score,
        "macro_f1_of_members": [macro_f1(labels, one.argmax(axis=1), classes) for one in validation],
        "leave_one_out_gain": leave_one_out_gains(config, validation, labels, groups, start, score),
        "agreement": agreement(validation).tolist(),
        "ties": {split: int(tied.sum()) for split, (_, tied) in votes.items()},
    }
    return {split: pred_probs for split, (pred_probs, _) in votes.items()}, facts
