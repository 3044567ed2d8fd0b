"""Pooled features of pictures from a backbone as it is."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub.constants import HF_HOME
from safetensors.torch import save_file

from components.core.artifacts import whole_file, write_json
from components.core.errors import InputError
from components.data.feature_cache import FeatureCache
from components.data.image_store import ImageStore
from components.data.uris import fetch
from components.modeling.checkpoint import digest_of
from components.modeling.image.augmentation import center_crop, normalize
from components.modeling.image.backbones import Backbone, check_backbone
from components.modeling.image.cache import ImageCache
from components.modeling.image.pretrained import FILE, load_weights
from components.modeling.precision import autocast

BATCH = {"cpu": 32, "cuda": 256}


def load_backbone(
    name: str, weights: str, size: tuple[int, int], of_hub: Mapping[str, Any] | None = None
) -> Backbone:
    """A backbone with pretrained weights for images of `size` = (height, width).

    Args:
        name: "" takes the one that config.json of the folder `weights` names as its "architecture".
        of_hub: see `Backbone`.

    Raises:
        InputError: no such backbone or weights, or they do not belong together.
    """
    name = name or _architecture(weights)
    if of_hub is None:
        check_backbone(name, [size])
    backbone = Backbone(name, size, of_hub)
    load_weights(backbone, weights)
    return backbone.to(memory_format=torch.channels_last).eval()  # pyright: ignore[reportCallIssue]


def _architecture(weights: str) -> str:
    try:
        with tempfile.TemporaryDirectory() as folder:
            text = fetch(f"{weights.rstrip('/')}/config.json", Path(folder)).read_text(encoding="utf-8")
        return str(json.loads(text)["architecture"])
    except (InputError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"weights {weights!r}: without a backbone in the configuration they must be a folder whose "
            f'config.json names it as "architecture", as the hub\'s models of timm do: {error!r}'
        ) from error


def save_backbone(backbone: Backbone, folder: Path) -> None:
    """Writes a folder of weights that `load_backbone` reads."""
    tensors = {key: value.cpu().contiguous() for key, value in backbone.body.state_dict().items()}
    with whole_file(folder / FILE) as temporary:
        save_file(tensors, temporary)
    write_json(folder / "config.json", {"architecture": backbone.name})


def embed_images(
    backbone: Backbone, store: ImageStore, keys: list[str], *, fit: str, device: torch.device, keep: bool
) -> np.ndarray:
    """Pooled features (len(keys), W) float32 of images, at least one, each brought to the backbone's size.

    Args:
        fit: what is done to an image of another aspect, see `decode`.
        keep: computes those of a picture once for all folds and runs; they are kept below `HF_HOME`. On a
            cluster, mount a volume there.

    Raises:
        InputError: an image cannot be decoded.
    """
    backbone.to(device)

    def compute(places: np.ndarray) -> np.ndarray:
        chosen = [keys[place] for place in places]
        with ImageCache(store, chosen, backbone.crop, fit=fit, place="stream", device=device) as images:
            return _embed(backbone, images, len(chosen))

    if not keep:
        return compute(np.arange(len(keys)))
    weights, normalized = digest_of(backbone.state_dict()), (backbone.mean, backbone.std)
    identity = f"{weights} {backbone.name} {backbone.crop} {normalized} {fit} {device.type}"
    cache = FeatureCache(Path(HF_HOME) / "features", identity)
    return cache.features([store.encoded(key) for key in keys], compute)


def _embed(backbone: Backbone, images: ImageCache, count: int) -> np.ndarray:
    device, pooled = images.device, []
    size = BATCH[device.type]
    rows = (np.arange(start, min(start + size, count)) for start in range(0, count, size))
    with torch.inference_mode(), autocast(device):
        for batch in images.batches(rows):
            pixels = center_crop(batch, backbone.crop)
            pooled.append(backbone(normalize(pixels, backbone.mean, backbone.std))[1].float().cpu())
    return torch.cat(pooled).numpy()
