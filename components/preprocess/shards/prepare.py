"""The task of each shard: cleans its texts, decodes its images, and hashes both for what compares them."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.core.artifacts import read_manifest, sha256, write_json, write_manifest
from components.core.reading import read_json
from components.data.image_store import write_image_store
from components.data.tables.findings import Finding
from components.preprocess.catalog.records import Record
from components.preprocess.catalog.texts import OddTexts, cleaned, text_hash
from components.preprocess.config import PreprocessConfig
from components.preprocess.duplicates import title_key
from components.preprocess.images.names import ImageNames
from components.preprocess.images.packing import WINDOW, Found, Packed, Packer
from components.preprocess.images.sources import ImageSource, ZipImages
from components.preprocess.profile.profile import measured
from components.preprocess.shards.cut import LABELED, Cut, Shard
from components.preprocess.shards.stored import (
    CLEANING,
    FINDINGS,
    read_records,
    rows_of_found,
    written_rows,
)

ROWS, FOUND, PICTURES, IMAGES, SUMMARY = (
    "rows.parquet",
    "findings.parquet",
    "pictures.parquet",
    "images",
    "shard.json",
)
OF_RECORD = ("product_id", "title", "description", "image", "row_id", "image_id", "file")
HASHES = ("title_key", "title_text", "description_text")  # 0 for none
NUMBERS = ("title_words", "description_words", "line", "row")
TABLE = pa.schema(
    [
        *((name, pa.string()) for name in (*OF_RECORD, "language")),
        *((name, pa.int64()) for name in NUMBERS),
        *((name, pa.uint64()) for name in HASHES),
    ]
)
OF_PICTURE = pa.schema(
    [("key", pa.string()), ("attempt", pa.int64()), ("row", pa.int64()), ("thumbnail", pa.binary())]
)


@dataclass(frozen=True)
class Summary:
    """What is known of a shard as a whole.

    Attributes:
        odd: products whose texts were decoded wrongly.
        strangers: names of the catalog and of the images, where none means an image; else "".
        decoded: how many images were.
        digest: SHA-256 of the archive of the images, "" where they lie in a folder, and of all but one shard.
    """

    shard: Shard
    odd: OddTexts
    strangers: str
    decoded: int
    digest: str = ""


def prepare_shard(
    cut: Cut, shard: Shard, images: ImageSource, config: PreprocessConfig, folder: Path, *, decoded: float = 1
) -> None:
    """Leaves a shard's products in `folder`: cleaned texts, their hashes, images, and what was found.

    Of a product with several images the first that can be used is taken.

    Args:
        decoded: share of the images that are decoded and packed; of the others the header is read.
    """
    # All of the part's: what one name means, others decide too.
    names = ImageNames(images, cut.names_of(shard.part), config.image_separator)
    policy = config.on_bad_image if cut.what == LABELED else "keep"
    odd, found = OddTexts(), list[Finding]()
    with Packer(names, policy, config.max_image_pixels, decoded) as packer:
        records = cleaned(read_records(cut.folder / shard.file), found, odd)
        count = write_image_store(folder / IMAGES, _images(records, found, packer, folder))
    digest = sha256(images.path) if cut.is_first(shard) and isinstance(images, ZipImages) else ""
    write_json(folder / SUMMARY, asdict(Summary(shard, odd, names.strangers(), count, digest)))
    write_manifest(folder)


def read_summary(folder: Path) -> Summary:
    """What a shard's task says of it.

    Raises:
        InputError: the folder is not what `prepare_shard` left.
    """
    read_manifest(folder)
    found = read_json(folder / SUMMARY, "a shard of a catalog")
    odd = found["odd"]
    odd["first"] = Finding(**odd["first"]) if odd["first"] else None
    return Summary(**{**found, "shard": Shard(**found["shard"]), "odd": OddTexts(**odd)})


def _images(
    records: Iterable[Record], of_texts: list[Finding], packer: Packer, folder: Path
) -> Iterator[Packed]:
    """The images that are decoded; on the way the rest is written, so that a window of it is in memory."""
    with (
        written_rows(folder / ROWS, TABLE) as rows,
        written_rows(folder / FOUND, FINDINGS) as findings,
        written_rows(folder / PICTURES, OF_PICTURE) as pictures,
    ):
        for _, window in groupby(records, key=lambda record: record.row // WINDOW):
            some = list(window)
            yield from (image for image in packer.images(some) if image[-1])
            rows.add(map(_row, some))
            findings.add(rows_of_found(Found(CLEANING, 0, finding) for finding in of_texts))
            findings.add(rows_of_found(packer.found))
            pictures.add([each.key, each.attempt, each.row, each.thumbnail] for each in packer.pictures)
            for written in (of_texts, packer.found, packer.pictures):
                written.clear()


def _row(record: Record) -> list[Any]:
    *words, language, text = measured(record.title, record.description)
    return [
        *(getattr(record, name) for name in OF_RECORD),
        language,
        *(*words, record.line, record.row),
        *(text_hash(title_key(record.title) or ""), text, text_hash(record.description)),
    ]
