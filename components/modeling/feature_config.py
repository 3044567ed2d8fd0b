"""What can be set of the classifiers on features; needs nothing that a client has not installed."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from components.core.configuration import Accelerator, Config, ShareBelowOne, setting

GPU_ROWS = 50_000  # from which on a light net takes less time on a GPU


class LightNetConfig(Config):
    """One hidden layer, trained in one cycle of the learning rate."""

    hidden: PositiveInt = setting(256, "units of the hidden layer", expert=True)
    dropout: ShareBelowOne = setting(0.3, "share of them that is dropped while training", expert=True)
    epochs: PositiveInt = setting(6, "passes over the products; the last is taken", expert=True)
    min_steps: NonNegativeInt = setting(
        500, "a small catalog gets as many epochs as these optimizer steps take", expert=True
    )
    learning_rate: PositiveFloat = setting(1e-3, "AdamW's at its highest, in one cycle", expert=True)
    refit: bool = setting(
        False, "after validation is predicted, train again on train and validation, for new products"
    )


class FeatureClassifierConfig(LightNetConfig):
    """Logistic regression or the light net on features that are computed once."""

    accelerator: Accelerator = setting("auto", '"auto": a GPU where there is one; "cpu": never one')
    classifier: Literal["logistic", "mlp"] = setting(
        "logistic", 'what learns from the features: logistic regression, or "mlp", one hidden layer'
    )
    l2: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = setting(
        (0.3, 0.1, 0.03, 0.01),
        "strengths of the logistic regression's L2 penalty, 1/C of scikit-learn's; the one of the least "
        "out-of-fold log-loss is taken",
        expert=True,
    )
