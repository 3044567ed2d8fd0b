"""Feature-level fusion by attention."""

from typing import Literal

from components.core.kinds import Kind
from components.fusion.config import ProjectedConfig, trains_backbones


class AttentionConfig(ProjectedConfig):
    """Features projected to one size and averaged, with weights that the product decides (section 3.3.1)."""

    kind: Literal["attention"] = "attention"


KIND = Kind(
    AttentionConfig,
    fit="components.fusion.feature_level.baselines:fit_pooled",
    load="components.fusion.feature_level.baselines:load_pooled",
    uses_gpu=trains_backbones,
)
