"""One picture that was encoded or resized anew is one picture; pictures of different products are not."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_catalog import TinyCatalog, prepare

from components.preprocess.images.near import SIDE, same_pictures, thumbnail


def product_picture(seed: int, side: int = 240) -> Image.Image:
    """Three colored ellipses on white."""
    draw = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side] / side
    pixels = np.full((side, side, 3), 255, np.uint8)
    for _ in range(3):
        y, x, height, width = draw.uniform((0.3, 0.3, 0.1, 0.1), (0.7, 0.7, 0.3, 0.3))
        inside = ((rows - y) / height) ** 2 + ((columns - x) / width) ** 2 < 1
        pixels[inside] = draw.integers(0, 200, 3)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def resized(image: Image.Image, factor: float) -> Image.Image:
    return image.resize((round(image.width * factor), round(image.height * factor)))


AGAIN = {
    "JPEG of quality 50": lambda image: encoded(image, quality=50),
    "JPEG of quality 90": lambda image: encoded(image, quality=90),
    "PNG": lambda image: encoded(image, "PNG"),
    "WebP": lambda image: encoded(image, "WEBP", quality=75),
    "half as large": lambda image: encoded(resized(image, 0.5)),
    "1.3 times as large": lambda image: encoded(resized(image, 1.3)),
    "4 times as large": lambda image: encoded(resized(image, 4)),
}


def alike(thumbnails: dict[str, bytes]) -> dict[str, str]:
    cells = np.frombuffer(b"".join(thumbnails.values()), np.uint8).reshape(-1, SIDE * SIDE * 3)
    return same_pictures([*thumbnails], cells)


def seen(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return thumbnail(np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("way", AGAIN)
def test_pictures_encoded_or_resized_anew_are_the_same_ones(way: str):
    pictures = [product_picture(seed) for seed in range(20)]
    first = {f"a{at}": seen(encoded(picture)) for at, picture in enumerate(pictures)}
    again = {f"b{at}": seen(AGAIN[way](picture)) for at, picture in enumerate(pictures)}
    assert alike(first | again) == {f"{side}{at}": f"a{at}" for side in "ab" for at in range(len(pictures))}


def test_a_thousand_pictures_of_different_products_stay_different():
    found = alike({str(seed): seen(encoded(product_picture(seed, 64))) for seed in range(1000)})
    assert len(set(found.values())) == 1000


def test_one_shape_in_another_color_or_with_a_print_is_another_picture():
    plain = np.asarray(product_picture(3)).copy()
    printed, shade = plain.copy(), plain.copy()
    printed[110:130, 110:130] = 255 - printed[110:130, 110:130]
    shade[..., 2] = np.where(shade.min(axis=2) < 200, np.minimum(shade[..., 2] + 40, 255), shade[..., 2])
    found = alike({"a": thumbnail(plain), "b": thumbnail(printed), "c": thumbnail(shade)})
    assert len(set(found.values())) == 3


def test_plain_pictures_show_nothing_and_are_named_by_nobody():
    grays = {str(level): thumbnail(np.full((50, 50, 3), level, np.uint8)) for level in (250, 252, 255)}
    assert alike(grays) == {}
    assert alike({}) == {}


def test_what_a_picture_is_called_after_depends_on_no_order():
    seen_once = {
        str(seed): seen(encoded(product_picture(seed % 30, 64), quality=70 + seed)) for seed in range(60)
    }
    backwards = dict(reversed(seen_once.items()))
    assert alike(seen_once) == alike(backwards)


def test_products_with_one_picture_encoded_anew_lie_on_one_side(tmp_path: Path):
    catalog = TinyCatalog(tmp_path)
    for at, row in enumerate(catalog.rows):
        catalog.images[catalog.image_name(row)] = encoded(
            product_picture(at // 2), quality=80 + 10 * (at % 2)
        )
    table = prepare(catalog).products.table
    groups, splits = table["group"].to_numpy()[:60], table["split"].to_numpy()[:60]
    assert len(set(groups)) == 30
    assert (groups[::2] == groups[1::2]).all()
    assert (splits[::2] == splits[1::2]).all()


def test_a_placeholder_that_was_encoded_many_times_ties_nothing_together(tmp_path: Path):
    catalog = TinyCatalog(tmp_path, products=140, classes=7)
    for at, row in enumerate(catalog.rows[:42]):
        catalog.images[catalog.image_name(row)] = encoded(product_picture(0), quality=50 + at)
    prepared = prepare(catalog)
    assert len(set(prepared.products.table["group"][:140])) == 140
    assert "One picture lies under 42 products of 7 classes" in prepared.report
