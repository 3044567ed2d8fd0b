"""Backbones that give a feature map: torchvision's, and a small ResNet for a laptop."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models
from torchvision.models.vision_transformer import interpolate_embeddings

from components.core.errors import InputError
from components.data.uris import fetch

SMALL = "small_resnet"
IMAGENET = "IMAGENET1K_V1"  # every network of torchvision has these
FAMILIES = {
    "ResNet": models.ResNet,
    "ConvNeXt": models.ConvNeXt,
    "EfficientNet": models.EfficientNet,
    "Swin": models.SwinTransformer,
    "ViT": models.VisionTransformer,
}


class SmallResNet(nn.Module):
    """A residual network (He et al. 2015, basic blocks) for small images on a CPU.

    The stem goes to a quarter of the resolution in one convolution, since early full-size layers
    are what costs time on a CPU. (B, 3, H, W) to (B, 192, H / 16, W / 16).
    """

    widths = (48, 96, 192)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, self.widths[0], 7, stride=4, padding=3, bias=False), nn.BatchNorm2d(self.widths[0])
        )
        channels = (self.widths[0], *self.widths)
        self.blocks = nn.Sequential(
            *(
                models.resnet.BasicBlock(
                    channels[i], channels[i + 1], stride, _shortcut(channels[i], channels[i + 1], stride)
                )
                for i, stride in enumerate((1, 2, 2))
            )
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.blocks(torch.relu(self.stem(images)))


class Backbone(nn.Module):
    """A network without its classifier.

    Attributes:
        width: channels D of the feature map.
    """

    def __init__(self, name: str, crop: tuple[int, int]) -> None:
        """Builds `name` with random weights for images of `crop` = (height, width).

        Raises:
            InputError: torchvision has no such network, or it gives no feature map here.
        """
        super().__init__()
        self.norm: nn.Module = nn.Identity()
        if name == SMALL:
            self.body: nn.Module = SmallResNet()
            self.width = SmallResNet.widths[-1]
        else:
            self.body = _torchvision(name, crop)
            self.width = self._take_off_classifier()

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalized images to the feature map, (B, D, h, w)."""
        body: Any = self.body
        if isinstance(body, SmallResNet):
            return body(images)
        if isinstance(body, models.ResNet):
            features = body.maxpool(body.relu(body.bn1(body.conv1(images))))
            return body.layer4(body.layer3(body.layer2(body.layer1(features))))
        if isinstance(body, models.SwinTransformer):
            return body.permute(body.norm(body.features(images)))
        if isinstance(body, models.VisionTransformer):
            return _patch_map(body, images)
        return body.features(images)

    def pool(self, features: Tensor) -> Tensor:
        """(B, D, h, w) to (B, D): the mean over places, with the norm that some families put after it."""
        pooled = features.mean(dim=(2, 3), keepdim=True)
        return self.norm(pooled).flatten(1)

    def _take_off_classifier(self) -> int:
        # Returns the width of what the classifier saw.
        body: Any = self.body
        name = next(name for name in ("fc", "head", "heads", "classifier") if hasattr(body, name))
        classifier = getattr(body, name)
        if isinstance(body, models.ConvNeXt):
            self.norm = classifier[0]
        setattr(body, name, nn.Identity())
        layers = [layer for layer in classifier.modules() if isinstance(layer, nn.Linear)]
        return layers[-1].in_features


def load_weights(backbone: Backbone, name: str, weights: str) -> None:
    """Puts pretrained weights into a backbone; "scratch" leaves it as it is.

    Args:
        weights: "imagenet", another of torchvision's names ("IMAGENET1K_V2"), or a safetensors file: a
            path or a URI. The file holds torchvision's names, or is a model that this stage wrote.

    Raises:
        InputError: no such weights, a file that is not safetensors, or weights of another network.
    """
    if weights == "scratch":
        return
    is_file = "/" in weights or weights.endswith(".safetensors")
    state = _read(weights) if is_file else _download(name, weights)
    load_state(backbone, state, where=weights)


