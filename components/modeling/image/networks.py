"""timm's networks by name: its own, torchvision's names of them, and models of the hub."""

import difflib
from collections.abc import Mapping
from typing import Any

import timm
from timm.models import get_arch_name, get_arch_pretrained_cfgs, resolve_model_input_args
from torch import Tensor, nn

from components.core.errors import InputError
from components.modeling.image.small_resnet import SMALL

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
        of_hub: see `Backbone` (`components/modeling/image/backbones.py`).

    Raises:
        InputError: there is no such network, or it cannot be had for this size.
    """
    arguments = {**(of_hub or network_arguments(name, crop)), "num_classes": classes}
    try:
        if state is not None:
            weights = {"state_dict": state, "num_classes": classes, "label_offset": 0}
            arguments["pretrained_cfg"] = {**arguments["pretrained_cfg"], **NOWHERE, **weights}
        return timm.create_model(**arguments, pretrained=state is not None)
    except Exception as error:  # no connection, and what each family finds wrong
        raise InputError(f"backbone {name!r} for images of {size_text(crop)}: {reason(error)}") from error


def network_arguments(name: str, crop: tuple[int, int]) -> dict[str, Any]:
    """What timm's `create_model` takes for a network; of a hub's model, what the hub says of it.

    Raises:
        InputError: there is no such network, or the hub does not answer.
    """
    found = timm_name(name)
    if not found.startswith(HUB):
        _check_name(name, found)
    try:
        return resolve_model_input_args(found, {"img_size": crop})
    except Exception as error:  # no connection, no such model
        raise InputError(f"backbone {name!r} for images of {size_text(crop)}: {reason(error)}") from error


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


def size_text(crop: tuple[int, int]) -> str:
    """Height and width, for messages."""
    return f"{crop[0]}x{crop[1]}"
