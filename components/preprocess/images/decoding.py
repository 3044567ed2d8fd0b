"""Checks an image wholly and makes it an upright RGB JPEG."""

import hashlib
import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, UnidentifiedImageError

from components.preprocess.images.jpeg import reduce_jpeg, whole_jpeg
from components.preprocess.images.near import thumbnail
from components.preprocess.images.sources import BadImage

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP")  # an allow-list: EPS, TIFF and FITS are refused
_SIGNATURE = re.compile(rb"\xff\xd8\xff|\x89PNG|RIFF....WEBP|....ftypavi[fs]|GIF8|BM", re.DOTALL)
MAX_JPEG_PIXELS = 100_000_000  # of a JPEG that is decoded at a half, a quarter or an eighth of its size
REDUCTIONS = (1, 2, 4, 8)  # that libjpeg decodes at
MAX_SIDE = 65_500  # that libjpeg encodes
JPEG_QUALITY = 95

Image.MAX_IMAGE_PIXELS = None  # `_reduction` is stricter, and knows which of the limits to name
# One at a time: the coefficients of a progressive JPEG take up to 6 bytes a pixel, at any reduction.
_large = threading.Lock()

ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")


class Checked(NamedTuple):
    """An image that can be used.

    Attributes:
        data: as a JPEG, b"" where the header alone was read.
        thumbnail: as `thumbnail` makes it, b"" where the header alone was read.
    """

    width: int
    height: int
    data: bytes
    thumbnail: bytes


def image_key(data: bytes) -> str:
    """The image's key in the store: equal files share one."""
    return hashlib.sha256(data).hexdigest()[:32]


def upright_jpeg(data: bytes, max_pixels: int) -> Checked:
    """Checks an image wholly and returns it as a JPEG, upright and RGB.

    A sound RGB JPEG is passed on unchanged. Others are converted: the first frame of an animation,
    transparency on white, 16 bits scaled to 8, EXIF rotation applied, larger JPEGs reduced.

    Args:
        max_pixels: more are refused by the header, of a JPEG more than 100 million.

    Raises:
        BadImage: empty, not one of the formats, too large by its header, or damaged.
    """
    with _opened(data) as image:
        reduction = _reduction(image, max_pixels)
        if not _is_jpeg(image):
            return _encode(image)
        if reduction == 1:
            return _upright_jpeg(image, data, reduction)
        with _large:
            return _upright_jpeg(image, data, reduction)


def check_header(data: bytes, max_pixels: int) -> Checked:
    """An image as its header has it; see `upright_jpeg` for what is refused."""
    with _opened(data) as image:
        _reduction(image, max_pixels)
        return Checked(image.width, image.height, b"", b"")


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    if not data:
        raise BadImage("image_empty", "0 bytes")
    try:
        with Image.open(io.BytesIO(_without_texts(data)), formats=FORMATS) as image:
            yield image
    except UnidentifiedImageError as error:
        if _SIGNATURE.match(data):
            raise BadImage("image_truncated", "its header is damaged or incomplete") from error
        raise BadImage("not_an_image", f"starts with {data[:12]!r}; expected {', '.join(FORMATS)}") from error
    except (BadImage, MemoryError):
        raise
    except Exception as error:  # the formats' decoders raise whatever damage leads them to
        raise BadImage("image_truncated", str(error)) from error


def _is_jpeg(image: Image.Image) -> bool:
    return image.format in ("JPEG", "MPO")


def _reduction(image: Image.Image, max_pixels: int) -> int:
    """At which part of its size the image is decoded, to have at most `max_pixels`."""
    width, height = image.size
    parts = REDUCTIONS if _is_jpeg(image) and width * height <= MAX_JPEG_PIXELS else REDUCTIONS[:1]
    for part in parts:
        if -(-width // part) * -(-height // part) <= max_pixels:
            return part
    limit = f"max_image_pixels = {max_pixels:,}"
    if _is_jpeg(image):
        limit = f"{MAX_JPEG_PIXELS:,} pixels, the most of a JPEG, or 64 times {limit}"
    raise BadImage("image_too_large", f"{width}x{height}: over {limit}; save it smaller")


def _upright_jpeg(image: Image.Image, data: bytes, reduction: int) -> Checked:
    whole, pixels = whole_jpeg(data, reduction)
    if pixels is not None and reduction == 1 and image.mode == "RGB" and _orientation(image) not in _TURNS:
        return Checked(image.width, image.height, data, thumbnail(pixels))
    with Image.open(io.BytesIO(whole), formats=FORMATS) as tidy:
        reduce_jpeg(tidy, reduction)
        return _encode(tidy)


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:  # Pillow raises whatever a damaged EXIF block leads to; it says nothing of the rows
        return 1


def _encode(image: Image.Image) -> Checked:
    turn = _TURNS.get(_orientation(image))
    straight_inks = image.mode == "CMYK" and _is_jpeg(image) and "adobe" not in image.info
    image.load()
    if straight_inks:  # Pillow takes every CMYK JPEG for one of Adobe's, which hold inks inverted
        image = ImageChops.invert(image)
    if image.mode.startswith("I") or image.mode == "F":
        image = _scaled_gray(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    image = image.convert("RGB")
    image = image.transpose(turn) if turn is not None else image
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return Checked(image.width, image.height, file.getvalue(), thumbnail(np.asarray(image)))


def _scaled_gray(image: Image.Image) -> Image.Image:
    # Pillow's own conversion clips 16-bit gray at 255, which turns most of it white.
    values = np.asarray(image).astype(np.float64)
    return Image.fromarray((values / 257).clip(0, 255).astype(np.uint8))


def _without_texts(data: bytes) -> bytes:
    """A PNG without its texts and color profile: Pillow refuses images whose texts are long."""
    if not data.startswith(_PNG):
        return data
    chunks, at = [_PNG], len(_PNG)
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")  # length, name, content, checksum
        if data[at + 4 : at + 8] not in _PNG_TEXTS:
            chunks.append(data[at:end])
        at = end
    return b"".join(chunks)
