"""Decision-level fusion: classifiers over the classifiers' probabilities (paper, section 3.3.2)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from components.data.stacks import Stack
from components.data.top_classes import TopClasses
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
        on_validation: (V, N, C) float32 probabilities of V classifiers; of many classes V matrices (N, C).
        labels: (N,) classes.
        folds: (N,) fold of every row.
        on_test: likewise, on test, which may have no rows.
        seed: of every random draw.
        known: what `of` gave before, by the numbers of the classifiers.
    """

    on_validation: np.ndarray | Sequence[TopClasses]
    labels: np.ndarray
    folds: np.ndarray
    on_test: np.ndarray | Sequence[TopClasses]
    seed: int
    known: dict[tuple[int, ...], "FusionData"] = field(default_factory=dict, repr=False)

    def of(self, member: Member) -> "FusionData":
        """The same with a member's own classifiers alone."""
        if member.inputs not in self.known:
            validation, test = (_of(each, member.inputs) for each in (self.on_validation, self.on_test))
            own = replace(self, on_validation=validation, on_test=test, known={})
            self.known[member.inputs] = own
        return self.known[member.inputs]

    @property
    def pred_probs(self) -> np.ndarray:
        """(V, N, C) on validation, over all classes however many."""
        return np.asarray(self.on_validation)

    @property
    def test(self) -> np.ndarray:
        """(V, T, C) on test, likewise."""
        return np.asarray(self.on_test)

    @cached_property
    def rows(self) -> Stack:
        """Validation, as what grows with the classes takes it."""
        return Stack.of(self.on_validation, self.labels)

    @cached_property
    def test_rows(self) -> Stack:
        """Test, likewise."""
        return Stack.of(self.on_test)


def _of(
    matrices: np.ndarray | Sequence[TopClasses], inputs: tuple[int, ...]
) -> np.ndarray | Sequence[TopClasses]:
    return matrices[list(inputs)] if isinstance(matrices, np.ndarray) else [matrices[i] for i in inputs]


@dataclass(frozen=True)
class Fused:
    """What a member makes of the classifiers, and what it leaves.

    Attributes:
        out_of_fold: (N, C) float32 on validation; of many classes as the classifiers are given.
        test: (T, C) float32, likewise.
        metadata: for the report.
        tensors: what its kind's `load` reads, by name.
    """

    out_of_fold: Any
    test: Any
    metadata: dict[str, Any]
    tensors: dict[str, np.ndarray] = field(default_factory=dict)


def fuse_members(members: Sequence[Member], data: FusionData) -> dict[str, Fused]:
    """Fits every member on the validation split, cross-fitted, and applies it to the test split.

    The `fit` of a decision-level kind takes all members of the kinds that it fits, and the data of all, and
    returns a `Fused` for each. Its `load` takes the folder with the tensors and returns what has
    `predict(pred_probs, fold=None)`: probabilities (V, N, C) of the member's own classifiers, of many classes
    V matrices that numpy takes as (V, N, C) -> (N, C) float32, as the test split is predicted, or by what was
    fitted without a fold of validation.

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
