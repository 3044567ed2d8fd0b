"""Answers at the deepest level of a tree of classes that the model's thresholds let stand."""

import numpy as np

from components.data.class_tree import SEPARATOR
from components.data.top_classes import PredProbs
from components.lifecycle.model import Model
from components.modeling.deepest_level import summed
from components.modeling.label_noise import DIGITS, rounded

ANSWER, ANSWER_LEVEL, ANSWER_PROBABILITY = COLUMNS = ("answer", "answer_level", "answer_probability")


def answers_by_level(model: Model) -> bool:
    """Whether the model was trained to answer at the deepest level."""
    return "levels" in model.threshold


def level_answers(model: Model, pred_probs: PredProbs, fine: np.ndarray) -> dict[str, list[str]]:
    """The columns of `predictions_detail.tsv` on it, "" where no level may answer; none by other models.

    Args:
        pred_probs: (N, C), calibrated.
        fine: (N,) bool, whether nothing but a low probability speaks against an answer.
    """
    if not answers_by_level(model):
        return {}
    count, unanswered = len(pred_probs), fine.copy()
    columns = {name: [""] * count for name in COLUMNS}
    separator = model.document.get("preprocess", {}).get("class_separator") or SEPARATOR
    for level, threshold in model.levels:
        of_nodes = summed(level, pred_probs)
        sure, nodes = rounded(of_nodes), of_nodes.argmax(axis=1)
        for at in np.flatnonzero(unanswered & (sure >= threshold)).tolist():
            path = level.paths[nodes[at]]
            columns[ANSWER][at] = separator.join(path)
            columns[ANSWER_LEVEL][at] = str(len(path))
            columns[ANSWER_PROBABILITY][at] = f"{sure[at]:.{DIGITS}f}"
        unanswered &= sure < threshold
    return columns
