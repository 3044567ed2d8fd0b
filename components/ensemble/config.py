"""What can be set of the vote."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class EnsembleConfig:
    """How the members vote.

    Attributes:
        name: the ensemble's name.
        vote: "majority" (section 3.4; ties go to the larger summed probability), "soft" (the mean of
            the probabilities) or "weighted" (a mean whose weights are found out of fold).
        feature_level: names of feature-level classifiers that vote beside the members, and what part of a
            soft vote each has; in a weighted vote that part is found like any member's. None in section 3.4.
        balance: of a weighted vote: 0 finds its weights with every row counting alike; 1 with every class.
        select: "all" members (section 3.4), or "greedy": forward choice, the member that adds most to
            macro-F1 first, until none adds anything (Caruana et al. 2004).
        folds: of the cross-fitting that keeps the validation figure honest where weights or members
            are chosen (section 4.1's number).
        seed: of these folds.
    """

    name: str = "ensemble"
    vote: Literal["majority", "soft", "weighted"] = "majority"
    feature_level: dict[str, float] = field(default_factory=dict)
    balance: float = 0.0
    select: Literal["all", "greedy"] = "all"
    folds: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.balance <= 1:
            raise ValueError("balance must be within 0 and 1")
        if self.folds < 2:
            raise ValueError(f"folds = {self.folds}: what is learned on validation needs two folds at least")
        parts = self.feature_level.values()
        if parts and not (min(parts) > 0 and sum(parts) < 1):
            raise ValueError("feature_level must give parts above 0 that leave the members something of 1")
        if self.feature_level and self.vote == "majority":
            raise ValueError("feature_level needs a soft or weighted vote: in a majority every vote is one")

    @property
    def learns(self) -> bool:
        """Whether anything is chosen on the validation split."""
        return self.vote == "weighted" or self.select == "greedy"
