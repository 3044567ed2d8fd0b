"""Random rotation, crop and flip of a batch on its device: one gather, each sample its own draw."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

WHITE = 255
PIXEL = 4  # bytes: red, green, blue and one unused, so that a gather moves one machine word a pixel
CHUNK = 2**20  # bytes of images that are augmented at a time on a CPU: what its cache holds
UNIFORMS = 4  # of every sample: angle, crop's y, crop's x, flip
CPU = torch.device("cpu")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ImageBatch:
    """Images of one size, not copied together before they are needed.

    Attributes:
        images: (N, H, W, 3 or PIXEL) uint8, contiguous: a whole cache, or a batch.
        rows: (B,) int64, which of them make up the batch.
    """

    images: Tensor
    rows: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """H, W."""
        return self.images.shape[1], self.images.shape[2]

    def copy_to(self, target: Tensor) -> None:
        """Copies the images into (B, H, W, PIXEL) uint8, which need not be contiguous."""
        torch.index_select(self.images, 0, self.rows, out=target[..., : self.images.shape[3]])


class Buffers:
    """`augment`'s memory on a CPU, kept from batch to batch: fresh pages cost more than the work in them."""

    def __init__(self) -> None:
        self._kept: dict[tuple, tuple[Tensor, Tensor]] = {}

    def take(
        self, count: int, size: tuple[int, int], margin: tuple[int, int], crop: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """A white canvas for `count` images with a margin around them, and `_gather`'s sums."""
        key = (count, size, margin, crop)
        if key not in self._kept:
            self._kept[key] = _canvas(count, size, margin, CPU), _sums(count, crop, CPU)
        return self._kept[key]


def uniforms(seed: int, epoch: int, samples: np.ndarray, count: int) -> Tensor:
    """Numbers in [0, 1) that depend on (seed, epoch, sample, column) alone, (B, count) float32.

    Counter-based (SplitMix64, Steele et al. 2014), so that a resumed training and any number of
    workers draw the same.

    Args:
        samples: (B,) row numbers.
    """
    with np.errstate(over="ignore"):
        state = _mix(np.uint64(seed) + np.uint64(0x9E3779B97F4A7C15))
        state = _mix(state ^ np.uint64(epoch))
        state = _mix(state ^ samples.astype(np.uint64))[:, None]
        state = _mix(state + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return torch.from_numpy(((state >> np.uint64(40)).astype(np.float64) / 2**24).astype(np.float32))


def augment(
    batch: ImageBatch,
    draws: Tensor,
    *,
    crop: tuple[int, int],
    rotation: float,
    flip: bool,
    padding: int = 0,
    buffers: Buffers | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Rotates about the center (nearest pixel, white outside), crops, and mirrors half of the samples.

    Args:
        batch: B images.
        draws: (B, >= UNIFORMS) uniforms.
        crop: height, width.
        rotation: degrees at most, either way.
        padding: pixels that the crop may reach beyond the image.
        buffers: a training's, used on a CPU.
        out: (B, *crop, PIXEL) uint8, contiguous, to write to.

    Returns:
        (B, *crop, PIXEL) uint8, contiguous.
    """
    count, size, device = len(batch.rows), batch.size, batch.images.device
    top = _offsets(draws[:, 1], size[0], crop[0], padding)
    left = _offsets(draws[:, 2], size[1], crop[1], padding)
    mirrored = draws[:, 3] < 0.5 if flip else torch.zeros_like(draws[:, 3], dtype=torch.bool)
    angle = (2 * draws[:, 0] - 1) * rotation
    margin = _margins(size, padding, rotation)
    terms = _coordinates(size, crop, margin, top, left, mirrored, angle)
    pixels = torch.empty((count, *crop, PIXEL), dtype=torch.uint8, device=device) if out is None else out
    # A gather from an image that lies in a CPU's cache is four times faster than from one that does not.
    at_once = count if pixels.is_cuda else min(count, max(1, CHUNK // batch.images[0].numel()))
    if pixels.is_cuda:
        canvas, sums = _canvas(at_once, size, margin, device), _sums(at_once, crop, device)
    else:
        canvas, sums = (buffers or Buffers()).take(at_once, size, margin, crop)
    inner = canvas[:, margin[0] : margin[0] + size[0], margin[1] : margin[1] + size[1]]
    parts = zip(*(tensor.split(at_once) for tensor in (batch.rows, *terms, pixels)), strict=True)
    for rows, down, across, part in parts:
        ImageBatch(batch.images, rows).copy_to(inner[: len(rows)])
        _gather(canvas, down, across, sums[:, : len(rows)], part)
    return pixels


def center_crop(batch: ImageBatch, crop: tuple[int, int]) -> Tensor:
    """The middle of every image, (B, *crop, PIXEL) uint8."""
    images = _canvas(len(batch.rows), batch.size, (0, 0), batch.images.device)
    batch.copy_to(images)
    top, left = (batch.size[0] - crop[0]) // 2, (batch.size[1] - crop[1]) // 2
    return images[:, top : top + crop[0], left : left + crop[1]]


def normalize(
    pixels: Tensor, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
) -> Tensor:
    """(B, H, W, PIXEL) uint8 to (B, 3, H, W) float32 by mean and deviation of (R, G, B), channels last."""
    batch, height, width, _ = pixels.shape
    # Whole rows at once: arithmetic that broadcasts over three channels is several times slower on a CPU.
    scale = pixels.new_tensor([*(1 / (255 * s) for s in std), 0], dtype=torch.float32)
    shift = [-m / s for m, s in zip(mean, std, strict=True)]
    offset = pixels.new_tensor([*shift, 0], dtype=torch.float32)
    rows = _floats((batch, height, width * PIXEL), pixels.device)
    rows.copy_(pixels.reshape(rows.shape)).mul_(scale.repeat(width)).add_(offset.repeat(width))
    return rows.view(batch, height, width, PIXEL)[..., :3].permute(0, 3, 1, 2)


def _floats(shape: tuple[int, ...], device: torch.device) -> Tensor:
    if device != CPU:
        return torch.empty(shape, device=device)
    # NumPy asks Linux for huge pages: four fifths of the time went into the faults of small ones.
    return torch.from_numpy(np.empty(shape, np.float32))


def _mix(state: np.ndarray | np.uint64) -> np.ndarray:
    state = np.asarray(state, dtype=np.uint64)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _offsets(draw: Tensor, side: int, crop: int, padding: int) -> Tensor:
    # (B,) where the crop begins along one axis, every allowed place equally likely.
    return (draw * (side + 2 * padding - crop + 1)).floor() - padding


def _margins(size: tuple[int, int], padding: int, rotation: float) -> tuple[int, int]:
    # How far above, and to the left, a rotated crop can reach beyond the image: pixels.
    height, width = (side / 2 + padding for side in size)
    turn = math.radians(rotation)
    reach = []
    for along, aside in ((height, width), (width, height)):
        widest = min(turn, math.atan2(aside, along))  # where along * cos + aside * sin is largest
        reach.append(math.cos(widest) * along + math.sin(widest) * aside)
    return tuple(math.ceil(far - side / 2) + 1 for far, side in zip(reach, size, strict=True))


def _canvas(count: int, size: tuple[int, int], margin: tuple[int, int], device: torch.device) -> Tensor:
    shape = (count, size[0] + 2 * margin[0], size[1] + 2 * margin[1], PIXEL)
    return torch.full(shape, WHITE, dtype=torch.uint8, device=device)


def _sums(count: int, crop: tuple[int, int], device: torch.device) -> Tensor:
    return torch.empty((2, count, *crop), dtype=torch.int32, device=device)


def _coordinates(
    size: tuple[int, int],
    crop: tuple[int, int],
    margin: tuple[int, int],
    top: Tensor,
    left: Tensor,
    mirrored: Tensor,
    angle: Tensor,
) -> tuple[Tensor, ...]:
    # Where output pixel (y, x) is read on the canvas, (row, column) in 16.16 fixed point: the sum of a term
    # down, (B, 2, crop[0], 1), and one across, (B, 2, 1, crop[1]). The convention is PIL's Image.rotate's.
    across = torch.arange(crop[1], device=angle.device)
    x = torch.where(mirrored[:, None], crop[1] - 1 - across, across) + left[:, None] + 0.5 - size[1] / 2
    y = torch.arange(crop[0], device=angle.device) + top[:, None] + 0.5 - size[0] / 2
    radians = torch.deg2rad(angle.double())[:, None]
    cosine, sine = torch.cos(radians), torch.sin(radians)
    middle_y, middle_x = size[0] / 2 + margin[0], size[1] / 2 + margin[1]
    down = torch.stack([cosine * y + middle_y, -sine * y], 1)[..., None]
    across = torch.stack([sine * x, cosine * x + middle_x], 1)[:, :, None]
    return tuple((term * 65536).round().to(torch.int32) for term in (down, across))


def _gather(canvas: Tensor, down: Tensor, across: Tensor, sums: Tensor, pixels: Tensor) -> None:
    # Reads `pixels` out of the first of the canvas's images, one for each row of the terms.
    _, height, width, _ = canvas.shape
    torch.add(down.transpose(0, 1), across.transpose(0, 1), out=sums).bitwise_right_shift_(16)
    rows, where = sums
    where.add_(rows, alpha=width)
    if len(pixels) > 1:
        image = torch.arange(len(pixels), device=canvas.device, dtype=torch.int32) * (height * width)
        where += image[:, None, None]
    words = canvas.view(torch.int32).view(-1)
    torch.index_select(words, 0, where.view(-1), out=pixels.view(torch.int32).view(-1))
