"""Images that preprocess must not let through to the trainings, and archives that it must survive."""

import io
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image
from tiny_catalog import TinyCatalog, prepare

MARKER = b"\xff\xc4"  # starts the Huffman tables, behind the quantisation tables


@pytest.fixture
def catalog(tmp_path: Path) -> TinyCatalog:
    return TinyCatalog(tmp_path)


def noise(**options) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return file.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees to the right, so the image is encoded anew
    return exif


SOUND = noise()
DAMAGED = {
    "bytes before a marker": SOUND.replace(MARKER, b"\0\0\0" + MARKER, 1),
    "data that end early": SOUND[:-300] + b"\xff\xd9",
    "data that end early, turned": noise(exif=turned())[:-300] + b"\xff\xd9",
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_jpeg_that_only_the_trainings_would_refuse_is_found(catalog: TinyCatalog, data: bytes):
    Image.open(io.BytesIO(data)).load()  # Pillow lets it pass
    train, test = catalog.rows[3], catalog.test_rows[2]
    for row in (train, test):
        catalog.images[catalog.image_name(row)] = data
    prepared = prepare(catalog)
    actions = {one["product_id"]: one["action"] for one in prepared.findings_of("image_truncated")}
    assert actions == {train[4]: "quarantined", test[4]: "kept without image"}
    for key in prepared.store.keys:
        simplejpeg.decode_jpeg(prepared.store.encoded(key), colorspace="RGB")
