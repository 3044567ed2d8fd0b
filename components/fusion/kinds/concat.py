"""Feature-level fusion by concatenation: the paper's baseline."""

from typing import Literal

from components.core.kinds import Kind
from components.fusion.config import PooledConfig, trains_backbones


class ConcatConfig(PooledConfig):
    """A linear classifier on the pooled features of both backbones, concatenated (paper, section 3.3.1)."""

    kind: Literal["concat"] = "concat"


KIND = Kind(
    ConcatConfig,
    fit="components.fusion.feature_level.baselines:fit_pooled",
    load="components.fusion.feature_level.baselines:load_pooled",
    uses_gpu=trains_backbones,
)
