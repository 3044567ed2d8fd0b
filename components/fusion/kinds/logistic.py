"""Regularized logistic regression on log-probabilities; not the paper's."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat

from components.core.configuration import setting
from components.core.kinds import Kind
from components.fusion.config import DecisionLevelConfig


class LogisticConfig(DecisionLevelConfig):
    """Regularized logistic regression on log-probabilities.

    The l2 with the least out-of-fold log-loss is taken; the weighted product of the inputs is always among
    the candidates. The clip_min is the one with which that product fits best.
    """

    kind: Literal["logistic"] = "logistic"
    l2: tuple[PositiveFloat, ...] = setting(
        (1000.0, 300.0, 100.0, 30.0),
        "strengths to choose from of the L2 penalty that draws to the product of the inputs, in rows (1/C of "
        "scikit-learn's)",
        expert=True,
    )
    clip_min: tuple[Annotated[float, Field(gt=0, lt=0.1)], ...] = setting(
        (1e-5, 1e-8),
        "smaller probabilities count as this, to choose from: a calm classifier's tails are noise; one that "
        "is sure of nearly every row says something with them only",
        expert=True,
    )

    OLD_KEYS: ClassVar = DecisionLevelConfig.OLD_KEYS | {
        "strengths": "use 'l2'",
        "smallest": "use 'clip_min'",
    }

    def problems(self) -> Iterator[str]:
        if not (self.l2 and self.clip_min):
            yield "l2 and clip_min must each name one value at least"


KIND = Kind(
    LogisticConfig,
    fit="components.fusion.decision_level.fits:fit_logistic",
    load="components.fusion.decision_level.fitted:load_logistic",
    uses_gpu=False,
)
