"""Feature-level fusion by a sum."""

from typing import Literal

from components.core.kinds import Kind
from components.fusion.config import ProjectedConfig, trains_backbones


class SumConfig(ProjectedConfig):
    """Features projected to one size and summed (paper, section 3.3.1)."""

    kind: Literal["sum"] = "sum"


KIND = Kind(
    SumConfig,
    fit="components.fusion.feature_level.baselines:fit_pooled",
    load="components.fusion.feature_level.baselines:load_pooled",
    uses_gpu=trains_backbones,
)
