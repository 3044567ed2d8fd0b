"""Backbones that give a feature map: any of timm's, and a small ResNet for a laptop.

timm: https://github.com/huggingface/pytorch-image-models, Apache 2.0. Beside the functions that it documents,
what is used of its models is: `forward_features`, `forward_head(..., pre_logits=True)`, `reset_classifier`,
`num_features`, `head_hidden_size`, `output_fmt`, `num_prefix_tokens`, `feature_info[-1]["reduction"]`, and of
a model's `pretrained_cfg` the keys "classifier", "fixed_input_size", "hf_hub_id", "mean", "num_classes",
"state_dict" and "std".
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
from timm.models import get_arch_name, get_arch_pretrained_cfgs, resolve_model_input_args
from torch import Tensor, nn

from components.core.errors import InputError
from components.modeling.image.small_resnet import SMALL

OWN = "backbone.body."  # before a backbone's weights in the models that the image stage writes
HUB = "hf-hub:"  # before the name of a model on the hub, as timm has it
# Where timm looks for weights: it would read a pickle where there is nothing else.
NOWHERE = {"source": "", "hf_hub_id": None, "url": None, "file": None}

# Torchvision's names of networks that timm has under another one.
ALIASES = {
    "efficientnet_v2_s": "tf_efficientnetv2_s.in1k",
    "efficientnet_v2_m": "tf_efficientnetv2_m.in1k",
    "efficientnet_v2_l": "tf_efficientnetv2_l.in1k",
    "swin_t": "swin_tiny_patch4_window7_224",
    "swin_s": "swin_small_patch4_window7_224",
    "swin_b": "swin_base_patch4_window7_224",
    "swin_v2_t": "swinv2_tiny_window8_256",
    "swin_v2_s": "swinv2_small_window8_256",
    "swin_v2_b": "swinv2_base_window8_256",
    "vit_b_16": "vit_base_patch16_224",
    "vit_b_32": "vit_base_patch32_224",
    "vit_l_16": "vit_large_patch16_224",
    "vit_l_32": "vit_large_patch32_224",
    "vit_h_14": "vit_huge_patch14_224",
}


class Backbone(nn.Module):
    """A network of timm's without its classifier.

    Attributes:
        name: as it was asked for.
        crop: height, width of the images that it was built for.
        width: W, the pooled features.
        map_width: D, the channels of the feature map.
        mean, std: (R, G, B), what its pretrained weights want images normalized by.
        of_hub: what the hub says of a model there, which builds it again without asking; None for timm's own.
    """

    def __init__(self, name: str, crop: tuple[int, int], of_hub: Mapping[str, Any] | None = None) -> None:
        """Builds `name` with random weights for images of `crop` = (height, width).

        Args:
            of_hub: what an earlier backbone of this name and size was told.

        Raises:
            InputError: there is no such network, or it cannot be had for this size.
        """
        super().__init__()
        self.name, self.crop = name, crop
        self.of_hub = of_hub or (_arguments(name, crop) if name.startswith(HUB) else None)
        self.body: Any = create_network(name, crop, of_hub=self.of_hub)
        self.map_width: int = self.body.num_features
        self.width: int = self.body.head_hidden_size
        self.mean, self.std = self.body.pretrained_cfg["mean"], self.body.pretrained_cfg["std"]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) normalized images to the feature map (B, D, h, w) and pooled features (B, W).

        Features are pooled as the network's own classifier has them: by the mean over places, the class
        token, ...

        Raises:
            InputError: the network gives no feature map.
        """
        features = self.body.forward_features(images)
        return self._map(features, images), self.body.forward_head(features, pre_logits=True)

    def _map(self, features: Tensor, images: Tensor) -> Tensor:
        if not isinstance(features, Tensor):
            raise InputError(f"backbone {self.name!r} gives no feature map: it ends in several branches")
        if features.ndim == 4:
            last = getattr(self.body, "output_fmt", "NCHW") == "NHWC"
            return features.permute(0, 3, 1, 2) if last else features
        # Tokens (B, N, D), those of no place (class, registers) first.
        patches = features[:, getattr(self.body, "num_prefix_tokens", 0) :]
        scale = self.body.feature_info[-1]["reduction"]
        height, width = (math.ceil(side / scale) for side in images.shape[2:])
        if patches.shape[1] != height * width:
            raise InputError(
                f"backbone {self.name!r} gives no feature map: {patches.shape[1]} tokens for "
                f"{height}x{width} places"
            )
        return patches.transpose(1, 2).unflatten(2, (height, width))


def check_backbone(name: str, crops: Sequence[tuple[int, int]]) -> None:
    """Tries a backbone on images of each size, and each one's weights on the next; takes no memory for them.

    Args:
        crops: height, width of the images that a training's stages see.

    Raises:
        InputError: there is no such network, it gives no feature map, or it cannot see images of these sizes.
    """
    before = None
    with torch.device("meta"):
        for crop in dict.fromkeys(crops):
            backbone = Backbone(name, crop)
            _check_features(backbone)
            if before is not None:
                _check_sizes(before, backbone)
            before = backbone


