"""A pretrained backbone as it is, and a classifier on its features; not the paper's."""

from collections.abc import Iterator
from typing import Literal

from pydantic import PositiveInt

from components.core.configuration import setting
from components.core.kinds import Kind
from components.image.config import ImageConfig, problems_of_weights
from components.modeling.feature_config import FeatureClassifierConfig


class FrozenImageConfig(FeatureClassifierConfig, ImageConfig):
    """A pretrained backbone that is not trained: features once a picture, then a classifier on them."""

    kind: Literal["frozen"] = "frozen"
    backbone: str = setting(
        "", 'a name of timm\'s or "hf-hub:org/model"; "" takes the one that config.json of the weights names'
    )
    weights: str = setting(
        "pretrained",
        '"pretrained", timm\'s from the hub; a .safetensors file, or a folder that holds model.safetensors: '
        "a path or a URI (s3://, gs://, ...)",
    )
    size: tuple[PositiveInt, PositiveInt] = setting((224, 224), "height, width of the images in pixels")
    fit: Literal["stretch", "pad"] = setting(
        "stretch", 'what is done to an image of another aspect; "pad" centers it on white', expert=True
    )

    def problems(self) -> Iterator[str]:
        if self.backbone:
            yield from problems_of_weights(self.backbone, self.weights)
        elif self.weights == "pretrained":
            yield "backbone is missing: name one, or a folder of weights whose config.json names it"
        if self.weights == "scratch":
            yield "weights 'scratch' know nothing: a frozen backbone needs pretrained ones"


KIND = Kind(
    FrozenImageConfig,
    fit="components.image.frozen:train_frozen",
    load="components.image.frozen:load_frozen",
    uses_gpu=lambda config: config.accelerator == "auto",
)
