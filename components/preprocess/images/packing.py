"""Checks every product's image and packs them into the image store, a window at a time."""

import logging
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from components.data.image_store import write_image_store
from components.preprocess.catalog.dialects import ID_PATTERN
from components.preprocess.catalog.quarantine import DROPPED, WITHOUT_IMAGE, Finding
from components.preprocess.catalog.records import Record
from components.preprocess.images.decoding import (
    BadImage,
    ImageSource,
    check_header,
    image_key,
    upright_jpeg,
)

log = logging.getLogger(__name__)

WINDOW = 512  # images in memory at a time
REPORT_EVERY = 5_000

Packed = tuple[str, int, int, bytes]


def pack_images(
    parts: Sequence[tuple[Sequence[Record], ImageSource, Literal["quarantine", "keep"]]], folder: Path
) -> tuple[list[Finding], int]:
    """Packs the images of all parts of a catalog into one store and sets every record's `image` key.

    Args:
        parts: records, where their images lie, and what to do with a product whose image cannot be
            used: quarantine it, or keep it without an image.

    Returns:
        What was found, and how many different images the store holds.
    """
    packer = _Packer()
    stream = (image for records, source, policy in parts for image in packer.images(records, source, policy))
    return packer.findings, write_image_store(folder, stream)


def look_through(
    parts: Sequence[tuple[Sequence[Record], ImageSource, Literal["quarantine", "keep"]]], most: int | None
) -> tuple[list[Finding], int]:
    """Checks the images of all parts of a catalog as `pack_images` does, and packs none.

    Args:
        most: about so many are decoded, drawn by their content; of the others the header is read. None
            decodes all.

    Returns:
        What was found, and how many different images were decoded.
    """
    count = sum(len(records) for records, *_ in parts)
    packer = _Packer(1.0 if most is None else most / max(1, count))
    packed = [packer.images(records, source, policy) for records, source, policy in parts]
    return packer.findings, sum(len(data) > 0 for stream in packed for *_, data in stream)


class _Packer:
    """Reads records' images, decodes a share of them, and collects what is wrong with any."""

    def __init__(self, decoded: float = 1.0) -> None:
        self._decoded = decoded
        self.findings: list[Finding] = []
        self._known: dict[str, BadImage | None] = {}  # key -> what is wrong with the image
        self._done, self._start = 0, time.perf_counter()

    def images(self, records: Sequence[Record], source: ImageSource, policy: str) -> Iterator[Packed]:
        action = DROPPED if policy == "quarantine" else WITHOUT_IMAGE
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(records), WINDOW):
                window = records[start : start + WINDOW]
                read = [_read(source, record) for record in window]
                fresh = {
                    key: data for key, data in read if isinstance(data, bytes) and key not in self._known
                }
                for key, checked in zip(fresh, pool.map(self._check, fresh, fresh.values()), strict=True):
                    self._known[key] = checked if isinstance(checked, BadImage) else None
                    if not isinstance(checked, BadImage):
                        yield key, *checked
                for record, (key, data) in zip(window, read, strict=True):
                    problem = data if isinstance(data, BadImage) else self._known[key]
                    record.image = None if problem else key
                    if problem:
                        self.findings.append(record.finding(problem.reason, action, problem.detail))
                self._report(len(window))

    def _check(self, key: str, data: bytes) -> tuple[int, int, bytes] | BadImage:
        drawn = int(key[:8], 16) < self._decoded * 2**32
        try:
            return upright_jpeg(data) if drawn else check_header(data)
        except BadImage as problem:
            return problem

    def _report(self, count: int) -> None:
        before, self._done = self._done, self._done + count
        if before // REPORT_EVERY != self._done // REPORT_EVERY:
            log.info("packed %s images in %.0f s", f"{self._done:,}", time.perf_counter() - self._start)


def _read(source: ImageSource, record: Record) -> tuple[str, bytes | BadImage]:
    try:
        if record.image_id and not ID_PATTERN.fullmatch(record.image_id):
            raise BadImage("bad_image_id", f"{record.image_id!r}: expected letters, digits and . _ : -")
        data = source.read(record.image_name)
    except BadImage as problem:
        return "", problem
    return image_key(data), data
