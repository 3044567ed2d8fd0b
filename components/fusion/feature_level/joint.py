"""The network of feature-level fusion end to end: both backbones and a classifier on top (section 3.3.1)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from components.fusion.feature_level.features import Pooled, make_model
from components.fusion.feature_level.inputs import model_settings
from components.modeling.image.augmentation import normalize
from components.modeling.image.backbones import Backbone, load_state
from components.modeling.text.encoder import head, load_encoder, save_encoder
from components.modeling.text.packing import TextBatch, logits
from components.modeling.trained import ENCODER, write_model


@dataclass(frozen=True)
class ImageInput:
    """What the image classifier was trained on, and a joint training augments likewise.

    Attributes:
        resize: height, width of the cached images.
        crop: height, width of what the network sees.
        fit: "stretch" or "pad"; see `components.modeling.image.cache.decode`.
        rotation: degrees at most, either way.
        flip: half of the images, horizontally.
        padding: white pixels that a random crop may reach beyond the image.
    """

    resize: tuple[int, int]
    crop: tuple[int, int]
    fit: str
    rotation: float
    flip: bool
    padding: int


class JointNetwork(nn.Module):
    """A text encoder and an image backbone, and one of the feature-level classifiers on both.

    Args:
        encoder: of texts, with its classifier's last layer taken off: its outputs are pooled features.
    """

    def __init__(
        self, encoder: PreTrainedModel, width: int, backbone: Backbone, classes: int, config: Pooled
    ) -> None:
        super().__init__()
        self.encoder, self.backbone = encoder, backbone
        self.classifier = make_model(width, backbone.width, classes, config)

    def forward(self, texts: TextBatch, pixels: Tensor, with_image: Tensor) -> Tensor:
        """Class logits (B, C) float32 of products, in the order of `texts.rows`.

        Args:
            pixels: (B, H, W, PIXEL) uint8.
            with_image: (B,) bool; the image features of a product without an image are zero.
        """
        text = logits(self.encoder, texts)
        _, image = self.backbone(normalize(pixels, self.backbone.mean, self.backbone.std))
        return self.classifier(text, image.float() * with_image[:, None]).float()


def load_joint_network(
    text: Path, image: Path, classes: int, config: Pooled
) -> tuple[JointNetwork, PreTrainedTokenizerBase, ImageInput]:
    """Puts the backbones of two trained classifiers under a new classifier.

    Args:
        text: model folder of a transformer text classifier.
        image: model folder of an image classifier.

    Raises:
        InputError: a folder that is damaged, or of a classifier without a backbone to train.
    """
    encoder, tokenizer = load_encoder(text)
    width = _take_off_head(encoder)
    settings = model_settings(image)
    stage = "dcl_" if settings["dcl_epochs"] else ""
    resize, crop = settings[f"{stage}resize"], settings[f"{stage}crop"]
    inputs = ImageInput(
        (resize[0], resize[1]),
        (crop[0], crop[1]),
        settings["fit"],
        settings["rotation"],
        settings["flip"],
        settings["padding"],
    )
    backbone = Backbone(settings["backbone"], inputs.crop, settings["of_hub"])
    load_state(backbone, load_file(image / "model.safetensors"), where=str(image))
    return JointNetwork(encoder, width, backbone, classes, config), tokenizer, inputs


def save_joint_network(
    folder: Path,
    network: JointNetwork,
    tokenizer: PreTrainedTokenizerBase,
    image: ImageInput,
    classes: Sequence[str],
    settings: Mapping[str, Any],
) -> None:
    """Writes a trained network; its text encoder lies in a folder of its own."""
    save_encoder(folder / ENCODER, network.encoder, tokenizer, classes)
    own = {name: value for name, value in network.state_dict().items() if not name.startswith("encoder.")}
    described = {**asdict(image), "backbone": network.backbone.name, "of_hub": network.backbone.of_hub}
    write_model(folder, own, classes, {**settings, "image_input": described})


def restore_joint_network(
    folder: Path, settings: Mapping[str, Any], tensors: Mapping[str, Tensor], config: Pooled
) -> tuple[JointNetwork, PreTrainedTokenizerBase, ImageInput]:
    """Reads what `save_joint_network` wrote; `settings` and `tensors` are the model folder's."""
    encoder, tokenizer = load_encoder(folder / ENCODER)
    width = _take_off_head(encoder)
    described = dict(settings["image_input"])
    name, of_hub = described.pop("backbone"), described.pop("of_hub")
    sizes = {key: (described[key][0], described[key][1]) for key in ("resize", "crop")}
    image = ImageInput(**{**described, **sizes})
    classes = len(settings["classes"])
    network = JointNetwork(encoder, width, Backbone(name, image.crop, of_hub), classes, config)
    network.load_state_dict({**network.state_dict(), **tensors})
    return network, tokenizer, image


def _take_off_head(encoder: PreTrainedModel) -> int:
    """Puts the identity in the place of the last linear layer; returns how many features it read."""
    last = head(encoder)
    name = next(name for name, module in encoder.named_modules() if module is last)
    parent, _, attribute = name.rpartition(".")
    setattr(encoder.get_submodule(parent), attribute, nn.Identity())
    return last.in_features
