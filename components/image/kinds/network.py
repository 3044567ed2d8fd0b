"""A network on pixels, trained plainly and then by destruction and construction learning: the paper's."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from components.core.configuration import Accelerator, Share, ShareBelowOne, setting
from components.core.kinds import Kind
from components.image.config import ImageConfig, problems_of_weights

Size = tuple[PositiveInt, PositiveInt]


@dataclass(frozen=True)
class TrainingStage:
    """One of the two trainings that an image network goes through (paper, section 3.2.2)."""

    kind: Literal["plain", "dcl"]
    resize: tuple[int, int]  # height, width in pixels of the cached images
    crop: tuple[int, int]  # height, width of what the network sees
    epochs: int
    batch_size: int
    learning_rate: float


class NetworkConfig(ImageConfig):
    """A pretrained or small network on pixels: a plain training, then destruction and construction learning.

    Sizes are [height, width] in pixels.
    """

    kind: Literal["network"] = "network"
    backbone: str = setting(
        "resnet152",
        'any network of timm\'s that gives a feature map ("convnext_tiny.fb_in1k", "hf-hub:org/model"), or '
        '"small_resnet"; denoising takes resnet50 (section 3.2.1)',
        paper="3.2.2",
    )
    weights: str = setting(
        "pretrained",
        '"pretrained": timm\'s from the hub, of a ResNet torchvision\'s on ImageNet; "scratch"; or a '
        ".safetensors file or a folder that holds model.safetensors: a path or a URI (s3://, gs://, ...)",
        paper="3.2.2",
    )
    resize: Size = setting((256, 256), "of the image before the crop", paper="3.2.2")
    crop: Size = setting((224, 224), "what the network sees", paper="3.2.2")
    fit: Literal["stretch", "pad"] = setting(
        "stretch", 'what is done to an image of another aspect; "pad" centers it on white', expert=True
    )
    rotation: Annotated[float, Field(ge=0, le=180)] = setting(
        15.0, "degrees at most, either way; the authors'", paper="3.2.2"
    )
    flip: bool = setting(True, "half of the images are mirrored, left to right", paper="3.2.2", expert=True)
    padding: NonNegativeInt = setting(0, "white pixels that a random crop may reach beyond the image")
    epochs: PositiveInt = setting(60, "passes over the images", paper="4.1")
    min_steps: NonNegativeInt = setting(
        0, "a small catalog gets as many epochs as these optimizer steps take"
    )
    batch_size: PositiveInt = setting(128, "products a step; the authors'", paper="4.1")
    learning_rate: PositiveFloat = setting(0.01, "SGD's", paper="4.1")
    momentum: ShareBelowOne = setting(0.9, "SGD's; the authors'", paper="4.1", expert=True)
    weight_decay: NonNegativeFloat = setting(0.0, "SGD's")
    schedule: Literal["steps", "one_cycle"] = setting(
        "steps", "how the learning rate goes: down in steps, or up and down once", paper="4.1"
    )
    decay_epochs: PositiveInt = setting(
        12,
        'of the schedule "steps": the learning rate falls by decay every so many',
        paper="4.1",
        expert=True,
    )
    decay: Annotated[float, Field(gt=0, le=1)] = setting(
        0.1, 'of the schedule "steps": what the learning rate is multiplied by', paper="4.1", expert=True
    )
    label_smoothing: ShareBelowOne = setting(0.0, "share of a label that is spread over all classes")
    logit_adjustment_tau: Share = setting(
        0.0,
        "favors rare classes, as macro-F1 does: in training each class's logit is raised by this share of "
        "its log frequency (Menon et al., ICLR 2021)",
    )

    dcl_epochs: NonNegativeInt = setting(
        20,
        "passes of destruction and construction learning, from the first stage's weights; 0: none",
        paper="4.1",
    )
    dcl_resize: Size = setting((512, 512), "as resize, of DCL; the authors'", paper="3.2.2")
    dcl_crop: Size = setting((448, 448), "as crop, of DCL", paper="3.2.2")
    dcl_batch_size: PositiveInt = setting(
        16, "pairs a step, of DCL; the default of the code that section 4.1 names", paper="4.1"
    )
    dcl_learning_rate: PositiveFloat = setting(0.01, "SGD's, of DCL", paper="4.1")
    dcl_blocks: Annotated[int, Field(ge=2)] = setting(
        7, "N of the NxN blocks (Chen et al., section 4.1)", expert=True
    )
    dcl_range: PositiveInt = setting(2, "k: how far a block strays (Chen et al., section 4.1)", expert=True)
    dcl_shuffle: Literal["sort", "neighbors"] = setting(
        "sort",
        'how blocks are shuffled (Chen et al., section 3.1.1); "neighbors": as their code does',
        expert=True,
    )
    dcl_swap: Literal["cls_2", "cls_2xmul"] = setting(
        "cls_2", "what the swap head tells: destroyed or not, or that and the class", expert=True
    )
    dcl_gamma: NonNegativeFloat = setting(
        1.0, "weight of the location loss; Chen et al. take 0.01 for rigid objects", expert=True
    )

    late_checkpoints: NonNegativeInt = setting(
        0, "so many of the epochs before the last are further classifiers", paper="3.4"
    )
    keep_stage1: bool = setting(
        False, "the first stage's end is a further classifier, where DCL follows", paper="3.4"
    )
    cache: Literal["auto", "device", "memory", "disk", "stream"] = setting(
        "auto", "where decoded images are kept", expert=True
    )
    accelerator: Accelerator = setting("auto", '"auto": a GPU where there is one; "cpu": never one')
    compile: Literal["auto", "on", "off"] = setting(
        "auto",
        'torch.compile, on a GPU; "auto": where the steps that are left save more time than it takes',
        expert=True,
    )
    checkpoint_minutes: NonNegativeFloat = setting(
        10.0, "minutes from one checkpoint to the next", expert=True
    )

    OLD_KEYS: ClassVar = ImageConfig.OLD_KEYS | {
        "balance": "use 'logit_adjustment_tau'",
        "crops": "crops lie anywhere",
        "dcl_location": "where a block came from is known",
        "test_flip": "images are predicted as they are",
    }

    def stages(self) -> tuple[TrainingStage, ...]:
        """The trainings in their order: one, or two with DCL."""
        plain = TrainingStage(
            "plain", self.resize, self.crop, self.epochs, self.batch_size, self.learning_rate
        )
        if not self.dcl_epochs:
            return (plain,)
        dcl = TrainingStage(
            "dcl",
            self.dcl_resize,
            self.dcl_crop,
            self.dcl_epochs,
            self.dcl_batch_size,
            self.dcl_learning_rate,
        )
        return (plain, dcl)

    def problems(self) -> Iterator[str]:
        yield from problems_of_weights(self.backbone, self.weights)
        for prefix, stage in zip(("", "dcl_"), self.stages(), strict=False):
            if any(inner > outer for inner, outer in zip(stage.crop, stage.resize, strict=True)):
                yield f"{prefix}crop must lie within {prefix}resize"
        if self.schedule == "one_cycle" and not self.momentum:
            yield "schedule 'one_cycle' needs a momentum above 0"
        if self.late_checkpoints >= (self.dcl_epochs or self.epochs):
            yield "late_checkpoints must be below the last stage's epochs"
        if self.keep_stage1 and not self.dcl_epochs:
            yield "keep_stage1 needs dcl_epochs"
        if self.dcl_epochs and any(side % self.dcl_blocks for side in self.dcl_crop):
            yield f"dcl_crop must divide into {self.dcl_blocks} blocks a side (dcl_blocks)"


KIND = Kind(
    NetworkConfig,
    fit="components.image.stages:train_network",
    load="components.image.predict:load_network",
    uses_gpu=lambda config: config.accelerator == "auto",
)
