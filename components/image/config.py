"""What the kinds of image classifiers have in common, and their registry."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from components.core.configuration import setting
from components.core.errors import InputError
from components.core.kinds import ClassifierConfig, Registry

# timm's names, with or without the tag of their weights, or a model on the hub that timm reads. Whether timm
# has them is for the stage to find: neither timm nor torch is installed where a run starts.
BACKBONE = re.compile(r"[a-z]\w*(\.\w+)?|hf-hub:\w[\w.-]*/\w[\w.-]*(@[\w.-]+)?", re.ASCII)


class ImageConfig(ClassifierConfig):
    """What every image configuration sets."""

    # What does cannot be what folds train: validation has no say in what denoising removes.
    CHOOSES_ON_VALIDATION: ClassVar[bool] = False

    cleaned: bool = setting(False, "train without the products that denoising removed", paper="3.2.1")


def problems_of_weights(backbone: str, weights: str) -> Iterator[str]:
    """What is wrong with the form of a backbone's name and of its weights, in words."""
    if not BACKBONE.fullmatch(backbone):
        yield (
            f"backbone {backbone!r} is no name of timm's (resnet152, convnext_tiny.fb_in1k, "
            "hf-hub:org/model, ...) and not small_resnet"
        )
    own = weights == "scratch" or "/" in weights or weights.endswith(".safetensors")
    if not own and weights != "pretrained":
        yield (
            f"weights {weights!r} are neither 'pretrained' (once 'imagenet'; of several a tag in the "
            "backbone's name says which, as in resnet50.tv2_in1k) nor 'scratch' nor a .safetensors file or a "
            "folder, with a / in its name"
        )
    if not own and backbone == "small_resnet":
        yield "small_resnet has no weights but yours: name a .safetensors file, or weights 'scratch'"


IMAGE_KINDS = Registry("image", "components.image.kinds", ImageConfig, default="network")


def _parse_fold_config(values: Mapping[str, Any]) -> ImageConfig:
    config = IMAGE_KINDS.parse(values)
    if config.CHOOSES_ON_VALIDATION:
        raise InputError(
            f"image configuration {config.name}: it chooses on validation, which must have no say in "
            "what denoising removes by folds; give one of its candidates"
        )
    return config


# The pipeline's parameters that this stage reads, and what makes of each what the stage takes.
PARAMETERS = {"image_fold_config": _parse_fold_config, "image_configs": IMAGE_KINDS.parse_all}