def _check_features(backbone: Backbone) -> None:
    try:
        features, pooled = backbone(torch.empty(2, 3, *backbone.crop))
    except InputError:
        raise
    except Exception as error:  # each family fails in its own way
        raise InputError(
            f"backbone {backbone.name!r} gives nothing for images of {_size(backbone.crop)}: {reason(error)}"
        ) from error
    if features.shape[:2] != (2, backbone.map_width) or pooled.shape != (2, backbone.width):
        raise InputError(
            f"backbone {backbone.name!r} gives no feature map: its features are {tuple(features.shape)}, "
            f"pooled {tuple(pooled.shape)}"
        )


def _check_sizes(before: Backbone, after: Backbone) -> None:
    try:
        load_state(after, before.body.state_dict(), where="the stage before")
    except InputError as error:
        raise InputError(
            f"backbone {after.name!r}: weights for images of {_size(before.crop)} do not serve images of "
            f"{_size(after.crop)}; give all stages the same crop. {error}"
        ) from error


def load_state(backbone: Backbone, state: Mapping[str, Tensor], *, where: str) -> None:
    """Loads a state in timm's names or in this stage's own; a classifier's weights are left out.

    What depends on the size of images (position embeddings, say) is interpolated to the backbone's.

    Raises:
        InputError: a weight is missing, left over, or has another shape.
    """
    own = {key.removeprefix(OWN): value for key, value in state.items() if key.startswith(OWN)}
    state = own or dict(state)
    shapes = {key: value.shape for key, value in backbone.body.state_dict().items()}
    if {key: value.shape for key, value in state.items()} == shapes:
        backbone.body.load_state_dict(state)
        return
    try:
        loaded = _load_by_timm(backbone, state)
    except InputError as error:
        raise InputError(f"{where}: not the weights that this backbone takes; {error}") from error
    backbone.body.load_state_dict(loaded.state_dict())


def _load_by_timm(backbone: Backbone, state: dict[str, Tensor]) -> nn.Module:
    """The network with `state`, which timm brings to its names and sizes and loads strictly.

    With a classifier, the file's or zeros, which is taken off afterwards: timm takes a state without one for
    another project's, and is not strict where the classifier has another size.
    """
    names = backbone.body.pretrained_cfg.get("classifier") or ()
    names = (names,) if isinstance(names, str) else names
    classes = next((len(state[key]) for key in (f"{name}.weight" for name in names) if key in state), None)
    if classes is None:
        classes = 1
        with torch.device("meta"):
            whole = create_network(
                backbone.name, backbone.crop, classes=classes, of_hub=backbone.of_hub
            ).state_dict()
        own = backbone.body.state_dict()
        state = {**state, **{key: torch.zeros(whole[key].shape) for key in whole.keys() - own.keys()}}
    loaded: Any = create_network(backbone.name, backbone.crop, state, classes, backbone.of_hub)
    loaded.reset_classifier(0)
    return loaded


def timm_name(name: str) -> str:
    """timm's name of a backbone; a name of torchvision's stands for its weights too, where timm has them."""
    name = ALIASES.get(name, name)
    torchvisions = f"{name}.tv_in1k"
    return torchvisions if timm.is_model_pretrained(torchvisions) else name


def create_network(
    name: str,
    crop: tuple[int, int],
    state: dict[str, Tensor] | None = None,
    classes: int = 0,
    of_hub: Mapping[str, Any] | None = None,
) -> nn.Module:
    """A network of timm's with `classes` outputs; 0 leaves the classifier out.

    Its weights are random, or strictly `state`.

    Args:
        of_hub: see `Backbone`.
    """
    arguments = {**(of_hub or _arguments(name, crop)), "num_classes": classes}
    try:
        if state is not None:
            weights = {"state_dict": state, "num_classes": classes, "label_offset": 0}
            arguments["pretrained_cfg"] = {**arguments["pretrained_cfg"], **NOWHERE, **weights}
        return timm.create_model(**arguments, pretrained=state is not None)
    except Exception as error:  # no connection, and what each family finds wrong
        raise InputError(f"backbone {name!r} for images of {_size(crop)}: {reason(error)}") from error


def _arguments(name: str, crop: tuple[int, int]) -> dict[str, Any]:
    found = timm_name(name)
    if not found.startswith(HUB):
        _check_name(name, found)
    try:
        return resolve_model_input_args(found, {"img_size": crop})
    except Exception as error:  # no connection, no such model
        raise InputError(f"backbone {name!r} for images of {_size(crop)}: {reason(error)}") from error


def _check_name(name: str, found: str) -> None:
    architecture = get_arch_name(found)
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, [*timm.list_models(), *ALIASES], 5)
        raise InputError(
            f"backbone {name!r} is neither {SMALL} nor one of timm {timm.__version__}'s; near it: "
            f"{', '.join(near) or 'none'}"
        )
    tagged = get_arch_pretrained_cfgs(architecture)
    if found != architecture and found not in tagged:
        raise InputError(f"backbone {name!r}: timm has it as {architecture}, {', '.join(tagged)}")


def reason(error: Exception) -> str:
    """An exception in one line, cut where it lists every weight of a network."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _size(crop: tuple[int, int]) -> str:
    return f"{crop[0]}x{crop[1]}"
