"""Checks products' images and packs them into an image store, a window of products at a time."""

import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from pathlib import Path

from components.data.image_store import write_image_store
from components.data.tables.findings import DROPPED, IGNORED, WITHOUT_IMAGE, Finding
from components.preprocess.catalog.records import Record
from components.preprocess.images.decoding import Checked, check_header, image_key, upright_jpeg
from components.preprocess.images.names import ImageNames
from components.preprocess.images.sources import BadImage, ImageSource

log = logging.getLogger(__name__)

WINDOW = 512  # images in memory at a time
REPORT_EVERY = 5_000

Packed = tuple[str, int, int, bytes]


class Part:
    """Products with their images.

    Attributes:
        policy: what happens to a product whose image cannot be used: quarantine it, or keep it without.
    """

    def __init__(self, records: Sequence[Record], source: ImageSource, policy: str, separator: str) -> None:
        self.records, self.policy = records, policy
        self.names = ImageNames(source, (record.image_name for record in records), separator)

    def pieces(self, size: int) -> Iterator["Part"]:
        """The same products, `size` at a time."""
        for start in range(0, len(self.records), size):
            piece = copy(self)  # which knows the names of all images
            piece.records = self.records[start : start + size]
            yield piece


def pack_images(part: Part, *, folder: Path, max_pixels: int) -> tuple[list[Finding], int]:
    """Packs the images of some products into one store; sets every record's `image` key.

    Of a product with several images the first that can be used is taken.

    Args:
        max_pixels: of an image; see `upright_jpeg`.

    Returns:
        What was found, and how many different images the store holds.
    """
    with Packer(part.names, part.policy, max_pixels) as packer:
        windows = (part.records[at : at + WINDOW] for at in range(0, len(part.records), WINDOW))
        count = write_image_store(folder, (image for window in windows for image in packer.images(window)))
        return [each.finding for each in packer.found], count


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of a product's image: at which of its images, from 0, and of which record."""

    attempt: int
    row: int
    finding: Finding


@dataclass(frozen=True, slots=True)
class Picture:
    """An image that was decoded: its key, where it was seen first, its thumbnail."""

    key: str
    attempt: int
    row: int
    thumbnail: bytes


class Packer:
    """Reads records' images, decodes a share of them, and collects what is wrong with any.

    Attributes:
        found, pictures: since they were last cleared.
    """

    def __init__(self, names: ImageNames, policy: str, max_pixels: int, decoded: float = 1.0) -> None:
        """Keeps threads until the end of its `with` block.

        Args:
            decoded: the share of the images that is decoded, drawn by their content; of the others the
                header is read.
        """
        self._names, self._policy, self._max_pixels, self._decoded = names, policy, max_pixels, decoded
        self.found: list[Found] = []
        self.pictures: list[Picture] = []
        self._known: dict[str, BadImage | None] = {}  # key -> what is wrong with the image
        self._pool = ThreadPoolExecutor(os.cpu_count())
        self._done, self._start = 0, time.perf_counter()

    def __enter__(self) -> "Packer":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def images(self, window: Sequence[Record]) -> Iterator[Packed]:
        """The images of some records that are seen for the first time and can be used; sets their keys."""
        waiting, attempt = [(record, self._names.split(record.image_name)) for record in window], 0
        while waiting:
            self._names.expect(names[0] for _, names in waiting if names)
            read = [_read(self._names, record, names) for record, names in waiting]
            yield from self._fresh(waiting, read, attempt)
            waiting = self._settle(waiting, read, attempt)
            attempt += 1
        self._report(len(window))

    def _fresh(
        self,
        waiting: Sequence[tuple[Record, list[str]]],
        read: Sequence[tuple[str, bytes | BadImage]],
        attempt: int,
    ) -> Iterator[Packed]:
        fresh: dict[str, tuple[int, bytes]] = {}
        for (record, _), (key, data) in zip(waiting, read, strict=True):
            if isinstance(data, bytes) and key not in self._known:
                fresh.setdefault(key, (record.row, data))
        images = [data for _, data in fresh.values()]
        for (key, (row, _)), checked in zip(
            fresh.items(), self._pool.map(self._check, fresh, images), strict=True
        ):
            self._known[key] = checked if isinstance(checked, BadImage) else None
            if not isinstance(checked, BadImage):
                self.pictures.append(Picture(key, attempt, row, checked.thumbnail))
                yield key, checked.width, checked.height, checked.data

    def _settle(
        self,
        waiting: Sequence[tuple[Record, list[str]]],
        read: Sequence[tuple[str, bytes | BadImage]],
        attempt: int,
    ) -> list[tuple[Record, list[str]]]:
        """Sets the records' keys; returns those whose next image is to be tried."""
        left = []
        for (record, names), (key, data) in zip(waiting, read, strict=True):
            problem = data if isinstance(data, BadImage) else self._known[key]
            record.image = None if problem else key
            if problem and len(names) > 1:
                detail = f"{problem.detail}; the product's next image is tried"
                self._add(record, attempt, problem.reason, IGNORED, detail)
                left.append((record, names[1:]))
            elif problem:
                action = DROPPED if self._policy == "quarantine" else WITHOUT_IMAGE
                self._add(record, attempt, problem.reason, action, problem.detail)
        return left

    def _add(self, record: Record, attempt: int, reason: str, action: str, detail: str) -> None:
        self.found.append(Found(attempt, record.row, record.finding(reason, action, detail)))

    def _check(self, key: str, data: bytes) -> Checked | BadImage:
        drawn = int(key[:8], 16) < self._decoded * 2**32
        try:
            return (upright_jpeg if drawn else check_header)(data, self._max_pixels)
        except BadImage as problem:
            return problem

    def _report(self, count: int) -> None:
        before, self._done = self._done, self._done + count
        if before // REPORT_EVERY != self._done // REPORT_EVERY:
            log.info("packed %s images in %.0f s", f"{self._done:,}", time.perf_counter() - self._start)


def _read(images: ImageNames, record: Record, names: Sequence[str]) -> tuple[str, bytes | BadImage]:
    try:
        if record.image_id.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", record.image_id):
            raise BadImage("bad_image_id", f"{record.image_id!r} leads out of the image folder")
        if not names:
            raise BadImage("no_image_named", "no picture is named")
        data = images.read(names[0])
    except BadImage as problem:
        return "", problem
    return image_key(data), data
