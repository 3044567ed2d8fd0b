"""Images for benchmarks: made-up products on white, 500x500 JPEGs, or a catalog's own store."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from components.data.image_store import ImageStore, write_image_store

SIDE = 500


def product_jpeg(random: np.random.Generator) -> bytes:
    """A textured ellipse or box on white."""
    noise = random.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    texture = np.asarray(Image.fromarray(noise).filter(ImageFilter.GaussianBlur(2))).astype(float)
    base = random.integers(30, 220, 3)
    height, width = random.integers(200, 460, 2)
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    power = random.choice([2, 8])
    inside = np.abs(2 * y / height) ** power + np.abs(2 * x / width) ** power < 1
    pixels = np.where(inside[..., None], np.clip(base + 1.6 * (texture - 128), 0, 255), 255)
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "JPEG", quality=85)
    return file.getvalue()


def open_store(folder: Path | None, count: int, temporary: Path) -> ImageStore:
    """The store in `folder`, or a made-up one of `count` images in `temporary`."""
    if folder is not None:
        return ImageStore(folder)
    random = np.random.default_rng(0)
    made_up = temporary / "images"
    write_image_store(made_up, ((f"{i}", SIDE, SIDE, product_jpeg(random)) for i in range(count)))
    return ImageStore(made_up)
