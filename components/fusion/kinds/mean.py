"""The weighted mean of the inputs; not the paper's."""

from typing import Literal

from components.core.kinds import Kind
from components.fusion.config import DecisionLevelConfig


class MeanConfig(DecisionLevelConfig):
    """The weighted mean of the inputs, its weights found out of fold."""

    kind: Literal["mean"] = "mean"


KIND = Kind(
    MeanConfig,
    fit="components.fusion.decision_level.fits:fit_means",
    load="components.fusion.decision_level.fitted:load_mean",
    uses_gpu=False,
)
