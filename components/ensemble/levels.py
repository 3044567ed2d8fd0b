"""The thresholds of the levels of a tree of classes, as the vote chooses them, and what its report says."""

import logging
from typing import Any

from components.data.class_tree import tree_of
from components.data.probabilities import Classifier
from components.data.products import Products
from components.data.top_classes import PredProbs
from components.ensemble.config import EnsembleConfig
from components.modeling.deepest_level import level_choices
from components.modeling.label_noise import LabeledPredictions
from components.reports.page import percent, target_percent

log = logging.getLogger(__name__)


def levels_document(
    table: Products,
    config: EnsembleConfig,
    voted: PredProbs,
    pred_probs: PredProbs,
    classes: LabeledPredictions,
) -> dict[str, Any]:
    """What the model's threshold holds of levels: `levels`, the deepest first; nothing where none is wanted.

    Args:
        voted, pred_probs: (N, C) of the validation split before and after calibration.
        classes: the same, as labeled predictions.
    """
    if not config.deepest_level:
        return {}
    tree = tree_of(table.classes, table.metadata)
    if tree is None:
        log.warning("deepest_level: no class has a parent, so every answer is a class; see docs/classes.md")
        return {}
    rows = table.rows("validation")
    labels, groups = table.labels[rows], table.table["group"].to_numpy()[rows]
    given = {"classes": classes, "target": config.target_accuracy}
    found = level_choices(tree, voted, pred_probs, labels, groups, **given)
    return {"levels": [each.document() for each in found]}


def levels_section(ensemble: Classifier) -> dict[str, Any] | None:
    """What the report says of it; None where the vote answers by classes alone."""
    threshold = ensemble.metadata.get("threshold") or {}
    if "levels" not in threshold:
        return None
    kept = [each["out_of_fold"] for each in threshold["levels"] if each["out_of_fold"]]
    answered = sum(each["coverage"] for each in kept)
    right = sum(each["coverage"] * each["accuracy"] for each in kept) / answered if answered else 0.0
    target, share, right = target_percent(threshold["target"]), percent(answered, 0), percent(right, 1)
    return {
        "sentence": (
            f"At the deepest level whose answers reach {target} %, {share} % of the products are answered, "
            f"of which {right} % are right as labeled, each by thresholds chosen on other products."
        ),
        "rows": threshold["levels"],
    }
