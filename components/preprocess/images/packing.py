"""Checks every product's image and packs them into the image store, a window at a time."""

import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from pathlib import Path

from components.data.image_store import write_image_store
from components.data.tables.findings import DROPPED, IGNORED, WITHOUT_IMAGE, Finding
from components.preprocess.catalog.records import Record
from components.preprocess.images.decoding import Checked, check_header, image_key, upright_jpeg
from components.preprocess.images.names import ImageNames
from components.preprocess.images.near import same_pictures
from components.preprocess.images.sources import BadImage, ImageSource

log = logging.getLogger(__name__)

WINDOW = 512  # images in memory at a time
REPORT_EVERY = 5_000

Packed = tuple[str, int, int, bytes]


class Part:
    """The labeled or the test products with their images.

    Attributes:
        what: "labeled" or "test", for messages.
        policy: what happens to a product whose image cannot be used: quarantine it, or keep it without.
    """

    def __init__(
        self, what: str, records: Sequence[Record], source: ImageSource, policy: str, separator: str
    ) -> None:
        self.what, self.records, self.policy = what, records, policy
        self.names = ImageNames(source, (record.image_name for record in records), separator)

    def pieces(self, size: int) -> Iterator["Part"]:
        """The same products, `size` at a time."""
        for start in range(0, len(self.records), size):
            piece = copy(self)  # which knows the names of all images
            piece.records = self.records[start : start + size]
            yield piece


def pack_images(parts: Sequence[Part], *, folder: Path, max_pixels: int) -> tuple[list[Finding], int]:
    """Packs the images of all parts into one store; sets every record's `image` key and its `picture`.

    Of a product with several images the first that can be used is taken.

    Args:
        max_pixels: of an image; see `upright_jpeg`.

    Returns:
        What was found, and how many different images the store holds.
    """
    packer = _Packer(max_pixels)
    stream = (image for part in parts for image in packer.images(part))
    count = write_image_store(folder, stream)
    packer.name_pictures(parts)
    return packer.findings, count


def look_through(parts: Sequence[Part], *, most: int | None, max_pixels: int) -> tuple[list[Finding], int]:
    """Checks the images of all parts of a catalog as `pack_images` does, and packs none.

    Args:
        most: about so many are decoded, drawn by their content; of the others the header is read. None
            decodes all.
        max_pixels: of an image; see `upright_jpeg`.

    Returns:
        What was found, and how many different images were decoded.
    """
    count = sum(len(part.records) for part in parts)
    packer = _Packer(max_pixels, 1.0 if most is None else most / max(1, count))
    count = sum(len(data) > 0 for part in parts for *_, data in packer.images(part))
    packer.name_pictures(parts)
    return packer.findings, count


class _Packer:
    """Reads records' images, decodes a share of them, and collects what is wrong with any."""

    def __init__(self, max_pixels: int, decoded: float = 1.0) -> None:
        self._max_pixels, self._decoded = max_pixels, decoded
        self.findings: list[Finding] = []
        self._known: dict[str, BadImage | None] = {}  # key -> what is wrong with the image
        self._thumbnails: dict[str, bytes] = {}
        self._done, self._start = 0, time.perf_counter()

    def images(self, part: Part) -> Iterator[Packed]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(part.records), WINDOW):
                window = part.records[start : start + WINDOW]
                waiting = [(record, part.names.split(record.image_name)) for record in window]
                while waiting:
                    read = [_read(part.names, record, names) for record, names in waiting]
                    yield from self._fresh(pool, read)
                    waiting = self._settle(waiting, read, part.policy)
                self._report(len(window))

    def _fresh(
        self, pool: ThreadPoolExecutor, read: Sequence[tuple[str, bytes | BadImage]]
    ) -> Iterator[Packed]:
        """The images that are seen for the first time and can be used."""
        fresh = {key: data for key, data in read if isinstance(data, bytes) and key not in self._known}
        for key, checked in zip(fresh, pool.map(self._check, fresh, fresh.values()), strict=True):
            self._known[key] = checked if isinstance(checked, BadImage) else None
            if not isinstance(checked, BadImage):
                if checked.thumbnail:
                    self._thumbnails[key] = checked.thumbnail
                yield key, checked.width, checked.height, checked.data

    def name_pictures(self, parts: Sequence[Part]) -> None:
        """Gives near duplicates among the images one `picture`."""
        same = same_pictures(self._thumbnails)
        for record in (record for part in parts for record in part.records):
            record.picture = same.get(record.image, record.image) if record.image else None

    def _settle(
        self,
        waiting: Sequence[tuple[Record, list[str]]],
        read: Sequence[tuple[str, bytes | BadImage]],
        policy: str,
    ) -> list[tuple[Record, list[str]]]:
        """Sets the records' keys; returns those whose next image is to be tried."""
        left = []
        for (record, names), (key, data) in zip(waiting, read, strict=True):
            problem = data if isinstance(data, BadImage) else self._known[key]
            record.image = None if problem else key
            if problem and len(names) > 1:
                detail = f"{problem.detail}; the product's next image is tried"
                self.findings.append(record.finding(problem.reason, IGNORED, detail))
                left.append((record, names[1:]))
            elif problem:
                action = DROPPED if policy == "quarantine" else WITHOUT_IMAGE
                self.findings.append(record.finding(problem.reason, action, problem.detail))
        return left

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
