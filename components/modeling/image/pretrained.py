"""Pretrained weights of backbones: from safetensors files and from the hub, never from a pickle."""

import tempfile
from pathlib import Path

import timm
from huggingface_hub import hf_hub_download
from safetensors.torch import load_file
from timm.models import get_arch_name

from components.core.errors import InputError
from components.core.reading import reading
from components.data.hub import asking_hub
from components.data.uris import fetch
from components.modeling.image.backbones import Backbone, load_state
from components.modeling.image.networks import timm_name

FILE = "model.safetensors"  # of a folder of weights, and of a model on the hub


def load_weights(backbone: Backbone, weights: str) -> None:
    """Puts pretrained weights into a backbone; "scratch" leaves it as it is.

    Args:
        weights: "pretrained", timm's from the hub; or a .safetensors file, or a folder that holds
            model.safetensors: a path or a URI. The file has timm's names, or is a model of the image stage.

    Raises:
        InputError: no such weights, a file that is not safetensors, or weights of another network.
    """
    if weights == "scratch":
        return
    with tempfile.TemporaryDirectory() as folder:
        path = _download(backbone) if weights == "pretrained" else _find(weights, Path(folder))
        with reading(path, "a safetensors file"):
            state = load_file(path)
    load_state(backbone, state, where=f"weights {weights!r}")


def _find(weights: str, folder: Path) -> Path:
    if weights.endswith(".safetensors"):
        return fetch(weights, folder)
    try:
        return fetch(f"{weights.rstrip('/')}/{FILE}", folder)
    except InputError as error:
        raise InputError(
            f"weights {weights!r} are neither a .safetensors file nor a folder that holds {FILE}; no other "
            f"files are read, as they may be pickles: {error}"
        ) from error


def _download(backbone: Backbone) -> Path:
    repository, _, revision = backbone.body.pretrained_cfg.get("hf_hub_id", "").partition("@")
    if not repository:
        near = timm.list_pretrained(f"*{get_arch_name(timm_name(backbone.name))}*")[:5]
        raise InputError(
            f"backbone {backbone.name!r}: timm has no safetensors weights of it; near it: "
            f"{', '.join(near) or 'none'}. Name one of those, a .safetensors file, or weights 'scratch'"
        )
    what = f"backbone {backbone.name!r}: {FILE} of {repository}"
    with asking_hub(what, instead="a .safetensors file or URI as weights"):
        return Path(hf_hub_download(repository, FILE, revision=revision or None))