def load_state(backbone: Backbone, state: Mapping[str, Tensor], *, where: str) -> None:
    """Loads a state in torchvision's names or in this stage's own; a classifier's weights are left out.

    A vision transformer's position embeddings are interpolated to the backbone's image size.

    Raises:
        InputError: a weight is missing or has another shape.
    """
    prefixes = ("backbone.body.", "backbone.norm.")
    if any(key.startswith(prefixes) for key in state):
        named = {key.removeprefix("backbone."): value for key, value in state.items()}
    else:
        named = {f"body.{key}": value for key, value in state.items()}
        named |= {re.sub(r"^body\.classifier\.0\.", "norm.", key): value for key, value in named.items()}
    if isinstance(backbone.body, models.VisionTransformer):
        named = _resized(named, backbone.body)
    own = backbone.state_dict()
    wrong = [key for key in own if key not in named or named[key].shape != own[key].shape]
    if wrong:
        raise InputError(
            f"{where}: not the weights of this backbone: {len(wrong)} of {len(own)} weights are missing or "
            f"have another shape, the first is {wrong[0]!r}; name the backbone that they belong to"
        )
    backbone.load_state_dict({key: named[key] for key in own})


def _torchvision(name: str, crop: tuple[int, int]) -> nn.Module:
    options: dict[str, Any] = {"weights": None}
    if name.startswith("vit_"):
        if crop[0] != crop[1]:
            raise InputError(f"backbone {name} sees squares only; the crop is {crop[0]}x{crop[1]}")
        options["image_size"] = crop[0]
    try:
        body = models.get_model(name, **options)
    except ValueError as error:
        raise InputError(f"backbone {name!r}: {error}; name one of torchvision's, or {SMALL}") from error
    if not isinstance(body, tuple(FAMILIES.values())):
        raise InputError(
            f"backbone {name!r} gives no feature map here; the families are {', '.join(FAMILIES)}"
        )
    return body


def _patch_map(body: Any, images: Tensor) -> Tensor:
    # (B, 3, H, W) to (B, D, H / p, W / p): the last layer's patch tokens, the class token left out.
    height, width = images.shape[2] // body.patch_size, images.shape[3] // body.patch_size
    patches = body._process_input(images)
    token = body.class_token.expand(len(images), -1, -1)
    encoded = body.encoder(torch.cat([token, patches], dim=1))[:, 1:]
    return encoded.transpose(1, 2).unflatten(2, (height, width))


def _resized(state: Mapping[str, Tensor], body: models.VisionTransformer) -> dict[str, Tensor]:
    key = "encoder.pos_embedding"
    if f"body.{key}" not in state:
        return dict(state)
    resized = interpolate_embeddings(
        body.image_size,
        body.patch_size,
        {key: state[f"body.{key}"]},  # pyright: ignore[reportArgumentType]
    )
    return {**state, f"body.{key}": resized[key]}


def _download(name: str, weights: str) -> Mapping[str, Tensor]:
    try:
        found = models.get_model_weights(name)[IMAGENET if weights == "imagenet" else weights]
    except (KeyError, ValueError) as error:
        raise InputError(
            f"weights {weights!r} of {name}: torchvision has none of that name; name others, "
            'a .safetensors file, or "scratch"'
        ) from error
    try:
        return found.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:  # no connection; a file whose digest is not in its name
        raise InputError(
            f"weights {weights!r} of {name} cannot be downloaded: {error}; without internet, "
            "give a .safetensors file or URI"
        ) from error
    except UnpicklingError as error:  # torchvision ships pickles; of one only tensors are read
        raise InputError(
            f"weights {weights!r} of {name}: the file holds more than tensors: {error}"
        ) from error


def _read(weights: str) -> Mapping[str, Tensor]:
    if not weights.endswith(".safetensors"):
        raise InputError(f"{weights}: weights are read from .safetensors files only, never from a pickle")
    try:
        with tempfile.TemporaryDirectory() as folder:
            return load_file(fetch(weights, Path(folder)))
    except SafetensorError as error:
        raise InputError(f"{weights}: not a safetensors file: {error}") from error


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
