"""Histograms of an image's colors and a small net on them; not the paper's."""

from typing import ClassVar, Literal

from components.core.configuration import FIXED, Accelerator, setting
from components.core.kinds import Kind
from components.image.config import ImageConfig
from components.modeling.feature_config import GPU_ROWS, LightNetConfig


class ColorHistogramConfig(LightNetConfig, ImageConfig):
    """Histograms of an image's colors and a small net on them; for a machine without a GPU."""

    kind: Literal["color_histogram"] = "color_histogram"
    accelerator: Accelerator = setting(
        "auto",
        f'"auto": a visible GPU from {GPU_ROWS:,} images to train on; "cpu": never one',
        expert=True,
    )

    OLD_KEYS: ClassVar = ImageConfig.OLD_KEYS | dict.fromkeys(("size", "batch_size", "weight_decay"), FIXED)


KIND = Kind(
    ColorHistogramConfig,
    fit="components.image.color_histogram:train_color_histogram",
    load="components.image.color_histogram:load_color_histogram",
    uses_gpu=False,
    old_name="colors",
)
