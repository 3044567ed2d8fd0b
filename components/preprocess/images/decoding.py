"""Finds the catalog's images in a folder or a zip, checks each and makes it an upright RGB JPEG."""

import hashlib
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from components.core.errors import InputError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")  # an allow-list: EPS, TIFF and FITS are refused
MAX_BYTES = 20 * 2**20
MAX_PIXELS = 25_000_000
JPEG_QUALITY = 95

Image.MAX_IMAGE_PIXELS = MAX_PIXELS

# What zipfile and its decompressors raise on a damaged, encrypted or exotically packed file.
_DAMAGED_ZIP = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)


class BadImage(Exception):
    """An image that cannot be used: a short reason code, and what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class ImageSource(Protocol):
    """Where a catalog's images lie."""

    def read(self, name: str) -> bytes:
        """The bytes of one image; raises BadImage where there is none or its name is unsafe."""
        ...


class FolderImages:
    """Images in a folder, at its top or in sub-folders named in the file name."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def read(self, name: str) -> bytes:
        """The bytes of `root/name`; see `ImageSource`."""
        refuse_climbing(name)
        try:
            path = (self.root / name).resolve()
            if not path.is_relative_to(self.root):
                raise BadImage("image_outside_folder", f"{name!r} leads out of the image folder")
            if not path.is_file():
                raise BadImage("image_missing", f"no file {name!r} in the image folder")
            _refuse_large(path.stat().st_size)
            return path.read_bytes()
        except (OSError, RuntimeError) as error:  # a RuntimeError: a link that leads to itself
            raise BadImage("image_unreadable", f"{name!r}: {error}") from error


class ZipImages:
    """Images in a zip, found by file name whatever folder of the zip they lie in; never unpacked."""

    def __init__(self, path: Path) -> None:
        """Opens the zip.

        Raises:
            InputError: not a zip.
        """
        try:
            self._zip = zipfile.ZipFile(path)
        except _DAMAGED_ZIP as error:
            raise InputError(f"{path}: not a zip of images: {error}") from error
        self._member: dict[str, zipfile.ZipInfo] = {}
        for member in self._zip.infolist():
            self._member.setdefault(PurePosixPath(member.filename).name, member)
            self._member[member.filename] = member

    def read(self, name: str) -> bytes:
        """The bytes of the member `name`; see `ImageSource`."""
        refuse_climbing(name)
        member = self._member.get(name)
        if member is None:
            raise BadImage("image_missing", f"no file {name!r} in the zip")
        _refuse_large(member.file_size)
        try:
            return self._zip.read(member)
        except _DAMAGED_ZIP as error:
            raise BadImage("image_unreadable", f"{name!r}: {error}") from error


def open_images(path: Path) -> ImageSource:
    """Images in a folder or a zip.

    Raises:
        InputError: neither.
    """
    return FolderImages(path) if path.is_dir() else ZipImages(path)


def refuse_climbing(name: str) -> None:
    """Refuses a file name that could lead out of its folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in name or not name:
        raise BadImage("image_outside_folder", f"{name!r} is not a plain file name inside the image folder")


def image_key(data: bytes) -> str:
    """The image's key in the store: equal files share one."""
    return hashlib.sha256(data).hexdigest()[:32]


def upright_jpeg(data: bytes) -> tuple[int, int, bytes]:
    """Checks an image wholly and returns (width, height, JPEG bytes), upright and RGB.

    A sound RGB JPEG is passed on unchanged. Others are converted: the first frame of an animation,
    transparency on white, 16 bits scaled to 8, EXIF rotation applied.

    Raises:
        BadImage: empty, not one of the formats, too large by its header, or damaged.
    """
    with _explained(data), Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _refuse_many_pixels(image)
        _decode_strictly(image, data)
        upright = image.getexif().get(0x0112, 1) == 1
        if image.format == "JPEG" and image.mode == "RGB" and upright:
            return image.width, image.height, data
        return _encode(ImageOps.exif_transpose(image))


def check_header(data: bytes) -> tuple[int, int, bytes]:
    """(width, height, nothing) of an image as its header has them; see `upright_jpeg` for what is refused."""
    with _explained(data), Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _refuse_many_pixels(image)
        return image.width, image.height, b""


@contextmanager
def _explained(data: bytes) -> Iterator[None]:
    if not data:
        raise BadImage("image_empty", "0 bytes")
    try:
        yield
    except Image.DecompressionBombError as error:
        raise BadImage("image_too_large", str(error)) from error
    except UnidentifiedImageError as error:
        raise BadImage("not_an_image", f"starts with {data[:12]!r}; expected {', '.join(FORMATS)}") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise BadImage("image_truncated", str(error)) from error


def _refuse_many_pixels(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise BadImage("image_too_large", f"{image.width}x{image.height}: over {MAX_PIXELS:,} pixels")


def _decode_strictly(image: Image.Image, data: bytes) -> None:
    if image.format in ("JPEG", "MPO"):
        # The trainings' decoder: it refuses damage that Pillow paints over, and would stop them hours later.
        simplejpeg.decode_jpeg(data, colorspace="RGB")
    else:
        image.load()


def _encode(image: Image.Image) -> tuple[int, int, bytes]:
    if image.mode.startswith("I") or image.mode == "F":
        image = _scaled_gray(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return image.width, image.height, file.getvalue()


def _scaled_gray(image: Image.Image) -> Image.Image:
    # Pillow's own conversion clips 16-bit gray at 255, which turns most of it white.
    values = np.asarray(image).astype(np.float64)
    return Image.fromarray((values / 257).clip(0, 255).astype(np.uint8))


def _refuse_large(size: int) -> None:
    if size > MAX_BYTES:
        raise BadImage("image_too_large", f"{size:,} bytes, at most {MAX_BYTES:,} are read")
