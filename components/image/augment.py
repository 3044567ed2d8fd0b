"""Random rotation, crop and flip of a batch on its device: one gather, each sample its own draw."""

import numpy as np
import torch
from torch import Tensor

FRAME = 1  # white pixels around every cached image: what lies outside the image is read from there
WHITE = 255
DRAWS = 4  # of every sample: angle, crop's y, crop's x, flip
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


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
    framed: Tensor,
    draws: Tensor,
    *,
    crop: tuple[int, int],
    rotation: float,
    flip: bool,
    padding: int = 0,
    content: Tensor | None = None,
) -> Tensor:
    """Rotates about the centre (nearest pixel, white outside), crops, and mirrors half of the samples.

    Args:
        framed: (B, H + 2, W + 2, 3) uint8 images in their white frame.
        draws: (B, >= DRAWS) uniforms.
        crop: height, width.
        rotation: degrees at most, either way.
        padding: pixels that the crop may reach beyond the image.
        content: (B, 4) top, left, bottom, right of what is not white: the crop keeps it whole where
            it can.

    Returns:
        (B, *crop, 3) uint8, contiguous.
    """
    batch, height, width, _ = framed.shape
    top = _offsets(draws[:, 1], height - 2 * FRAME, crop[0], padding, _sides(content, 0))
    left = _offsets(draws[:, 2], width - 2 * FRAME, crop[1], padding, _sides(content, 1))
    mirrored = draws[:, 3] < 0.5 if flip else torch.zeros_like(draws[:, 3], dtype=torch.bool)
    angle = (2 * draws[:, 0] - 1) * rotation
    ys, xs = _sources(height - 2 * FRAME, width - 2 * FRAME, crop, top, left, mirrored, angle)
    first = torch.arange(batch, device=framed.device, dtype=torch.int32) * (height * width)
    rows = ys.mul_(width).add_(xs).add_(first[:, None, None])
    return framed.view(-1, 3).index_select(0, rows.view(-1)).view(batch, *crop, 3)


def centre_crop(framed: Tensor, crop: tuple[int, int]) -> Tensor:
    """The middle of every image, (B, *crop, 3) uint8; `framed` as in `augment`."""
    top, left = (framed.shape[1] - crop[0]) // 2, (framed.shape[2] - crop[1]) // 2
    return framed[:, top : top + crop[0], left : left + crop[1]]


def normalise(pixels: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 to (B, 3, H, W), ImageNet's mean and deviation; channels last in memory."""
    scale = torch.tensor([1 / (255 * s) for s in IMAGENET_STD], device=pixels.device)
    shift = torch.tensor(
        [-m / s for m, s in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)], device=pixels.device
    )
    return pixels.to(torch.float32).mul_(scale).add_(shift).permute(0, 3, 1, 2)


def _mix(state: np.ndarray | np.uint64) -> np.ndarray:
    state = np.asarray(state, dtype=np.uint64)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _sides(content: Tensor | None, axis: int) -> tuple[Tensor, Tensor] | None:
    return None if content is None else (content[:, axis], content[:, axis + 2])


def _offsets(
    draw: Tensor, side: int, crop: int, padding: int, content: tuple[Tensor, Tensor] | None
) -> Tensor:
    # (B,) where the crop begins along one axis, every allowed place equally likely.
    low = torch.full_like(draw, -padding)
    high = torch.full_like(draw, side + padding - crop)
    if content is not None:
        kept_low, kept_high = torch.maximum(low, content[1] - crop), torch.minimum(high, content[0])
        fits = kept_low <= kept_high
        low, high = torch.where(fits, kept_low, low), torch.where(fits, kept_high, high)
    return low + (draw * (high - low + 1)).floor()


def _sources(
    height: int,
    width: int,
    crop: tuple[int, int],
    top: Tensor,
    left: Tensor,
    mirrored: Tensor,
    angle: Tensor,
) -> tuple[Tensor, Tensor]:
    # For every output pixel its row and column in the framed image, (B, *crop) int32 each. The
    # coordinates are 16.16 fixed point, separable into a row and a column term; a coordinate outside
    # the image falls on the frame. The convention is that of PIL's Image.rotate.
    across = torch.arange(crop[1], device=angle.device)
    x = torch.where(mirrored[:, None], crop[1] - 1 - across, across) + left[:, None] + 0.5 - width / 2
    y = torch.arange(crop[0], device=angle.device) + top[:, None] + 0.5 - height / 2
    radians = torch.deg2rad(angle.double())[:, None]
    cosine, sine = torch.cos(radians), torch.sin(radians)
    xs = _fixed(cosine * x + width / 2)[:, None, :] + _fixed(-sine * y)[:, :, None]
    ys = _fixed(sine * x)[:, None, :] + _fixed(cosine * y + height / 2)[:, :, None]
    xs.bitwise_right_shift_(16).clamp_(-FRAME, width).add_(FRAME)
    ys.bitwise_right_shift_(16).clamp_(-FRAME, height).add_(FRAME)
    return ys, xs


def _fixed(values: Tensor) -> Tensor:
    return (values * 65536).round().to(torch.int32)
