"""What colors images have, and where: what the light classifiers read of an image."""

import math
from functools import cache
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from components.data.image_store import ImageStore
from components.modeling.image.augmentation import PIXEL
from components.modeling.image.cache import ImageCache

WHITE = 0xF0F0F0  # a pixel whose every channel has these bits, so is at least 240, is background
# Where the bins of CIELAB end, finer near gray: lightness, and both a and b.
LIGHTNESS = (20.0, 35.0, 50.0, 65.0, 80.0)
CHROMA = (-25.0, -10.0, -4.0, 4.0, 10.0, 25.0, 45.0)
BITS = 5  # of each channel's 8, in the table from RGB to bins
SIZE = (80, 60)  # height, width to which images are brought: colors need no more
CHUNK = 512  # images described at a time
GRID = (8, 6)  # cells in which the share is taken that is not background
REMEMBERED = 4096  # images: those of a part of a catalog that is predicted, never a whole one

_LAST: WeakKeyDictionary[ImageStore, tuple[list[str], Tensor]] = WeakKeyDictionary()


def describe(images: Tensor) -> Tensor:
    """What colors images have, and where: (B, H, W, PIXEL) uint8 -> (B, D) float32.

    Square roots of the shares of each color (so that Euclidean distance is Hellinger's) in the whole, its
    upper, middle and lower third and its center, background left out; and the share of every cell of a
    grid that is not background.
    """
    height, width = images.shape[1:3]
    table, bins = _bin_of_color()
    # Whole pixels, red in the lowest byte, take a third of the time of single channels.
    pixels = images.view(torch.int32).squeeze(3)
    shown, coarse = (pixels & WHITE) != WHITE, 2**BITS - 1
    red, green, blue = (pixels >> (8 * number + 8 - BITS) & coarse for number in range(3))
    places = (((red << BITS) + green) << BITS) + blue
    color = torch.where(shown, table.index_select(0, places.flatten()).view_as(places), bins)
    third, (top, left) = torch.arange(height) // (height // 3), (height // 4, width // 4)
    # Below the lower third one or two rows are left, which belong to the whole alone.
    rows = _counts(color, third.clamp(max=3), bins)
    center = _counts(color[:, top:-top, left:-left], torch.zeros_like(third[top:-top]), bins)
    regions = [rows.sum(dim=1), *rows[:, :3].unbind(1), center[:, 0]]
    parts = [(region / region.sum(dim=1, keepdim=True).clamp(min=1)).sqrt() for region in regions]
    cells = functional.adaptive_avg_pool2d(shown[:, None].float(), GRID)
    return torch.cat([*parts, cells.flatten(1)], dim=1)


def _counts(color: Tensor, region: Tensor, bins: int) -> Tensor:
    # (B, h, w) bins, of which the last is background, and (h,) regions to (B, regions, bins).
    regions = int(region.max()) + 1
    first = torch.arange(len(color) * regions, dtype=torch.int32).view(-1, regions) * (bins + 1)
    places = first[:, region, None] + color
    counts = torch.bincount(places.flatten(), minlength=first.numel() * (bins + 1))
    return counts.view(*first.shape, bins + 1)[..., :bins].float()


@cache
def _bin_of_color() -> tuple[Tensor, int]:
    # The bin of every coarse RGB color, (8 ** BITS,) int32, and how many bins some color falls into.
    steps = (np.arange(2**BITS) + 0.5) / 2**BITS
    rgb = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lightness, a, b = _to_lab(rgb).T
    sides = np.digitize(lightness, LIGHTNESS), np.digitize(a, CHROMA), np.digitize(b, CHROMA)
    size = len(CHROMA) + 1
    found, table = np.unique((sides[0] * size + sides[1]) * size + sides[2], return_inverse=True)
    return torch.from_numpy(table.ravel().astype(np.int32)), len(found)


def _to_lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB in 0..1, (N, 3) -> CIELAB under D65, (N, 3) (IEC 61966-2-1; CIE 15)."""
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = linear @ np.array(to_xyz).T / (0.9505, 1.0, 1.089)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def describe_all(store: ImageStore, keys: list[str]) -> Tensor:
    """`describe` of the images of `keys`, brought to SIZE: (len(keys), D) float32, to be read alone.

    Several parts of a model read the same images after each other: the last ones of a store are remembered.

    Raises:
        InputError: an image cannot be decoded.
    """
    known, described = _LAST.get(store, (None, None))
    if described is None or known != keys:
        described = _describe_all(store, keys)
        if len(keys) <= REMEMBERED:
            _LAST[store] = list(keys), described
    return described


def _describe_all(store: ImageStore, keys: list[str]) -> Tensor:
    cpu = torch.device("cpu")
    if not keys:
        return describe(torch.zeros(0, *SIZE, PIXEL, dtype=torch.uint8))
    chunks = np.array_split(np.arange(len(keys)), math.ceil(len(keys) / CHUNK))
    with ImageCache(store, keys, SIZE, fit="stretch", place="stream", device=cpu) as cache:
        described = [describe(batch.images) for batch in cache.batches(chunks)]
    return torch.cat(described)
