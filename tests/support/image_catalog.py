"""A tiny catalog of colored squares on white, and a tiny configuration that learns it."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from components.data.image_store import write_image_store
from components.data.probabilities import read_classifier
from components.data.products import Products, write_products
from components.image.config import IMAGE_KINDS
from components.image.run import run_image

COLORS = ((200, 30, 30), (30, 160, 30), (30, 30, 200))
CONFIG: dict[str, Any] = {
    "name": "tiny",
    "backbone": "small_resnet",
    "weights": "scratch",
    "resize": [32, 32],
    "crop": [32, 32],
    "padding": 2,
    "rotation": 5.0,
    "epochs": 3,
    "batch_size": 8.0,  # a run's form gives floats
    "learning_rate": 0.02,
    "dcl_epochs": 0,
}
DCL: dict[str, Any] = {"dcl_epochs": 2, "dcl_resize": [36, 36], "dcl_crop": [32, 32], "dcl_blocks": 4}


def jpeg(pixels: np.ndarray) -> bytes:
    """A JPEG of (H, W, 3) uint8 pixels."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=92)
    return file.getvalue()


def product_image(label: int, random: np.random.Generator, size: tuple[int, int] = (40, 40)) -> np.ndarray:
    """A square of the label's color somewhere on white, (H, W, 3) uint8."""
    pixels = np.full((*size, 3), 255, np.uint8)
    top, left = random.integers(2, size[0] // 2 - 2), random.integers(2, size[1] // 2 - 2)
    noise = random.integers(-25, 25, (size[0] // 2, size[1] // 2, 3))
    pixels[top : top + size[0] // 2, left : left + size[1] // 2] = np.clip(COLORS[label] + noise, 0, 255)
    return pixels


def write_catalog(
    folder: Path, count: int = 90, *, without_image: tuple[int, ...] = ()
) -> tuple[Path, Path, Products]:
    """Writes products (train, validation, test 6:2:2; 3 folds) and their image store.

    Returns:
        The product table's path, the image store's path, and the products.
    """
    random = np.random.default_rng(0)
    labels = np.arange(count) % len(COLORS)
    split = np.repeat(["train", "validation", "test"], [count * 6 // 10, count * 2 // 10, count * 2 // 10])
    labeled = split != "test"
    classes = ("10", "20", "30")
    table = pd.DataFrame(
        {
            "product_id": [f"p{row}" for row in range(count)],
            "title": "a product",
            "description": "",
            "image": [None if row in without_image else f"k{row}" for row in range(count)],
            "code": [classes[label] if known else None for label, known in zip(labels, labeled, strict=True)],
            "label": pd.array(np.where(labeled, labels, -1), dtype="Int64"),
            "split": split,
            "fold": pd.array(np.arange(count) // 3 % 3, dtype="Int64"),
            "group": np.arange(count),
            "removed": False,
            "row_id": [str(row) for row in range(count)],
            "image_id": [str(row) for row in range(count)],
        }
    )
    table["label"] = table["label"].where(labeled)
    table["fold"] = table["fold"].where(table["split"] == "train")
    products = Products(table, classes)
    write_products(products, folder / "products.parquet")
    images = ((f"k{row}", 40, 40, jpeg(product_image(labels[row], random))) for row in range(count))
    write_image_store(folder / "images", images)
    return folder / "products.parquet", folder / "images", products


def run_image_stage(
    folder, config=None, *, defaults=CONFIG, fold=None, checkpoints=None, without_image=(), seed=0
):
    """The image stage on the tiny catalog: its metrics, its probabilities, the catalog."""
    folder.mkdir(exist_ok=True)
    products, images, catalog = write_catalog(folder, without_image=without_image)
    result = run_image(
        products,
        images,
        IMAGE_KINDS.parse({**defaults, **(config or {})}),
        fold=fold,
        seed=seed,
        probabilities=folder / "probabilities",
        features=folder / "features.npz",
        model=folder / "model",
        checkpoints=checkpoints,
    )
    assert "could not be drawn" not in result.report
    return result.metrics, read_classifier(folder / "probabilities", classes=catalog.classes), catalog
