"""What can be set of the vote."""

from collections.abc import Iterator
from functools import partial
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from components.core.configuration import Config, Name, ShareBelowOne, parse_config, setting


class EnsembleConfig(Config):
    """How the members vote."""

    name: Name = setting("ensemble", "the ensemble's name")
    vote: Literal["majority", "soft", "weighted"] = setting(
        "majority",
        'ties of a "majority" go to the larger summed probability; "soft" is the mean of the probabilities, '
        '"weighted" a mean whose weights are found out of fold',
        paper="3.4",
    )
    feature_level: dict[str, float] = setting(
        {},
        "names of feature-level classifiers that vote beside the members, and what part of a soft vote each "
        "has; in a weighted vote that part is found like any member's",
    )
    select: Literal["all", "greedy"] = setting(
        "all",
        '"greedy": forward choice, the member that adds most to macro-F1 first, until none adds anything '
        "(Caruana et al. 2004)",
        paper="3.4",
        expert=True,
    )
    folds: Annotated[int, Field(ge=2)] = setting(
        8,
        "of the cross-fitting that keeps the validation figure honest where weights or members are chosen",
        paper="4.1",
        expert=True,
    )

    target_accuracy: Annotated[float, Field(ge=0.5, lt=1)] = setting(
        0.97,
        "share of the new products accepted without a look that is to be right: the lower end of its 95 % "
        "interval, label noise taken away, must reach it",
    )
    max_label_noise: Annotated[float, Field(ge=0, lt=0.5)] = setting(
        0.025,
        "share of labels that may at most be taken to be wrong, where the target is compared; confident "
        "mistakes look like wrong labels, so this is about how far a promise may go beyond what the labels "
        "say; 0 takes every label to be right",
    )
    checked_share: ShareBelowOne = setting(
        0.01,
        "part of the accepted products that goes to review all the same, at random and at least 20 of them, "
        "to learn whether the promise held",
    )
    deepest_level: bool = setting(
        False,
        "also answer each product at the deepest level of the tree of classes whose answers reach "
        "target_accuracy, in predictions_detail.tsv and by the server; without parents of classes it changes "
        "nothing",
    )

    OLD_KEYS: ClassVar = {
        "balance": "weights are found with every row counting alike",
        "seed": "the folds are drawn from the same seed in every run",
    }

    def problems(self) -> Iterator[str]:
        parts = self.feature_level.values()
        if parts and not (min(parts) > 0 and sum(parts) < 1):
            yield "feature_level must give parts above 0 that leave the members something of 1"
        if self.feature_level and self.vote == "majority":
            yield "feature_level needs a soft or weighted vote: in a majority every vote is one"

    @property
    def learns(self) -> bool:
        """Whether anything is chosen on the validation split."""
        return self.vote == "weighted" or self.select == "greedy"


# The pipeline's parameters that this stage reads, and what makes of each what the stage takes.
PARAMETERS = {"ensemble_config": partial(parse_config, EnsembleConfig, where="ensemble configuration")}
