"""Decoding, against PIL, and the places where decoded images are kept."""

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from image_catalog import jpeg, product_image
from PIL import Image

from components.core.environment import DECODED_VARIABLE
from components.core.errors import InputError
from components.data.image_store import ImageStore, write_image_store
from components.modeling.image import cache
from components.modeling.image.cache import ImageCache, _free_memory, decode

CPU = torch.device("cpu")


@pytest.fixture
def store(tmp_path):
    random = np.random.default_rng(0)
    images = [(f"k{i}", 50, 60, jpeg(product_image(i % 3, random, (60, 50)))) for i in range(7)]
    write_image_store(tmp_path / "images", images)
    return ImageStore(tmp_path / "images")


@pytest.mark.parametrize("size", [(256, 256), (80, 60), (512, 512)])
def test_decoding_and_resizing_is_within_one_level_of_pil(size):
    random = np.random.default_rng(1)
    noise = random.integers(0, 255, (40, 40, 3), dtype=np.uint8)
    data = jpeg(np.asarray(Image.fromarray(noise).resize((500, 500), Image.Resampling.BICUBIC)))
    expected = Image.open(io.BytesIO(data)).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    difference = np.abs(decode(data, size).numpy().astype(int) - np.asarray(expected).astype(int))
    assert difference.max() <= 1


def test_padding_keeps_the_aspect_and_centers_on_white():
    found = decode(jpeg(np.zeros((50, 50, 3), np.uint8)), (80, 60), fit="pad")
    assert found.shape == (80, 60, 3)
    assert (found[:10] == 255).all()
    assert (found[10:70] == 0).all()
    assert (found[70:] == 255).all()


@pytest.mark.parametrize("place", ["device", "memory", "disk", "stream", "auto"])
def test_every_place_gives_the_same_images_in_their_order(store, place):
    rows = [np.array([5, 0, 3]), np.array([1]), np.array([6, 6]), np.array([2, 4])]
    with ImageCache(store, store.keys, (32, 24), fit="stretch", place=place, device=CPU) as cache:
        found = list(cache.batches(rows))
    for batch, images in zip(rows, found, strict=True):
        for row, image in zip(batch, images.images[images.rows], strict=True):
            expected = decode(store.encoded(f"k{row}"), (32, 24))
            assert torch.equal(image[..., :3], expected)


def test_images_on_the_disk_have_no_name_that_a_killed_process_could_leave(store, tmp_path, monkeypatch):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    with ImageCache(store, store.keys, (32, 24), fit="stretch", place="disk", device=CPU) as cache:
        assert list((tmp_path / "scratch").iterdir()) == []
        assert cache.fetch(np.array([0])).images.shape[1:3] == (32, 24)


@pytest.mark.parametrize("place", ["memory", "stream"])
def test_trainings_of_one_machine_decode_a_store_once(store, place, monkeypatch, tmp_path):
    monkeypatch.setenv(DECODED_VARIABLE, str(tmp_path / "shared"))
    expected, calls = [decode(store.encoded(key), (32, 24)) for key in store.keys], []
    monkeypatch.setattr(cache, "decode", lambda *args, **named: calls.append(1) or decode(*args, **named))
    for keys in (store.keys[2:], store.keys[::-1]):
        with ImageCache(store, keys, (32, 24), fit="stretch", place=place, device=CPU) as images:
            batch = images.fetch(np.arange(len(keys)))
        for key, image in zip(keys, batch.images[batch.rows], strict=True):
            assert torch.equal(image[..., :3], expected[store.keys.index(key)])
    assert len(calls) == len(store)
    with ImageCache(store, store.keys, (24, 24), fit="stretch", place=place, device=CPU):
        assert len(calls) == 2 * len(store)


def test_what_was_cut_off_while_decoding_is_decoded_again(store, monkeypatch, tmp_path):
    monkeypatch.setenv(DECODED_VARIABLE, str(tmp_path / "shared"))

    def leave() -> None:
        raise SystemExit(143)

    with pytest.raises(SystemExit):
        ImageCache(store, store.keys, (8, 8), fit="stretch", place="stream", device=CPU, pause=leave)
    with ImageCache(store, store.keys, (8, 8), fit="stretch", place="stream", device=CPU) as images:
        batch = images.fetch(np.arange(7))
    assert torch.equal(batch.images[6, ..., :3], decode(store.encoded("k6"), (8, 8)))


def test_images_that_the_disk_has_no_room_for_are_not_shared(store, monkeypatch, tmp_path):
    monkeypatch.setenv(DECODED_VARIABLE, str(tmp_path / "shared"))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    with ImageCache(store, store.keys, (8, 8), fit="stretch", place="stream", device=CPU) as images:
        images.fetch(np.arange(7))
    assert not [path for path in (tmp_path / "shared").iterdir() if path.suffix != ".lock"]


def test_an_image_that_cannot_be_decoded_is_named(tmp_path):
    write_image_store(tmp_path / "images", [("good", 40, 40, b"not a JPEG")])
    with pytest.raises(InputError, match="'good' cannot be decoded"):
        ImageCache(
            ImageStore(tmp_path / "images"), ["good"], (8, 8), fit="stretch", place="memory", device=CPU
        )


@pytest.mark.parametrize(
    ("memory", "disk", "place"), [(1e9, 1e9, "memory"), (0, 1e9, "disk"), (0, 0, "stream")]
)
def test_images_are_kept_in_the_first_place_that_has_room(store, monkeypatch, memory, disk, place):
    monkeypatch.setattr("components.modeling.image.cache._free_memory", lambda: memory)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=disk))
    with ImageCache(store, store.keys, (8, 8), fit="stretch", place="auto", device=CPU) as cache:
        assert cache.place == place


@pytest.mark.skipif(not Path("/proc/meminfo").is_file(), reason="not Linux")
@pytest.mark.parametrize("version", [1, 2])
def test_a_containers_limit_bounds_the_memory(version, tmp_path, monkeypatch):
    folder, limit, usage, mirrors = {
        1: (tmp_path / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: (tmp_path, "memory.max", "memory.current", "inactive_file"),
    }[version]
    folder.mkdir(exist_ok=True)
    for name, content in ((limit, "5000"), (usage, "3000"), ("memory.stat", f"cache 9\n{mirrors} 500\n")):
        (folder / name).write_text(f"{content}\n")
    monkeypatch.setattr("components.modeling.image.cache.CGROUP", tmp_path)
    assert _free_memory() == 2500
    (folder / limit).write_text({1: f"{2**63 - 4096}\n", 2: "max\n"}[version])
    assert _free_memory() > 10**6
