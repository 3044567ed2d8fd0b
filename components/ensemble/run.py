"""The ensemble stage: votes of the decision-level members (paper, section 3.4), and of others on request."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.core.errors import InputError
from components.core.stage import Result
from components.data.image_store import ImageStore
from components.data.probabilities import Classifier, Probabilities, read_classifiers, write_classifier
from components.data.products import Products, read_products
from components.ensemble.config import EnsembleConfig
from components.ensemble.report import ensemble_report
from components.ensemble.voting import (
    agreement,
    leave_one_out_gains,
    member_weights,
    out_of_fold_vote,
    starting_weights,
    vote,
)
from components.modeling.cross_fitting import affordable_folds, chosen_macro_f1
from components.modeling.metrics import macro_f1
from components.reports.page import safe_report

log = logging.getLogger(__name__)


def run_ensemble(
    products: Path,
    images: Path,
    members: Path,
    feature_level: Path,
    config: EnsembleConfig,
    *,
    probabilities: Path,
) -> Result:
    """Lets the members vote, and the feature-level classifiers beside them that `config` names.

    Where members or weights are chosen, the choice is cross-fitted on validation: the ensemble's
    validation matrix is out of fold like the members' own. On test the choice is made from all of it.

    Args:
        images: the image store, for the report's pictures.
        members, feature_level: folders of classifiers, as the fusion stage writes them.
        probabilities: classifier folder to write; its metadata hold the members used, weights, what each adds
            (leave one out), pairwise agreement and the number of ties.

    Returns:
        Macro-F1 on validation, that of the best member, the number of members used, ties; and the report.

    Raises:
        InputError: no member, or members whose ids, classes or values do not fit the products.
    """
    table = read_products(products)
    classifiers, start = _read_members(members, feature_level, config, table)
    matrices = _stack(classifiers, table)
    if config.learns:
        config = _with_affordable_folds(config, table)
    rows = table.rows("validation")
    labels, groups = table.labels[rows], table.table["group"].to_numpy()[rows]
    voted, found = _vote_everywhere(config, matrices, labels, groups, start)
    names = [classifier.name for classifier in classifiers]
    metadata = {"config": config.model_dump(), "members": names, **found}
    chosen = {
        split: Probabilities(table.ids[table.rows(split)], table.classes, values)
        for split, values in voted.items()
    }
    ensemble = Classifier(config.name, "ensemble", {"chosen": chosen}, metadata)
    write_classifier(probabilities, ensemble)
    scores = {
        "macro_f1": metadata["macro_f1"],
        "best_member_macro_f1": metadata["best_member_macro_f1"],
        "members_used": float(np.count_nonzero(metadata["weights"])),
        "validation_ties": float(metadata["ties"]["validation"]),
    }
    report = safe_report(lambda: ensemble_report(table, ImageStore(images), classifiers, ensemble))
    return Result(scores, report)


def _read_members(
    members: Path, feature_level: Path, config: EnsembleConfig, table: Products
) -> tuple[list[Classifier], np.ndarray]:
    """Who votes, the members first, and the weights that the vote starts from."""
    classifiers = read_classifiers(members, classes=table.classes)
    if not classifiers:
        raise InputError(f"{members}: no member to vote")
    beside = _read_beside(feature_level, config, table.classes) if config.feature_level else []
    start = starting_weights(config, len(classifiers), [classifier.name for classifier in beside])
    return classifiers + beside, start


def _stack(classifiers: list[Classifier], table: Products) -> dict[str, np.ndarray]:
    """Split -> (V, N, C): every classifier's rows of a split, in the table's order."""
    ids = {split: table.ids[table.rows(split)] for split in ("validation", "test")}
    if not len(ids["validation"]):
        raise InputError("ensemble: the products have no validation split to predict the members on")
    return {
        split: np.stack([classifier.chosen(split, wanted) for classifier in classifiers])
        for split, wanted in ids.items()
        if len(wanted)
    }


def _with_affordable_folds(config: EnsembleConfig, table: Products) -> EnsembleConfig:
    rows = table.rows("validation")
    folds = affordable_folds(
        table.labels[rows],
        folds=config.folds,
        groups=table.table["group"].to_numpy()[rows],
        labeled=int((table.labels >= 0).sum()),
        setting='--param ensemble_config with "folds": {}',
    )
    return config.model_copy(update={"folds": folds})


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
        "best_member_macro_f1": chosen_macro_f1(validation.argmax(axis=2), labels, groups, classes),
        "macro_f1_of_members": [macro_f1(labels, one.argmax(axis=1), classes) for one in validation],
        "leave_one_out_gain": leave_one_out_gains(config, validation, labels, groups, start, score),
        "agreement": agreement(validation).tolist(),
        "ties": {split: int(tied.sum()) for split, (_, tied) in votes.items()},
    }
    return {split: pred_probs for split, (pred_probs, _) in votes.items()}, metadata
