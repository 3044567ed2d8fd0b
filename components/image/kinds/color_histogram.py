"""Histograms of an image's colors and a small net on them; not the paper's."""

from typing import ClassVar, Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from components.core.configuration import FIXED, Accelerator, ShareBelowOne, setting
from components.core.kinds import Kind
from components.image.config import ImageConfig

GPU_IMAGES = 50_000


class ColorHistogramConfig(ImageConfig):
    """Histograms of an image's colors and a small net on them; for a machine without a GPU."""

    kind: Literal["color_histogram"] = "color_histogram"
    hidden: PositiveInt = setting(256, "units of the hidden layer", expert=True)
    dropout: ShareBelowOne = setting(0.3, "share of them that is dropped while training", expert=True)
    epochs: PositiveInt = setting(6, "passes over the products; the last is taken", expert=True)
    min_steps: NonNegativeInt = setting(
        500, "a small catalog gets as many epochs as these optimizer steps take", expert=True
    )
    learning_rate: PositiveFloat = setting(1e-3, "AdamW's at its highest, in one cycle", expert=True)
    accelerator: Accelerator = setting(
        "auto",
        f'"auto": a visible GPU from {GPU_IMAGES:,} images to train on; "cpu": never one',
        expert=True,
    )
    refit: bool = setting(
        False, "after validation is predicted, train again on train and validation for the test split"
    )

    OLD_KEYS: ClassVar = ImageConfig.OLD_KEYS | dict.fromkeys(("size", "batch_size", "weight_decay"), FIXED)


KIND = Kind(
    ColorHistogramConfig,
    fit="components.image.color_histogram:train_color_histogram",
    uses_gpu=False,
    old_name="colors",
)
