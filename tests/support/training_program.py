"""A program that runs the text or the image stage on a tiny catalog; torchrun starts it too.

Arguments: the modality, the folder of the catalog, the folder for what the stage leaves, the configuration,
and how many GPUs the stage believes to have.
"""

import json
import sys
from pathlib import Path
from typing import Any

from image_catalog import write_catalog
from text_catalog import small_config, text_products

from components.core.accelerators import check_accelerators
from components.core.stage import process_of
from components.data.products import write_products
from components.image import run as image
from components.image.config import IMAGE_KINDS
from components.text import run as text


def write_inputs(modality: str, folder: Path) -> None:
    """The catalog that `main` reads."""
    folder.mkdir(exist_ok=True)
    if modality == "image":
        write_catalog(folder)
    else:
        write_products(text_products(), folder / "products.parquet")


def main(modality: str, folder: Path, out: Path, settings: dict[str, Any], gpus: int) -> None:
    """Runs the stage; what it leaves lies in `out`."""
    names = {"probabilities": "probabilities", "features": "features.npz", "model": "model"}
    options: dict[str, Any] = {name: out / file for name, file in names.items()}
    options |= {"fold": None, "seed": 3, "checkpoints": out / "checkpoints"}
    products = folder / "products.parquet"
    for module in (text, image):
        setattr(module, check_accelerators.__name__, lambda *_: gpus)
    with process_of(modality):
        if modality == "image":
            image.run_image(products, folder / "images", IMAGE_KINDS.parse(settings), **options)
        else:
            text.run_text(products, small_config(**settings), **options)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4]), int(sys.argv[5]))
