"""The ensemble stage: votes of the decision-level members (paper, section 3.4), and of others on request."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.core.errors import InputError
from components.core.stage import Result
from components.data.image_store import ImageStore
from components.data.probabilities import Classifier, Probabilities, read_classifiers, write_classifier
from components.data.products import Products, read_products
from components.data.stacks import Stack
from components.data.top_classes import PredProbs
from components.ensemble.confidence_report import UNCALIBRATED
from components.ensemble.config import EnsembleConfig
from components.ensemble.levels import levels_document
from components.ensemble.package import TrainedModels, write_package
from components.ensemble.report import ensemble_report
from components.ensemble.voting import (
    agreement,
    leave_one_out_gains,
    member_weights,
    out_of_fold_vote,
    starting_weights,
)
from components.modeling.acceptance import Acceptance, acceptance, unlike_above
from components.modeling.calibration import calibrated
from components.modeling.cross_fitting import affordable_folds, chosen_macro_f1
from components.modeling.label_noise import LabeledPredictions
from components.modeling.metrics import log_loss, macro_f1
from components.modeling.reliability import calibration_error
from components.reports.page import safe_report

log = logging.getLogger(__name__)


def run_ensemble(
    products: Path,
    images: Path,
    members: Path,
    feature_level: Path,
    text_models: Sequence[Path],
    image_models: Sequence[Path],
    fusion_model: Path,
    profile: Path,
    config: EnsembleConfig,
    *,
    probabilities: Path,
    ensemble_model: Path,
) -> Result:
    """Lets the members vote, and the feature-level classifiers beside them that `config` names.

    Where members or weights are chosen, the choice is cross-fitted on validation: the ensemble's
    validation matrix is out of fold like the members' own. For new products the choice is
    made from all of it. So is the calibration of the vote's probabilities, which changes no predicted class.

    Args:
        images: the image store, for the report's pictures.
        members, feature_level: folders of classifiers, as the fusion stage writes them.
        text_models, image_models, fusion_model: what was trained, of which the package takes what it needs.
        profile: the catalog's, which goes along.
        probabilities: classifier folder to write; its metadata hold the members used, weights, what each adds
            (leave one out), pairwise agreement and the number of ties.
        ensemble_model: the package to write; see `components.ensemble.package`.

    Returns:
        Macro-F1 on validation, that of the best member, the number of members used, ties, calibration before
        and after; and the report.

    Raises:
        InputError: no member, or members whose ids, classes or values do not fit the products.
    """
    table = read_products(products)
    classifiers, start = _read_members(members, feature_level, config, table)
    ensemble, accepted = _vote(table, classifiers, config, start)
    write_classifier(probabilities, ensemble)
    trained = TrainedModels(text_models, image_models, fusion_model, profile)
    write_package(ensemble_model, table, classifiers, ensemble, trained)
    metadata = ensemble.metadata
    scores = {
        "macro_f1": metadata["macro_f1"],
        "best_member_macro_f1": metadata["best_member_macro_f1"],
        "members_used": float(np.count_nonzero(metadata["weights"])),
        "validation_ties": float(metadata["ties"]),
        "calibration_error": metadata["calibration_error"]["after"],
        "calibration_error_before": metadata["calibration_error"]["before"],
        "log_loss": metadata["log_loss"]["after"],
        "log_loss_before": metadata["log_loss"]["before"],
        "accepted_share": accepted.out_of_fold.coverage if accepted.out_of_fold else 0.0,
        "label_noise": accepted.noise,
    }
    report = safe_report(lambda: ensemble_report(table, ImageStore(images), classifiers, ensemble, accepted))
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


def _vote(
    table: Products, classifiers: list[Classifier], config: EnsembleConfig, start: np.ndarray
) -> tuple[Classifier, Acceptance]:
    """The vote on validation, out of fold, what is worth knowing of it, and what may be accepted unseen."""
    rows = table.rows("validation")
    if not len(rows):
        raise InputError("ensemble: the products have no validation split to predict the members on")
    labels, groups = table.labels[rows], table.table["group"].to_numpy()[rows]
    matrices = [classifier.chosen("validation", table.ids[rows]) for classifier in classifiers]
    stack = Stack.of(matrices, labels)
    predicted = np.stack([matrix.argmax(axis=1) for matrix in matrices])
    if config.learns:
        config = _with_affordable_folds(config, table)
    values, tied = out_of_fold_vote(config, stack, groups, start)
    voted, classes = stack.matrix(values), len(table.classes)
    score = macro_f1(labels, voted.argmax(axis=1), classes)
    found = calibrated(voted, labels, groups)
    known = LabeledPredictions.of(voted, found.pred_probs, labels, groups, max_noise=config.max_label_noise)
    accepted = acceptance(known, labels, target=config.target_accuracy)
    metadata = {
        "config": config.model_dump(),
        "members": [classifier.name for classifier in classifiers],
        "weights": member_weights(config, stack, start).tolist(),
        "macro_f1": score,
        "best_member_macro_f1": chosen_macro_f1(predicted, labels, groups, classes),
        "macro_f1_of_members": [macro_f1(labels, one, classes) for one in predicted],
        "leave_one_out_gain": leave_one_out_gains(config, stack, groups, start, score),
        "agreement": agreement(predicted).tolist(),
        "ties": int(tied.sum()),
        "calibration": found.calibrator.document(),
        "threshold": {
            **accepted.document(),
            "checked_share": config.checked_share,
            "unlike_above": unlike_above(found.pred_probs),
            **levels_document(table, config, voted, found.pred_probs, known),
        },
        "log_loss_of_calibrations": found.log_loss,
        "calibration_error": _before_and_after(calibration_error, labels, voted, found.pred_probs),
        "log_loss": _before_and_after(log_loss, labels, voted, found.pred_probs),
    }
    matrices = {
        name: {"validation": Probabilities(table.ids[rows], table.classes, values)}
        for name, values in (("chosen", found.pred_probs), (UNCALIBRATED, voted))
    }
    return Classifier(config.name, "ensemble", matrices, metadata), accepted


def _before_and_after(
    measure: Callable[[np.ndarray, Any], float], labels: np.ndarray, *pred_probs: PredProbs
) -> dict[str, float]:
    return dict(zip(("before", "after"), (measure(labels, each) for each in pred_probs), strict=True))


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
