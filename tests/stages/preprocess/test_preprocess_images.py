"""Images that preprocess must not let through to the trainings, and archives that it must survive."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image
from tiny_catalog import Prepared, TinyCatalog, prepare

from components.core.errors import InputError
from components.preprocess.config import PreprocessConfig, Sources
from components.preprocess.images.sources import MAX_BYTES, open_images

MARKER = b"\xff\xc4"  # of the Huffman tables, behind the quantization tables


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
    "bytes before a marker, and data that end early": SOUND.replace(MARKER, b"\0\0\0" + MARKER, 1)[:-300],
    "data that end early": SOUND[:-300] + b"\xff\xd9",
    "a download that was filled up with zeros": SOUND[:-300] + bytes(3000) + b"\xff\xd9",
    "data that end early, turned": noise(exif=turned())[:-300] + b"\xff\xd9",
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_jpeg_of_which_rows_are_missing_is_left_out(catalog: TinyCatalog, data: bytes):
    train, test = catalog.rows[3], catalog.test_rows[2]
    for row in (train, test):
        catalog.images[catalog.image_name(row)] = data
    prepared = prepare(catalog)
    actions = {one["product_id"]: one["action"] for one in prepared.findings_of("image_truncated")}
    assert actions == {train[4]: "quarantined", test[4]: "kept without image"}
    for key in prepared.store.keys:
        simplejpeg.decode_jpeg(prepared.store.encoded(key), colorspace="RGB")


def zipped(catalog: TinyCatalog, compression: int = zipfile.ZIP_DEFLATED) -> tuple[Sources, Path]:
    sources = catalog.write()
    path = catalog.folder / "images.zip"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in catalog.images.items():
            archive.writestr(name, data)
    return Sources(**{**vars(sources), "images": str(path)}), path


def spoil_member(path: Path, name: str) -> None:
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(name)
    data = bytearray(path.read_bytes())
    start = member.header_offset + 30 + len(name)
    data[start : start + member.compress_size] = b"\xff" * member.compress_size
    path.write_bytes(data)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_that_could_unpack_to_any_size_is_refused(catalog: TinyCatalog, compression: int):
    sources, _ = zipped(catalog, compression)
    with pytest.raises(InputError, match="is not packed by deflate: make the zip anew"):
        Prepared(catalog.folder, sources, PreprocessConfig())


def test_a_damaged_member_of_a_zip_costs_one_product(catalog: TinyCatalog):
    sources, path = zipped(catalog)
    spoil_member(path, catalog.image_name(catalog.rows[3]))
    prepared = Prepared(catalog.folder, sources, PreprocessConfig())
    found = [one["product_id"] for one in prepared.findings_of("image_unreadable")]
    assert found == [catalog.rows[3][4]]


def test_a_link_that_leads_to_itself_costs_one_product(catalog: TinyCatalog):
    sources = catalog.write()
    link = Path(sources.images) / catalog.image_name(catalog.rows[3])
    link.unlink()
    link.symlink_to(link)
    prepared = Prepared(catalog.folder, sources, PreprocessConfig())
    found = [(one["product_id"], one["action"]) for one in prepared.findings]
    assert found == [(catalog.rows[3][4], "quarantined")]


def test_a_file_name_too_long_for_any_folder_costs_one_product(catalog: TinyCatalog):
    catalog.rows[3][3] = "9" * 128
    catalog.rows[3][4] = "8" * 128
    prepared = prepare(catalog)
    assert [one["product_id"] for one in prepared.findings_of("image_missing")] == ["8" * 128]


def padded(size: int) -> bytes:
    return SOUND + bytes(size - len(SOUND))


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_an_image_over_20_megabytes_is_not_read(catalog: TinyCatalog, packed: bool):
    large, fitting = catalog.rows[3], catalog.rows[4]
    catalog.images[catalog.image_name(large)] = padded(MAX_BYTES + 1)
    catalog.images[catalog.image_name(fitting)] = padded(MAX_BYTES)
    sources = zipped(catalog)[0] if packed else catalog.write()
    prepared = Prepared(catalog.folder, sources, PreprocessConfig())
    [finding] = prepared.findings
    assert (finding["product_id"], finding["reason"]) == (large[4], "image_too_large")
    assert finding["detail"] == "20,971,521 bytes; 20,971,520 bytes is the limit of a file: save it smaller"


def test_a_zip_of_a_version_to_come_is_reported(tmp_path: Path):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jpg", SOUND)
    data = path.read_bytes()
    entry = data.rindex(b"PK\1\2")
    path.write_bytes(data[: entry + 6] + b"\xff" + data[entry + 7 :])  # the version needed to extract
    with pytest.raises(InputError, match=r"images.zip: not a zip of images: zip file version 25.5"):
        open_images(path)
