"""Backbones that give a feature map: any of timm's, and a small ResNet for a laptop.

timm: https://github.com/huggingface/pytorch-image-models, Apache 2.0. Beside the functions that it documents,
what is used of its models is: `forward_features`, `forward_head(..., pre_logits=True)`, `reset_classifier`,
`num_features`, `head_hidden_size`, `output_fmt`, `num_prefix_tokens`, `feature_info[-1]["reduction"]`, and of
a model's `pretrained_cfg` the keys "classifier", "fixed_input_size", "hf_hub_id", "mean", "num_classes",
"state_dict" and "std".
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from components.core.errors import InputError
from components.modeling.image.networks import HUB, create_network, network_arguments, reason, size_text

OWN = "backbone.body."  # before a backbone's weights in the models that the image stage writes


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
            of_hub: what an earlier backbone of this name and size was given.

        Raises:
            InputError: there is no such network, or it cannot be had for this size.
        """
        super().__init__()
        self.name, self.crop = name, crop
        self.of_hub = of_hub or (network_arguments(name, crop) if name.startswith(HUB) else None)
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
        size = size_text(backbone.crop)
        raise InputError(
            f"backbone {backbone.name!r} gives nothing for images of {size}: {reason(error)}"
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
            f"backbone {after.name!r}: weights for images of {size_text(before.crop)} do not serve images of "
            f"{size_text(after.crop)}; give all stages the same crop. {error}"
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
