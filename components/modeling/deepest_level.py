"""Which level of a tree of classes a prediction is answered at: the deepest that is right often enough."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from components.data.class_tree import ClassTree, Level
from components.data.top_classes import PredProbs, in_blocks
from components.modeling.acceptance import Accepted, accepted_of, curve_of, reaching
from components.modeling.cross_fitting import choice_folds
from components.modeling.label_noise import LabeledPredictions


@dataclass(frozen=True)
class LevelChoice:
    """From which probability on a level answers what no deeper one does.

    Attributes:
        depth: of the level, 1 at the top.
        label_noise: share of the labels there that is taken to be wrong.
        chosen: what the level's threshold accepts; None where it reaches the target for nothing.
        out_of_fold: the same, each product's thresholds chosen on other products.
    """

    depth: int
    label_noise: float
    chosen: Accepted | None
    out_of_fold: Accepted | None

    def document(self) -> dict[str, Any]:
        """What `model.json` says of it."""
        promised = {"chosen": self.chosen, "out_of_fold": self.out_of_fold}
        return {
            "level": self.depth,
            "probability": self.chosen.probability if self.chosen else None,
            "label_noise": self.label_noise,
            **{name: asdict(each) if each else None for name, each in promised.items()},
        }


def level_choices(
    tree: ClassTree,
    voted: PredProbs,
    pred_probs: PredProbs,
    labels: np.ndarray,
    groups: np.ndarray,
    *,
    classes: LabeledPredictions,
    target: float,
) -> list[LevelChoice]:
    """Chooses a threshold for each level, the deepest first, each among what no deeper one answers.

    Those are the products that are hard to tell apart below, so that a threshold chosen on all products would
    promise too much. A node's probability is the sum of its classes'.

    Args:
        voted, pred_probs: (N, C) before and after calibration.
        labels, groups: (N,) classes, which are spread over the folds, and numbers of duplicates.
        classes: the predictions at the deepest level.
        target: the accuracy that each level's answers are to have, as for `acceptance`.
    """
    # Of one node, an answer would say nothing.
    upper = [level for level in tree.levels[-2::-1] if len(level.paths) > 1]
    above = [
        LabeledPredictions.of(
            summed(level, voted),
            summed(level, pred_probs),
            level.node_of[labels],
            groups,
            max_noise=classes.max_noise,
        )
        for level in upper
    ]
    levels, depths = [classes, *above], [tree.depth, *(level.depth for level in upper)]
    answered = _out_of_fold(levels, choice_folds(labels, groups), target)
    return [
        LevelChoice(
            depth,
            found.label_noise,
            chosen,
            accepted_of(found, answered == at) if chosen and (answered == at).any() else None,
        )
        for at, (depth, found, chosen) in enumerate(zip(depths, levels, _chosen(levels, target), strict=True))
    ]


def summed(level: Level, pred_probs: PredProbs) -> PredProbs:
    """(N, C) probabilities of the classes -> (N, M) of the level's nodes, in the form of so many nodes."""
    return in_blocks(lambda part: level.summed(np.asarray(pred_probs[part])), *pred_probs.shape)


def _chosen(levels: Sequence[LabeledPredictions], target: float) -> list[Accepted | None]:
    rest = np.ones(len(levels[0].sure), bool)
    found: list[Accepted | None] = []
    for level in levels:
        found.append(reaching(curve_of(level, rest), target))
        if here := found[-1]:
            rest &= level.sure < here.probability
    return found


def _out_of_fold(levels: Sequence[LabeledPredictions], folds: np.ndarray, target: float) -> np.ndarray:
    """(N,) which of the levels answers each product by thresholds of other products; -1 for none."""
    answered = np.full(len(folds), -1)
    for fold in range(int(folds.max()) + 1 if folds.any() else 0):
        thresholds = _chosen([level.part(folds != fold) for level in levels], target)
        for at, (level, here) in enumerate(zip(levels, thresholds, strict=True)):
            if here:
                answered[(folds == fold) & (answered < 0) & (level.sure >= here.probability)] = at
    return answered
