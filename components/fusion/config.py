"""What the kinds of fusion have in common, and their registry."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from components.core.configuration import FIXED, Accelerator, ShareBelowOne, setting
from components.core.errors import InputError
from components.core.kinds import ClassifierConfig, Registry

GPU_ROWS = 5_000
GPU_FEATURES = 20_000


class FusionConfig(ClassifierConfig):
    """What every fusion configuration sets. A kind's is a DecisionLevelConfig or a FeatureLevelConfig."""


class DecisionLevelConfig(FusionConfig):
    """Fusion of class probabilities (paper, section 3.3.2); each is a member of the ensemble, or several.

    A member is called by the configuration and its classifiers: "linear(camembert-base, resnet152)".
    """

    inputs: Literal["pair", "all"] = setting(
        "pair",
        '"pair" makes a member of every text with every image classifier, "all" one that reads all',
        paper="3.4",
    )


class NetConfig(DecisionLevelConfig):
    """One of the paper's nets."""

    learning_rate: PositiveFloat = setting(0.01, "Adam's", paper="4.1")
    epochs: PositiveInt = setting(
        40, "passes over the rows; the best on the held-out fold is kept", paper="4.1"
    )
    batch_size: PositiveInt = setting(
        64, "rows a step; the paper does not name it, this is its text classifier's", paper="4.1", expert=True
    )
    accelerator: Accelerator = setting(
        "auto",
        f'"auto": a visible GPU from {GPU_ROWS:,} rows of validation on; "cpu": never one',
        expert=True,
    )


class FeatureLevelConfig(FusionConfig):
    """Fusion of what classifiers read (paper, section 3.3.1): a classifier beside the members."""


class PooledConfig(FeatureLevelConfig):
    """A classifier on the pooled features of two backbones; the paper gives no settings for it."""

    training: Literal["step_by_step", "end_to_end"] = setting(
        "step_by_step",
        '"step_by_step" leaves the backbones as they are and reads their features; "end_to_end" trains '
        "them on, jointly with the classifier: work for a GPU",
        paper="3.3.1",
    )
    learning_rate: PositiveFloat = setting(1e-3, "AdamW's")
    backbone_learning_rate: PositiveFloat = setting(
        3e-5, "AdamW's for the backbones, end to end: the text classifier's", paper="4.1", expert=True
    )
    epochs: PositiveInt = setting(20, "passes over the products; the last is taken")
    batch_size: PositiveInt = setting(64, "products a step", expert=True)
    dropout: ShareBelowOne = setting(
        0.2, "share of the joint features that is dropped while training", expert=True
    )

    accelerator: Accelerator = setting(
        "auto",
        f'"auto": a visible GPU, step by step from {GPU_FEATURES:,} products to train on; "cpu": never one',
        expert=True,
    )

    OLD_KEYS: ClassVar = FeatureLevelConfig.OLD_KEYS | {"weight_decay": FIXED}


def trains_backbones(config: PooledConfig) -> bool:
    """Whether the training is one that a cluster is asked a GPU for."""
    return config.training == "end_to_end" and config.accelerator == "auto"


class ProjectedConfig(PooledConfig):
    """The features are projected to one size first."""

    size: PositiveInt = setting(256, "that both are projected to", expert=True)


MOST_FOLDS = 1000
FUSION_KINDS = Registry("fusion", "components.fusion.kinds", FusionConfig)


def parse_fusion_configs(configs: Sequence[Mapping[str, Any]]) -> list[FusionConfig]:
    """Makes the configurations of a run's list.

    Raises:
        InputError: see `Registry.parse_all`, or none is of the decision level: there would be no member.
    """
    parsed = FUSION_KINDS.parse_all(configs)
    if not any(isinstance(config, DecisionLevelConfig) for config in parsed):
        kinds = ", ".join(decision_level_kinds())
        raise InputError(f"fusion configurations: none is of a decision-level kind ({kinds})")
    return parsed


def parse_folds(folds: int) -> int:
    """How many folds the validation split is dealt into.

    Raises:
        InputError: fewer than two, or more than anybody means.
    """
    if not 2 <= folds <= MOST_FOLDS:
        raise InputError(
            f"{folds} folds: what is learned on validation needs from 2 to {MOST_FOLDS}; 8 is usual"
        )
    return int(folds)


def decision_level_kinds() -> list[str]:
    """The kinds that fuse probabilities, by name."""
    kinds = FUSION_KINDS.kinds()
    return [name for name, kind in kinds.items() if issubclass(kind.config, DecisionLevelConfig)]


# The pipeline's parameters that this stage reads, and what makes of each what the stage takes.
PARAMETERS = {"fusion_configs": parse_fusion_configs, "fusion_folds": parse_folds}
