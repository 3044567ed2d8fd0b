"""What can be set of an image classifier; the network's defaults are the paper's."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from components.core.configuration import check_rules, parse_kind

# timm's names, with or without the tag of their weights, or a model on the hub that timm reads. Whether timm
# has them is for the stage to find: neither timm nor torch is installed where a run starts.
BACKBONE = re.compile(r"[a-z]\w*(\.\w+)?|hf-hub:\w[\w.-]*/\w[\w.-]*(@[\w.-]+)?", re.ASCII)


@dataclass(frozen=True)
class Stage:
    """One of the two trainings that an image classifier goes through (paper, section 3.2.2)."""

    kind: Literal["plain", "dcl"]
    resize: tuple[int, int]  # height, width in pixels of the cached images
    crop: tuple[int, int]  # height, width of what the network sees
    epochs: int
    batch_size: int
    learning_rate: float


@dataclass(frozen=True)
class ImageConfig:
    """One image configuration. Sections are those of the paper; sizes are height, width in pixels."""

    name: str
    kind: Literal["network"] = "network"  # or "colors": see `colors.ColorConfig`
    # 3.2.2; denoising takes resnet50 (3.2.1); or "small_resnet", or any of timm's that gives a feature map
    # ("convnext_tiny.fb_in1k", "hf-hub:org/model").
    backbone: str = "resnet152"
    # "pretrained", timm's from the hub (a ResNet's: torchvision's, on ImageNet; 3.2.2), "scratch", or a
    # .safetensors file or a folder that holds model.safetensors: a path or a URI (s3://, gs://, ...).
    weights: str = "pretrained"
    cleaned: bool = False  # leave out what denoising removed (3.2.1)

    resize: tuple[int, int] = (256, 256)  # before the crop; 3.2.2
    crop: tuple[int, int] = (224, 224)  # 3.2.2
    fit: Literal["stretch", "pad"] = "stretch"  # of another aspect; "pad" centres it on white
    rotation: float = 15.0  # degrees at most, either way; the authors'
    flip: bool = True  # horizontally, half of the images; 3.2.2
    padding: int = 0  # white pixels that a random crop may reach beyond the image
    crops: Literal["anywhere", "keep_content"] = "anywhere"  # "keep_content" cuts off white borders only

    epochs: int = 60  # 4.1
    min_steps: int = 0  # a small catalog gets as many epochs as these optimizer steps take
    batch_size: int = 128  # the authors'
    learning_rate: float = 0.01  # 4.1
    momentum: float = 0.9  # the authors'
    weight_decay: float = 0.0  # not in the paper
    schedule: Literal["steps", "one_cycle"] = "steps"  # 4.1
    decay_epochs: int = 12  # of "steps": the learning rate falls by `decay` every so many; 4.1
    decay: float = 0.1  # 4.1
    label_smoothing: float = 0.0
    # Favours rare classes, as macro-F1 does: in training each class's logit is raised by this share of its
    # log frequency, so that afterwards the rare ones need less evidence. Not in the paper.
    balance: float = 0.0

    # Destruction and construction learning, after the first stage and from its weights (3.2.2).
    dcl_epochs: int = 20  # 4.1; 0 leaves it out
    dcl_resize: tuple[int, int] = (512, 512)  # the authors'
    dcl_crop: tuple[int, int] = (448, 448)  # 3.2.2
    dcl_batch_size: int = 16  # pairs; the default of the code that section 4.1 names
    dcl_learning_rate: float = 0.01  # 4.1
    dcl_blocks: int = 7  # N of the NxN blocks; Chen et al., section 4.1
    dcl_range: int = 2  # k: how far a block strays; Chen et al., section 4.1
    dcl_shuffle: Literal["sort", "neighbors"] = "sort"  # Chen et al., 3.1.1; "neighbors": their code's
    dcl_location: Literal["permutation", "colors"] = "permutation"  # "colors": their code's guess
    dcl_swap: Literal["cls_2", "cls_2xmul"] = "cls_2"
    dcl_gamma: float = 1.0  # weight of the location loss; Chen et al. take 0.01 for rigid objects

    late_checkpoints: int = 0  # the epochs before the last as further classifiers (3.4)
    keep_stage1: bool = False  # the first stage's end as a further classifier, where DCL follows (3.4)
    test_flip: bool = False  # predict the mirrored image too and take the mean
    cache: Literal["auto", "device", "memory", "disk", "stream"] = "auto"  # where decoded images are kept
    compile: bool = False  # torch.compile, on GPUs
    checkpoint_minutes: float = 10.0

    def stages(self) -> tuple[Stage, ...]:
        """The trainings in their order: one, or two with DCL."""
        plain = Stage("plain", self.resize, self.crop, self.epochs, self.batch_size, self.learning_rate)
        if not self.dcl_epochs:
            return (plain,)
        dcl = Stage(
            "dcl",
            self.dcl_resize,
            self.dcl_crop,
            self.dcl_epochs,
            self.dcl_batch_size,
            self.dcl_learning_rate,
        )
        return (plain, dcl)

    def __post_init__(self) -> None:
        rules = {
            **self._backbone_rules(),
            **self._general_rules(),
            **self._size_rules(),
            **self._dcl_rules(),
        }
        check_rules(rules)

    def _backbone_rules(self) -> dict[str, bool]:
        own = self.weights == "scratch" or "/" in self.weights or self.weights.endswith(".safetensors")
        return {
            f"backbone {self.backbone!r} is no name of timm's (resnet152, convnext_tiny.fb_in1k, "
            "hf-hub:org/model, ...) and not small_resnet": bool(BACKBONE.fullmatch(self.backbone)),
            f"weights {self.weights!r} are neither 'pretrained' (once 'imagenet'; of several a tag in the "
            "backbone's name says which, as in resnet50.tv2_in1k) nor 'scratch' nor a .safetensors file or a "
            "folder, with a / in its name": own or self.weights == "pretrained",
            "small_resnet has no weights but yours: name a .safetensors file, or weights 'scratch'": (
                own or self.backbone != "small_resnet"
            ),
        }

    def _general_rules(self) -> dict[str, bool]:
        at_least_one = ("epochs", "batch_size", "decay_epochs")
        last = self.dcl_epochs or self.epochs
        return {
            **{f"{field} must be at least 1": getattr(self, field) >= 1 for field in at_least_one},
            "learning_rate must be above 0": self.learning_rate > 0,
            "momentum must be at least 0 and below 1": 0 <= self.momentum < 1,
            "schedule 'one_cycle' needs a momentum above 0": (
                self.momentum > 0 or self.schedule != "one_cycle"
            ),
            "weight_decay must not be negative": self.weight_decay >= 0,
            "decay must be above 0 and at most 1": 0 < self.decay <= 1,
            "label_smoothing must be at least 0 and below 1": 0 <= self.label_smoothing < 1,
            "balance must be within 0 and 1": 0 <= self.balance <= 1,
            "min_steps must not be negative": self.min_steps >= 0,
            "rotation must be within 0 and 180": 0 <= self.rotation <= 180,
            "late_checkpoints must be at least 0 and below the last stage's epochs": (
                0 <= self.late_checkpoints < last
            ),
            "checkpoint_minutes must not be negative": self.checkpoint_minutes >= 0,
        }

    def _size_rules(self) -> dict[str, bool]:
        rules = {"padding must not be negative": self.padding >= 0}
        for prefix in ("", "dcl_") if self.dcl_epochs else ("",):
            resize, crop = getattr(self, f"{prefix}resize"), getattr(self, f"{prefix}crop")
            pairs = len(resize) == len(crop) == 2
            fits = pairs and all(1 <= c <= r for c, r in zip(crop, resize, strict=True))
            rules[f"{prefix}resize and {prefix}crop must be [height, width], the crop within the resize"] = (
                fits
            )
        return rules

    def _dcl_rules(self) -> dict[str, bool]:
        if not self.dcl_epochs:
            return {
                "dcl_epochs must not be negative": True,
                "keep_stage1 needs dcl_epochs": not self.keep_stage1,
            }
        blocks = max(self.dcl_blocks, 1)
        return {
            "dcl_epochs must not be negative": self.dcl_epochs >= 0,
            "dcl_batch_size must be at least 1": self.dcl_batch_size >= 1,
            "dcl_learning_rate must be above 0": self.dcl_learning_rate > 0,
            "dcl_blocks must be at least 2": self.dcl_blocks >= 2,
            f"dcl_crop must divide into {blocks} blocks a side (dcl_blocks)": all(
                side % blocks == 0 for side in self.dcl_crop
            ),
            "dcl_range must be at least 1": self.dcl_range >= 1,
            "dcl_gamma must not be negative": self.dcl_gamma >= 0,
        }


SMALLEST = (8, 6)  # of `image_colors.GRID`: every cell holds a pixel


@dataclass(frozen=True)
class ColorConfig:
    """The color classifier's settings; none is the paper's.

    Attributes:
        name: unique name.
        cleaned: train without the products that denoising removed.
        size: height, width to which images are brought, in pixels.
        hidden: units of the hidden layer.
        dropout: share of them that is dropped while training.
        epochs: passes over the products.
        min_steps: a small catalog gets as many epochs as these optimizer steps take.
        batch_size: products a step.
        learning_rate: AdamW's at its highest, in one cycle.
        weight_decay: AdamW's.
        refit: after validation is predicted, train again on train and validation for the test split.
    """

    name: str
    kind: Literal["colors"] = "colors"
    cleaned: bool = False
    size: tuple[int, int] = (80, 60)
    hidden: int = 256
    dropout: float = 0.3
    epochs: int = 6
    min_steps: int = 500
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    refit: bool = False

    def __post_init__(self) -> None:
        if min(self.hidden, self.epochs, self.batch_size) < 1 or self.learning_rate <= 0:
            raise ValueError("hidden, epochs and batch_size must be at least 1, learning_rate above 0")
        if not 0 <= self.dropout < 1:
            raise ValueError("dropout must be at least 0 and below 1")
        if self.min_steps < 0 or self.weight_decay < 0:
            raise ValueError("min_steps and weight_decay must not be negative")
        if len(self.size) != 2 or any(side < cells for side, cells in zip(self.size, SMALLEST, strict=True)):
            raise ValueError(f"size must be [height, width], at least {list(SMALLEST)}")


KINDS: dict[str, type] = {"network": ImageConfig, "colors": ColorConfig}


def parse_image_config(values: Mapping[str, Any]) -> ImageConfig | ColorConfig:
    """Makes a configuration of one item of the image configurations.

    Raises:
        InputError: an unknown kind or key, or a wrong value.
    """
    where = f"image configuration {values.get('name', '')!r}"
    return parse_kind(KINDS, values, default="network", where=where)
