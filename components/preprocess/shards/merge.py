"""Puts the prepared shards of a catalog together: what compares products, and what is copied through."""

import heapq
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.core.artifacts import read_manifest
from components.core.errors import InputError
from components.data.image_store import stored_images, write_image_store
from components.data.products import TEXTS
from components.data.tables.findings import Finding
from components.preprocess.catalog.records import Record
from components.preprocess.catalog.texts import OddTexts, text_findings
from components.preprocess.images.near import SIDE, same_pictures
from components.preprocess.images.packing import WINDOW, Found
from components.preprocess.profile.profile import Texts
from components.preprocess.shards.cut import Cut
from components.preprocess.shards.prepare import FOUND, IMAGES, PICTURES, ROWS, TABLE, Summary, read_summary
from components.preprocess.shards.stored import BATCH, BUFFER, CLEANING, read_batches, read_found
from components.preprocess.table import Alike

# In which order one process that reads the whole catalog would have come by it: part, window, attempt, row.
Order = tuple[int, int, int, int]
OF_MERGE = ("line", "product_id", "file", "image")


@dataclass(frozen=True)
class Prepared:
    """The shards of a catalog, prepared; their texts and images stay on the disk.

    Attributes:
        records: all of them, without texts; the row of each is its number among all.
        texts: what the profile needs of them.
        of_texts, of_images: what was found of their texts and their images.
        digests: SHA-256 of the catalog's files.
    """

    what: str
    folders: list[Path]
    summaries: list[Summary]
    metadata: dict[str, Any]
    digests: dict[str, str]
    records: list[Record]
    alike: Alike
    texts: Texts
    of_texts: list[Finding]
    of_images: list[Finding]

    @property
    def decoded(self) -> int:
        """How many images were decoded in all shards, each in every shard that has it."""
        return sum(summary.decoded for summary in self.summaries)

    def parts(self) -> Iterator[tuple[list[Record], list[Finding], str]]:
        """The records of each file, what was found of their images, and names where none means an image."""
        start = 0
        for _, group in groupby(self.summaries, key=lambda summary: summary.shard.part):
            shards = list(group)
            count = sum(summary.shard.rows for summary in shards)
            yield self.records[start : start + count], self.of_images, shards[0].strangers
            start += count

    def texts_of(self, rows: np.ndarray) -> Iterator[pa.Table]:
        """The columns `TEXTS` of some rows, in ascending order."""
        start = 0
        for folder in self.folders:
            with pq.ParquetFile(folder / ROWS, buffer_size=BUFFER) as file:
                for batch in file.iter_batches(BATCH, columns=list(TEXTS)):
                    wanted = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + len(batch))]
                    yield pa.Table.from_batches([batch]).take(pa.array(wanted - start))
                    start += len(batch)


def read_prepared(cut: Cut, folders: Sequence[Path]) -> Prepared:
    """Reads what the tasks of the shards left, in whatever order they are given.

    Raises:
        InputError: a shard is missing or damaged.
    """
    pairs = sorted(
        ((read_summary(folder), folder) for folder in folders), key=lambda pair: pair[0].shard.number
    )
    summaries, folders = [summary for summary, _ in pairs], [folder for _, folder in pairs]
    if [summary.shard for summary in summaries] != cut.shards:
        numbers = [summary.shard.number for summary in summaries]
        raise InputError(f"shards {numbers} of a catalog that was cut into {len(cut.shards)}; start again")
    metadata = dict(cut.metadata)
    digests = metadata.pop("digests")
    for summary in summaries:
        digests |= {summary.shard.images: summary.digest} if summary.digest else {}
    found = _found(summaries, folders)
    texts = [each.finding for _, each in found if each.attempt == CLEANING]
    images = sorted((pair for pair in found if pair[1].attempt != CLEANING), key=_order_of)
    return Prepared(
        cut.what,
        folders,
        summaries,
        metadata,
        {name: digest for name, digest in digests.items() if digest},
        list(_records(folders, cut.codes())),
        Alike(_numbers(folders, "title_key").tolist(), _same_pictures(folders)),
        Texts(
            _numbers(folders, "title_words"),
            _numbers(folders, "description_words"),
            _languages(folders),
            _numbers(folders, "title_text"),
        ),
        [*texts, *_text_findings(summaries, folders)],
        [each.finding for _, each in images],
    )


