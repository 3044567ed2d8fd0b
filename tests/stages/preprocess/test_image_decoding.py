"""Images that every browser shows are used whole; what lacks rows, or is too large, is not."""

import io
import struct
import zlib

import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps, PngImagePlugin

from components.preprocess.images import decoding
from components.preprocess.images.decoding import upright_jpeg
from components.preprocess.images.sources import BadImage

MAX_PIXELS = 25_000_000


def picture(width: int = 120, height: int = 90) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def used(data: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The pixels that the trainings see of an image, decoded as they do."""
    width, height, kept, _ = upright_jpeg(data, max_pixels)
    pixels = simplejpeg.decode_jpeg(kept, colorspace="RGB")
    assert pixels.shape == (height, width, 3)
    return pixels.astype(int)


def untidy(data: bytes) -> dict[str, bytes]:
    body, end = data[:-2], data[-2:]
    return {
        "no end marker": body,
        "half an end marker": data[:-1],
        "filler before the end marker": body + b"\x7f" * 12 + end,
        "bytes of any value before the end marker": body + bytes(range(1, 200, 3)) + end,
        "zeros in the place of the end marker": body + bytes(50),
        "zeros before a table": data.replace(b"\xff\xdb", b"\0\0\0\xff\xdb", 1),
        "bytes before the Huffman tables": data.replace(b"\xff\xc4", b"\1\2\3\xff\xc4", 1),
        "bytes behind the end marker": data + b"\0" * 1000,
        "another image behind it": data + data[:200],
    }


KINDS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restart markers": {"restart_marker_rows": 1},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", untidy(b"\xff\xd8\xff\xd9"))
def test_a_jpeg_whose_every_row_is_there_is_used(kind: str, fault: str):
    sound = encode(picture(), "JPEG", quality=90, **KINDS[kind])
    difference = used(untidy(sound)[fault]) - used(sound)
    assert abs(difference).mean() < 2
    assert abs(difference[-8:]).mean() < 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", untidy(b"\xff\xd8\xff\xd9"))
def test_a_jpeg_that_lacks_rows_is_not_used_whatever_trails_it(kind: str, fault: str):
    sound = encode(picture(), "JPEG", quality=90, **KINDS[kind])
    if fault.startswith("bytes of any value"):
        pytest.skip("what follows may pass for rows")
    cut = sound[: len(sound) * 2 // 3] + b"\xff\xd9"
    with pytest.raises(BadImage, match="image_truncated"):
        upright_jpeg(untidy(cut)[fault], MAX_PIXELS)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "WEBP", "AVIF"])
def test_other_formats_are_used_whole_or_not_at_all(kind: str):
    data = encode(picture(), kind)
    assert used(data + b"what trails it" * 9).shape == (90, 120, 3)
    with pytest.raises(BadImage, match="image_truncated"):
        upright_jpeg(data[: len(data) * 2 // 3], MAX_PIXELS)


@pytest.mark.parametrize("marker", [True, False], ids=["Adobe's", "without a marker"])
def test_cmyk_keeps_its_colors(marker: bool):
    red = Image.new("RGB", (64, 48), (200, 40, 30)).convert("CMYK")
    data = encode(red, "JPEG", quality=95)
    if not marker:
        straight = Image.merge("CMYK", [ImageOps.invert(ink) for ink in red.split()])
        data = encode(straight, "JPEG", quality=95)  # Pillow inverts the inks as it writes
        at = data.index(b"\xff\xee")
        data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    assert abs(used(data).mean(axis=(0, 1)) - (200, 40, 30)).max() < 4


def test_a_png_with_long_texts_and_a_large_profile_is_used():
    texts = PngImagePlugin.PngInfo()
    texts.add_text("comment", "x" * 2_000_000, zip=True)
    texts.add_itxt("XML", "y" * 70_000_000, zip=True)
    data = encode(picture(), "PNG", pnginfo=texts, icc_profile=bytes(30_000_000))
    assert abs(used(data) - np.asarray(picture()).astype(int)).mean() < 3


@pytest.mark.parametrize("size", [(70_000, 10), (10, 70_000)])
def test_an_image_longer_than_a_jpeg_can_be_is_scaled(size: tuple[int, int]):
    height, width, _ = used(encode(Image.new("RGB", size), "PNG")).shape
    assert max(height, width) == 65_500
    assert min(height, width) == 9


@pytest.mark.parametrize(
    "block", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\1\1"]
)
def test_a_damaged_exif_block_costs_no_image(block: bytes):
    data = encode(picture(), "JPEG")
    segment = b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block
    assert used(data[:2] + segment + data[2:]).shape == (90, 120, 3)


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_larger_jpeg_is_read_at_a_part_of_its_size_and_upright(options: dict, mode: str):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned to the right
    image = Image.new("RGB", (160, 80), "white")
    image.paste("black", (0, 0, 80, 80))
    data = encode(image.convert(mode), "JPEG", exif=exif, **options)
    pixels = used(data, 80 * 40)
    assert pixels.shape == (80, 40, 3)
    assert pixels[:36].mean() < 10 < 240 < pixels[44:].mean()
    assert used(data, 80 * 40 - 1).shape == (40, 20, 3)
    with pytest.raises(BadImage, match="image_truncated"):
        upright_jpeg(data[:-60], 80 * 40)


def test_limits_are_named(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(BadImage, match="120x90: over max_image_pixels = 10,799; save it smaller"):
        upright_jpeg(encode(picture(), "PNG"), 10_799)
    jpeg = encode(picture(), "JPEG")
    with pytest.raises(BadImage, match="or 64 times max_image_pixels = 100;"):
        upright_jpeg(jpeg, 100)
    monkeypatch.setattr(decoding, "MAX_JPEG_PIXELS", 10_799)
    with pytest.raises(BadImage, match="120x90: over 10,799 pixels, the most of a JPEG"):
        upright_jpeg(jpeg, 10_000)


def test_a_png_that_claims_to_be_huge_is_refused_by_its_header():
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = (
        struct.pack(">I", len(header)) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    )
    with pytest.raises(BadImage, match="image_too_large: 100000x100000"):
        upright_jpeg(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT", MAX_PIXELS)


def test_whatever_a_decoder_raises_on_damage_is_a_finding():
    random = np.random.default_rng(0)
    images = [encode(picture(40, 40), kind) for kind in decoding.FORMATS]
    refused = 0
    for number in range(300):
        data = bytearray(images[number % len(images)])
        for at in random.integers(4, len(data), 6):
            data[at] = random.integers(256)
        try:
            upright_jpeg(bytes(data), MAX_PIXELS)
        except BadImage:
            refused += 1
    assert 0 < refused < 300
