"""Catalogs that are odd in one way: read as they are meant, or refused with what was expected."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from tiny_catalog import TinyCatalog, prepare

from components.core.errors import InputError


def codes(catalog: TinyCatalog, names: Callable[[str, int], str]) -> None:
    catalog.codes = [names(code, at) for at, code in enumerate(catalog.codes)]


def pictures(catalog: TinyCatalog, kind: str) -> None:
    for name, data in catalog.images.items():
        file = io.BytesIO()
        Image.open(io.BytesIO(data)).save(file, kind)
        catalog.images[name] = file.getvalue()


@pytest.mark.parametrize(
    "names",
    [
        lambda code, at: {"10": "Caf\u00e9" if at % 2 else "Cafe\u0301"}.get(code, code),
        lambda code, at: {"10": "R&amp;D" if at % 2 else "R&D"}.get(code, code),
        lambda code, at: {"10": "Two  words " if at % 2 else "Two words"}.get(code, code),
        lambda code, at: {"10": "🧸\u200b" if at % 2 else "🧸"}.get(code, code),
    ],
    ids=["composed", "entity", "spaces", "hidden"],
)
def test_one_code_written_in_two_ways_is_one_class(tmp_path: Path, names: Callable[[str, int], str]):
    catalog = TinyCatalog(tmp_path)
    codes(catalog, names)
    prepared = prepare(catalog)
    assert len(prepared.products.classes) == 3
    assert prepared.findings_of("similar_codes") == []


@pytest.mark.parametrize("pair", [("Books", "BOOKS"), ("\u0391uto", "Auto"), ("T-shirt", "T shirt")])
def test_codes_that_look_alike_stay_apart_and_are_named(tmp_path: Path, pair: tuple[str, str]):
    catalog = TinyCatalog(tmp_path)
    new = {"10": pair[0], "20": pair[1]}
    codes(catalog, lambda code, _: new.get(code, code))
    prepared = prepare(catalog)
    assert len(prepared.products.classes) == 3
    [finding] = prepared.findings_of("similar_codes")
    assert all(code in finding["detail"] for code in pair)


def test_a_catalog_of_one_class_and_one_of_as_many_as_products_are_refused_with_the_numbers(tmp_path: Path):
    catalog = TinyCatalog(tmp_path)
    codes(catalog, lambda code, _: "10")
    with pytest.raises(InputError, match="1 class; at least two are needed: are the codes in the column"):
        prepare(catalog)
    codes(catalog, lambda _, at: str(at))
    with pytest.raises(InputError, match="60 labeled products cannot be split: they are 60 groups"):
        prepare(catalog)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP"])
def test_pictures_of_another_format_than_their_name_says_are_used(tmp_path: Path, kind: str):
    catalog = TinyCatalog(tmp_path)
    pictures(catalog, kind)
    assert prepare(catalog).counts["images"] == 66


@pytest.mark.parametrize("kind", ["TIFF", "ICO", "JPEG2000", "PPM"])
def test_pictures_of_no_format_that_is_read_are_refused_with_those_that_are(tmp_path: Path, kind: str):
    catalog = TinyCatalog(tmp_path)
    pictures(catalog, kind)
    with pytest.raises(InputError, match="expected JPEG, PNG, WEBP, AVIF, GIF, BMP"):
        prepare(catalog)


@pytest.mark.parametrize(
    "title",
    ["a" + "\u0301" * 200_000, "<br><p></p>", "<" * 60_000, "<!--" * 60_000, "&#" + "1" * 60_000],
    ids=["marks", "tags", "brackets", "comments", "entity"],
)
def test_a_title_that_means_harm_costs_no_row(tmp_path: Path, title: str):
    catalog = TinyCatalog(tmp_path)
    catalog.rows[0][1] = title
    assert prepare(catalog).counts["quarantined"] == 0
