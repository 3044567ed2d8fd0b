"""Products as a caller has them, made into what classifiers read: cleaned texts, packed images."""

from pathlib import Path

import pandas as pd

from components.core.errors import InputError
from components.data.image_store import ImageStore, write_image_store
from components.preprocess.catalog.cleaning import clean_text
from components.preprocess.catalog.records import Record
from components.preprocess.config import PreprocessConfig
from components.preprocess.images.packing import Part, pack_images
from components.preprocess.images.sources import open_images

COLUMNS = ("product_id", "title", "description", "image")


def cleaned(table: pd.DataFrame) -> pd.DataFrame:
    """Ids, cleaned titles and descriptions, and images of a table; ids are row numbers where it has none.

    Raises:
        InputError: there is no title, or an id occurs twice.
    """
    if "title" not in table:
        raise InputError(f"no column 'title' among {list(map(str, table))}; expected {', '.join(COLUMNS)}")
    ids = table["product_id"] if "product_id" in table else pd.RangeIndex(len(table)).to_series()
    found = pd.DataFrame({"product_id": [str(each) for each in ids]}, dtype=object)
    if (twice := found["product_id"].duplicated()).any():
        raise InputError(
            f"product_id {found['product_id'][twice.argmax()]!r} occurs twice; give each its own"
        )
    for name in ("title", "description"):
        values = table[name] if name in table else [""] * len(table)
        found[name] = ["" if pd.isna(text) else clean_text(str(text)) for text in values]
    images = table["image"] if "image" in table else [None] * len(table)
    found["image"] = pd.Series([key if isinstance(key, str) else None for key in images], dtype=object)
    return found


def opened_images(
    table: pd.DataFrame, images: ImageStore | Path | str | None, config: PreprocessConfig, scratch: Path
) -> ImageStore:
    """The store of a table's images; from a folder or zip they are packed, and `image` becomes their key.

    An image that cannot be used leaves its product without one.

    Args:
        scratch: an empty folder, which the store may lie in.

    Raises:
        InputError: the folder or zip cannot be read.
    """
    if isinstance(images, ImageStore):
        return images
    if images is None:
        table["image"] = None
        write_image_store(scratch, [])
    else:
        records = [
            Record("", row, product, product, "", "", "", image or "")
            for row, (product, image) in enumerate(zip(table["product_id"], table["image"], strict=True))
        ]
        part = Part(records, open_images(Path(images)), "keep", config.image_separator)
        pack_images(part, folder=scratch, max_pixels=config.max_image_pixels)
        table["image"] = pd.Series([record.image for record in records], dtype=object)
    return ImageStore(scratch, check=False)
