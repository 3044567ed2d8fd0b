"""Whether every row of a JPEG is there: what is untidy around its rows is mended, a lack is refused."""

import io
import re

import numpy as np
import simplejpeg
from PIL import Image

from components.preprocess.images.sources import BadImage

_START, _END, _SCAN = b"\xff\xd8", b"\xff\xd9", 0xDA
_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_AFTER_ROWS = re.compile(
    rb"\xff+[^\x00\xd0-\xd7\xff]"
)  # restart markers and stuffed zeros belong to the rows
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
# libjpeg's warnings about the rows themselves; all others are about what lies between and behind them.
_ROWS_DAMAGED = re.compile(
    "premature end of data|bad (Huffman|arithmetic)|Inconsistent progression|instead of RST"
)
FILLER = 2  # bytes: the rows may end in the same byte
# Data that decode to other pixels than the gray that libjpeg puts in the place of missing ones.
_OTHER_ROWS = bytes(range(1, 255)) * 4


def whole_jpeg(data: bytes, reduction: int) -> tuple[bytes, np.ndarray | None]:
    """The JPEG as it is with its pixels, or tidied, if each of its rows can be decoded.

    The trainings' decoder stops at any warning, and Pillow fills missing rows with gray: neither says what is
    the matter. A JPEG that lacks its end marker, or has bytes too many before a marker, is decoded with two
    different endings: where all rows are there, both give the same pixels.

    Args:
        reduction: decoded at 1/reduction of the size.

    Raises:
        BadImage: rows are missing or damaged.
    """
    try:
        return data, _decode(data, reduction)
    except ValueError:
        tidy = _tidy(data)
    try:
        _decode(tidy, reduction)
    except ValueError as error:
        if _ROWS_DAMAGED.search(str(error)) or _lacks_rows(tidy, reduction):
            raise BadImage("image_truncated", str(error)) from error
    return tidy, None


def reduce_jpeg(image: Image.Image, reduction: int) -> None:
    """Has Pillow decode a JPEG that it has opened at 1/reduction of its size."""
    image.draft(None, (max(1, image.width // reduction), max(1, image.height // reduction)))


def _decode(data: bytes, reduction: int) -> np.ndarray:
    return simplejpeg.decode_jpeg(data, colorspace="RGB", min_factor=reduction)


def _tidy(data: bytes) -> bytes:
    """The segments and scans without what lies between them, up to the end of the last scan."""
    parts, at = [_START], len(_START)
    while (marker := _MARKER.search(data, at)) and marker[1] != _END[1:]:
        at, kind = marker.end(), marker[1][0]
        if kind in _WITHOUT_LENGTH:
            continue
        at += int.from_bytes(data[at : at + 2], "big")
        if kind == _SCAN:
            behind = _AFTER_ROWS.search(data, at)
            at = behind.start() if behind else len(data)
        parts.append(data[marker.end() - 2 : at])
    return b"".join([*parts[:-1], _without_filler(parts[-1]), _END])


def _without_filler(scan: bytes) -> bytes:
    # Decoders read on in what a broken download was filled up with, and find rows in it.
    rows = scan.rstrip(scan[-1:])
    return scan[: len(rows) + FILLER]


def _lacks_rows(tidy: bytes, reduction: int) -> bool:
    return not np.array_equal(
        _pixels(tidy, reduction), _pixels(tidy.removesuffix(_END) + _OTHER_ROWS + _END, reduction)
    )


def _pixels(data: bytes, reduction: int) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        reduce_jpeg(image, reduction)
        return np.asarray(image)
