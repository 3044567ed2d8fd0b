"""Rotation, crop and flip in one gather, against PIL; the draws behind them."""

import numpy as np
import pytest
import torch
from PIL import Image

from components.modeling.image.augmentation import (
    PIXEL,
    UNIFORMS,
    ImageBatch,
    augment,
    center_crop,
    normalize,
    uniforms,
)


def noise(count: int, height: int, width: int) -> torch.Tensor:
    """(count, height, width, PIXEL) uint8 of noise: a wrong pixel cannot hide."""
    return torch.randint(0, 255, (count, height, width, PIXEL), dtype=torch.uint8)


def batch(images: torch.Tensor) -> ImageBatch:
    return ImageBatch(images, torch.arange(len(images)))


@pytest.mark.parametrize(("size", "crop"), [((72, 72), (64, 64)), ((80, 60), (70, 50))])
def test_the_gather_equals_rotating_cropping_and_mirroring_in_pil(size, crop):
    torch.manual_seed(0)
    images = noise(8, *size)
    draws = uniforms(3, 0, np.arange(8), UNIFORMS)
    found = augment(batch(images), draws, crop=crop, rotation=15, flip=True)
    same = []
    for image, (turn, y, x, mirror), got in zip(images, draws.tolist(), found, strict=True):
        turned = Image.fromarray(image[..., :3].numpy()).rotate(
            (2 * turn - 1) * 15, fillcolor=(255, 255, 255)
        )
        top, left = int(y * (size[0] - crop[0] + 1)), int(x * (size[1] - crop[1] + 1))
        expected = turned.crop((left, top, left + crop[1], top + crop[0]))
        if mirror < 0.5:
            expected = expected.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        same.append((np.asarray(expected) == got[..., :3].numpy()).all(axis=2).mean())
    assert np.mean(same) > 0.999


def test_without_rotation_a_crop_is_a_window_of_the_image():
    images = noise(1, 20, 20)
    found = augment(
        batch(images), torch.tensor([[0.3, 0.999, 0.0, 0.9]]), crop=(16, 16), rotation=0, flip=True
    )
    assert torch.equal(found[0], images[0, 4:20, 0:16])


def test_a_crop_beyond_the_image_is_white():
    images = torch.zeros(1, 8, 8, PIXEL, dtype=torch.uint8)
    found = augment(
        batch(images), torch.tensor([[0.5, 0.0, 0.0, 0.9]]), crop=(8, 8), rotation=0, flip=False, padding=2
    )
    assert (found[0, :2] == 255).all()
    assert (found[0, :, :2] == 255).all()
    assert (found[0, 2:, 2:] == 0).all()


def test_a_draw_depends_on_seed_epoch_and_sample_and_not_on_the_batch():
    whole = uniforms(1, 2, np.arange(100), 6)
    assert torch.equal(whole[[40, 7]], uniforms(1, 2, np.array([40, 7]), 6))
    assert not torch.equal(whole, uniforms(1, 3, np.arange(100), 6))
    assert not torch.equal(whole, uniforms(2, 2, np.arange(100), 6))


def test_draws_are_uniform_and_independent():
    draws = uniforms(0, 0, np.arange(20_000), 4).double()
    assert draws.min() >= 0
    assert draws.max() < 1
    assert torch.allclose(draws.mean(0), torch.full((4,), 0.5, dtype=torch.float64), atol=0.01)
    correlation = torch.corrcoef(torch.cat([draws[:-1].T, draws[1:].T])) - torch.eye(8)
    assert correlation.abs().max() < 0.03


def test_normalized_pixels_have_imagenets_scale_in_channels_last_memory():
    images = noise(2, 6, 4)
    found = normalize(images)
    red = (images[..., 0].float() / 255 - 0.485) / 0.229
    assert torch.allclose(found[:, 0], red, atol=1e-5)
    assert found.stride(1) == 1
    assert found.shape == (2, 3, 6, 4)


def test_the_center_crop_is_the_middle():
    images = noise(1, 10, 8)
    assert torch.equal(center_crop(batch(images), (10, 8)), images)
    assert torch.equal(center_crop(batch(images), (6, 4)), images[:, 2:8, 2:6])


def test_images_of_three_bytes_a_pixel_are_read_alike():
    images = noise(3, 12, 12)
    whole = batch(images)
    narrow = ImageBatch(whole.images[..., :3].contiguous(), torch.tensor([2, 0]))
    draws = uniforms(0, 0, np.arange(2), UNIFORMS)
    found = augment(narrow, draws, crop=(8, 8), rotation=15, flip=True)
    wide = augment(ImageBatch(whole.images, narrow.rows), draws, crop=(8, 8), rotation=15, flip=True)
    assert torch.equal(found[..., :3], wide[..., :3])
