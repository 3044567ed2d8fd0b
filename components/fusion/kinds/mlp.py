"""The paper's second fusion net: two layers."""

from typing import Literal

from pydantic import PositiveInt

from components.core.configuration import setting
from components.core.kinds import Kind
from components.fusion.config import NetConfig


class MlpConfig(NetConfig):
    """Two layers over all class probabilities (paper, sections 3.3.2 and 4.1).

    Of more than 100 classes: a weight for each classifier and class, and what the hidden units add, fitted by
    maximum likelihood without epochs.
    """

    kind: Literal["mlp"] = "mlp"
    hidden: PositiveInt = setting(6, "size between the layers", paper="4.1")


KIND = Kind(
    MlpConfig,
    fit="components.fusion.decision_level.fits:fit_nets",
    load="components.fusion.decision_level.fitted:load_nets",
    uses_gpu=False,
)
