"""Pretrained weights of backbones: from safetensors files and from the hub, never from a pickle."""

import tempfile
from pathlib import Path

import timm
from huggingface_hub import hf_hub_download
from safetensors.torch import load_file
from timm.models import get_arch_name, get_pretrained_cfg

from components.core.errors import InputError
from components.core.reading import reading
from components.data.hub import asking_hub, check_hub
from components.data.uris import fetch
from components.modeling.image.backbones import Backbone, load_state
from components.modeling.image.networks import HUB, timm_name

FILE = "model.safetensors"  # of a folder of weights, and of a model on the hub
INSTEAD = "a .safetensors file or URI as weights"


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
        path = _download(backbone.name) if weights == "pretrained" else _find(weights, Path(folder))
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


def check_pretrained(backbone: str) -> None:
    """Tests that the weights "pretrained" of a backbone can be had, without fetching them.

    Raises:
        InputError: timm has none of it, or the hub does not answer.
    """
    repository, revision = _on_hub(backbone)
    check_hub(repository, FILE, revision, what=_named(backbone, repository), instead=INSTEAD)


def _download(backbone: str) -> Path:
    repository, revision = _on_hub(backbone)
    with asking_hub(_named(backbone, repository), instead=INSTEAD):
        return Path(hf_hub_download(repository, FILE, revision=revision))


def _named(backbone: str, repository: str) -> str:
    return f"backbone {backbone!r}: {FILE} of {repository}"


def _on_hub(backbone: str) -> tuple[str, str | None]:
    """The repository on the hub that holds the weights of a backbone, and the revision, if one is named."""
    found = timm_name(backbone)
    if found.startswith(HUB):
        place = found.removeprefix(HUB)
    else:
        known = get_pretrained_cfg(found)
        place = (known and known.hf_hub_id) or ""
    repository, _, revision = place.partition("@")
    if not repository:
        near = timm.list_pretrained(f"*{get_arch_name(found)}*")[:5]
        raise InputError(
            f"backbone {backbone!r}: timm has no safetensors weights of it; near it: "
            f"{', '.join(near) or 'none'}. Name one of those, a .safetensors file, or weights 'scratch'"
        )
    return repository, revision or None
