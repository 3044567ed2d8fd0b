"""The paper's first fusion net: one linear layer."""

from typing import Literal

from components.core.kinds import Kind
from components.fusion.config import NetConfig


class LinearFusionConfig(NetConfig):
    """One linear layer over all class probabilities (paper, sections 3.3.2 and 4.1).

    Of more than 100 classes: a weight for each classifier and class, fitted by maximum likelihood without
    epochs.
    """

    kind: Literal["linear"] = "linear"


KIND = Kind(
    LinearFusionConfig,
    fit="components.fusion.decision_level.fits:fit_nets",
    load="components.fusion.decision_level.fitted:load_nets",
    uses_gpu=False,
)
