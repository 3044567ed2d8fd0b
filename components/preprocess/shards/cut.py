"""The first task of preprocess: a catalog's files, read in one pass, become shards of records."""

import hashlib
import logging
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.core.artifacts import read_manifest, write_json, write_manifest
from components.core.reading import read_json
from components.data.tables.findings import Finding
from components.preprocess.catalog.records import Catalog
from components.preprocess.images.packing import Found
from components.preprocess.shards.stored import (
    CLEANING,
    FINDINGS,
    read_batches,
    read_found,
    rows_of_found,
    write_records,
    write_rows,
)

log = logging.getLogger(__name__)

CATALOG, FOUND, CODES = "catalog.json", "findings.parquet", "codes.parquet"
OF_CODES = pa.schema([("code", pa.string())])
LABELED, TEST = "labeled", "test"


@dataclass(frozen=True)
class Shard:
    """Some of a catalog's products, in the order of their file.

    Attributes:
        part: number of the file among those that products are read from.
        images: name of the source of their images in `Sources`.
        rows: how many products it has.
    """

    number: int
    part: int
    images: str
    rows: int

    @property
    def file(self) -> str:
        """Where its records lie."""
        return f"{self.number:06d}.parquet"


@dataclass(frozen=True)
class Cut:
    """A catalog that is cut into shards.

    Attributes:
        what: its products are, "labeled" or "test".
        findings: of reading it.
    """

    folder: Path
    what: str
    shards: list[Shard]
    metadata: dict[str, Any]
    findings: list[Finding]

    def of_part(self, part: int) -> list[Path]:
        """The files of one part's records, in their order."""
        return [self.folder / shard.file for shard in self.shards if shard.part == part]

    def names_of(self, part: int) -> Iterator[str]:
        """What stands in each of one part's records for its images."""
        for path in self.of_part(part):
            for batch in read_batches(path, ["image_name"]):
                yield from batch["image_name"]

    def is_first(self, shard: Shard) -> bool:
        """Whether no shard of its part comes before it."""
        return shard == next(each for each in self.shards if each.part == shard.part)

    def codes(self) -> Iterator[str | None]:
        """Of each record, in their order."""
        for batch in read_batches(self.folder / CODES, OF_CODES.names):
            yield from (code and sys.intern(code) for code in batch["code"])


def cut_catalog(
    parts: Sequence[tuple[str, Catalog]],
    what: str,
    metadata: dict[str, Any],
    findings: list[Finding],
    *,
    size: int,
    folder: Path,
) -> Cut:
    """Writes the products of a catalog's files into as few equal shards as `size` allows, at least one each.

    Their codes lie apart, so that what is done for a shard is done whatever its products' codes are.

    Args:
        parts: name of the source of images, and the products that have theirs there.
        size: products of a shard, at most.
    """
    shards: list[Shard] = []
    for part, (images, catalog) in enumerate(parts):
        for row, record in enumerate(catalog.records):
            record.row = row
        count = max(1, math.ceil(len(catalog.records) / size))
        whole, rows = catalog.complete(catalog.records), math.ceil(len(catalog.records) / count)
        for _ in range(count):
            shard = Shard(len(shards), part, images, 0)
            written = write_records(folder / shard.file, islice(whole, rows))
            shards.append(Shard(shard.number, part, images, written))
    codes = ([record.code] for _, catalog in parts for record in catalog.records)
    write_rows(folder / CODES, OF_CODES, codes)
    write_rows(folder / FOUND, FINDINGS, rows_of_found(Found(CLEANING, 0, each) for each in findings))
    described = {"what": what, "metadata": metadata, "shards": [asdict(shard) for shard in shards]}
    write_json(folder / CATALOG, described)
    write_manifest(folder)
    products = sum(shard.rows for shard in shards)
    named = "1 shard" if len(shards) == 1 else f"{len(shards)} shards"
    log.info("read %s %s products into %s", f"{products:,}", what, named)
    return Cut(folder, what, shards, metadata, findings)


def read_by_shard(folder: Path, number: int) -> list[Any]:
    """All that a shard's task reads of a catalog, for `run_stage`: codes are not, so they decode nothing."""
    cut, names = read_cut(folder), hashlib.sha256()
    shard = cut.shards[number]
    for name in cut.names_of(shard.part):
        names.update(f"{name}\n".encode())
    return [asdict(shard), cut.what, cut.is_first(shard), folder / shard.file, names.hexdigest()]


def read_cut(folder: Path) -> Cut:
    """Reads what `cut_catalog` left.

    Raises:
        InputError: the folder is not whole.
    """
    read_manifest(folder)
    found = read_json(folder / CATALOG, "a catalog cut into shards")
    shards = [Shard(**each) for each in found["shards"]]
    return Cut(
        folder,
        found["what"],
        shards,
        found["metadata"],
        [each.finding for each in read_found(folder / FOUND)],
    )