def merge_images(prepared: Prepared, folder: Path) -> int:
    """Packs the images of all shards into one store, in the order in which one shard would have them.

    Returns:
        How many different ones there are.
    """
    if len(prepared.folders) == 1:
        return _copy_store(prepared.folders[0] / IMAGES, folder)
    streams = (_ordered_images(*pair) for pair in zip(prepared.summaries, prepared.folders, strict=True))
    return write_image_store(folder, _first_ones(heapq.merge(*streams, key=lambda pair: pair[0])))


def _first_ones(images: Iterator[tuple[Order, tuple]]) -> Iterator[tuple]:
    seen = set()
    for _, image in images:
        if image[0] not in seen:
            seen.add(image[0])
            yield image


def _ordered_images(summary: Summary, folder: Path) -> Iterator[tuple[Order, tuple]]:
    batches = read_batches(folder / PICTURES, ["attempt", "row"])
    places = chain.from_iterable(zip(batch["attempt"], batch["row"], strict=True) for batch in batches)
    for (attempt, row), image in zip(places, stored_images(folder / IMAGES), strict=True):
        yield (summary.shard.part, row // WINDOW, attempt, row), image


def _copy_store(source: Path, target: Path) -> int:
    shutil.rmtree(target, ignore_errors=True)  # of an attempt that was cut off
    target.mkdir(parents=True)
    for file in source.iterdir():
        with suppress(OSError):  # another volume
            os.link(file, target / file.name)
            continue
        shutil.copyfile(file, target / file.name)
    return read_manifest(target, check=False)["images"]


def _order_of(pair: tuple[int, Found]) -> Order:
    part, found = pair
    return part, found.row // WINDOW, found.attempt, found.row


def _found(summaries: Sequence[Summary], folders: Sequence[Path]) -> list[tuple[int, Found]]:
    pairs = zip(summaries, folders, strict=True)
    return [(summary.shard.part, each) for summary, folder in pairs for each in read_found(folder / FOUND)]


def _batches(folders: Sequence[Path], *columns: str) -> Iterator[dict[str, list[Any]]]:
    for folder in folders:
        yield from read_batches(folder / ROWS, columns)


def _numbers(folders: Sequence[Path], column: str) -> np.ndarray:
    tables = [pq.read_table(folder / ROWS, columns=[column]) for folder in folders]
    return pa.concat_tables([TABLE.empty_table().select([column]), *tables]).column(column).to_numpy()


def _records(folders: Sequence[Path], codes: Iterable[str | None]) -> Iterator[Record]:
    known: dict[Any, Any] = {}  # one text in memory for what many records share
    rows = chain.from_iterable(zip(*batch.values(), strict=True) for batch in _batches(folders, *OF_MERGE))
    for row, (code, (line, product_id, *shared)) in enumerate(zip(codes, rows, strict=True)):
        file, image = (known.setdefault(text, text) for text in shared)
        yield Record(file, line, "", product_id, "", "", "", "", code, image, row)


def _languages(folders: Sequence[Path]) -> list[str]:
    languages = chain.from_iterable(batch["language"] for batch in _batches(folders, "language"))
    return [sys.intern(language) for language in languages]


def _text_findings(summaries: Sequence[Summary], folders: Sequence[Path]) -> list[Finding]:
    odd = [summary.odd for summary in summaries]
    first = next((each.first for each in odd if each.first), None)
    together = OddTexts(sum(each.count for each in odd), first)

    def description_at(row: int) -> str:
        texts = chain.from_iterable(batch["description"] for batch in _batches(folders, "description"))
        return next(islice(texts, row, None))

    file = next((batch["file"][0] for batch in _batches(folders, "file") if batch["file"]), "")
    return text_findings(together, _numbers(folders, "description_text"), file, description_at)


def _same_pictures(folders: Sequence[Path]) -> dict[str, str]:
    files = [folder / PICTURES for folder in folders]
    count = sum(pq.read_metadata(file).num_rows for file in files)
    if not count:
        return {}
    keys: dict[str, int] = {}
    with tempfile.TemporaryFile() as scratch:  # 768 bytes a picture, which memory need not hold
        thumbnails = np.memmap(scratch, np.uint8, "w+", shape=(count, SIDE * SIDE * 3))
        for file in files:
            for batch in read_batches(file, ["key", "thumbnail"]):
                for key, thumbnail in zip(*batch.values(), strict=True):
                    if thumbnail and key not in keys:
                        thumbnails[len(keys)] = np.frombuffer(thumbnail, np.uint8)
                        keys[key] = len(keys)
        return same_pictures([*keys], thumbnails[: len(keys)])
