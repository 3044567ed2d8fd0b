"""Decision-level fusion: classifiers over the classifiers' probabilities (paper, section 3.3.2)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from components.fusion.config import FUSION_KINDS, DecisionLevelConfig


@dataclass(frozen=True)
class Member:
    """One member of the ensemble: a configuration with the classifiers it reads.

    Attributes:
        name: unique within a run.
        inputs: numbers of its classifiers.
    """

    name: str
    inputs: tuple[int, ...]
    config: DecisionLevelConfig


@dataclass(frozen=True)
class FusionData:
    """What members are fitted on, and what they are applied to.

    Attributes:
        pred_probs: (V, N, C) float32 probabilities of V classifiers on validation.
        labels: (N,) classes.
        folds: (N,) fold of every row.
        test: (V, T, C) the classifiers on test; T may be 0.
        seed: of every random draw.
    """

    pred_probs: np.ndarray
    labels: np.ndarray
    folds: np.ndarray
    test: np.ndarray
    seed: int

    def of(self, member: Member) -> "FusionData":
        """The same with a member's own classifiers alone."""
        inputs = list(member.inputs)
        return replace(self, pred_probs=self.pred_probs[inputs], test=self.test[inputs])


@dataclass(frozen=True)
class Fused:
    """What a member makes of the classifiers, and what it leaves.

    Attributes:
        out_of_fold: (N, C) float32 on validation.
        test: (T, C) float32.
        metadata: for the report.
        tensors: what its kind's `load` reads, by name.
    """

    out_of_fold: np.ndarray
    test: np.ndarray
    metadata: dict[str, Any]
    tensors: dict[str, np.ndarray] = field(default_factory=dict)


def fuse_members(members: Sequence[Member], data: FusionData) -> dict[str, Fused]:
    """Fits every member on the validation split, cross-fitted, and applies it to the test split.

    The `fit` of a decision-level kind takes all members of the kinds that it fits, and the data of all, and
    returns a `Fused` for each. Its `load` takes the folder with the tensors and returns what has
    `predict(pred_probs, fold=None)`: probabilities (V, N, C) of the member's own classifiers -> (N, C)
    float32, as the test split is predicted, or by what was fitted without a fold of validation.

    Returns:
        Member name -> what it makes of the classifiers, in the order of `members`.
    """
    kinds = {FUSION_KINDS.of(member.config).fit: FUSION_KINDS.of(member.config) for member in members}
    fused: dict[str, Fused] = {}
    for fit, kind in kinds.items():
        alike = [member for member in members if FUSION_KINDS.of(member.config).fit == fit]
        results = kind.load_fit()(alike, data)
        fused |= {member.name: result for member, result in zip(alike, results, strict=True)}
    return {member.name: fused[member.name] for member in members}
