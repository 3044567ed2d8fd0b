"""What preprocess refuses or leaves out: too much, too little, or something that does not belong."""

import csv
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_catalog import Prepared, TinyCatalog, prepare

from components.core.errors import InputError
from components.data.tables import table
from components.data.tables.findings import DROPPED, Finding
from components.preprocess.catalog.quarantine import write_findings
from components.preprocess.config import PreprocessConfig, Sources
from components.preprocess.images import sources as images

SETTINGS = PreprocessConfig(max_quarantined=0.2)


@pytest.fixture
def catalog(tmp_path: Path) -> TinyCatalog:
    return TinyCatalog(tmp_path)


def written(catalog: TinyCatalog, name: str, content: str) -> Sources:
    """The catalog's files with one more."""
    path = catalog.folder / f"{name}.tsv"
    path.write_text(content)
    return replace(catalog.write(), **{name: str(path)})


@pytest.mark.parametrize("packed", [False, True])
def test_an_image_of_too_many_bytes_is_left_out_unread(
    catalog: TinyCatalog, monkeypatch: pytest.MonkeyPatch, packed: bool
):
    largest = max(map(len, catalog.images.values()))
    monkeypatch.setattr(images, "MAX_BYTES", largest)
    catalog.images[catalog.image_name(catalog.rows[7])] = b"\0" * (largest + 1)
    sources = catalog.write()
    if packed:
        with zipfile.ZipFile(catalog.folder / "images.zip", "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in catalog.images.items():
                file.writestr(name, data)
        sources = replace(sources, images=str(catalog.folder / "images.zip"))
    [finding] = Prepared(catalog.folder, sources, SETTINGS).findings_of("image_too_large")
    assert finding["product_id"] == "5007"
    assert f"{largest + 1:,} bytes; {largest:,} bytes is the limit of a file" in finding["detail"]


def test_a_field_of_too_many_characters_is_left_out_with_its_line(
    catalog: TinyCatalog, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(table, "MAX_FIELD", 100)
    catalog.rows[4][2] = "x" * 100
    catalog.rows[5][2] = "x" * 101
    [finding] = prepare(catalog).findings_of("field_too_long")
    assert (finding["line"], finding["action"]) == ("7", DROPPED)


def test_a_class_of_which_no_product_is_usable_is_named(catalog: TinyCatalog):
    catalog.codes[:5] = ["77"] * 5
    for row in catalog.rows[:5]:
        catalog.images[catalog.image_name(row)] = b"no image"
    says = (
        r"no usable product is left of 1 classes: 77\n  X_train.tsv, line 2, product '5000'.*(?s:.*)keep them"
    )
    with pytest.raises(InputError, match=says):
        prepare(catalog)


def test_a_small_class_that_is_dropped_may_lose_its_last_product(catalog: TinyCatalog):
    catalog.codes[4] = "77"
    catalog.images[catalog.image_name(catalog.rows[4])] = b"no image"
    assert "77" not in prepare(catalog, small_classes="drop", min_products=2).products.classes
    with pytest.raises(InputError, match="no usable product is left of 1 classes: 77"):
        prepare(catalog)


def test_labels_without_a_code_are_refused_with_their_lines(catalog: TinyCatalog):
    catalog.codes[3] = " "
    with pytest.raises(InputError, match=r"1 rows have no code\n.*line 5: Prdtypecode is empty"):
        prepare(catalog)


def test_test_labels_of_a_code_that_is_never_learned_are_refused(catalog: TinyCatalog):
    rows = ["\t".join([row[0], row[3], row[4], "9"]) for row in catalog.test_rows]
    header = "Integer_id\tImage_id\tProduct_id\tPrdtypecode"
    sources = written(catalog, "test_labels", "\n".join([header, *rows]) + "\n")
    with pytest.raises(InputError, match=r"no labeled product has: 9\n  .*, line 2, product '5060': '9'"):
        Prepared(catalog.folder, sources, SETTINGS)


def test_test_labels_without_test_products_are_refused(catalog: TinyCatalog):
    sources = replace(written(catalog, "test_labels", ""), test_products="")
    with pytest.raises(InputError, match="test_labels: there are no test products"):
        Prepared(catalog.folder, sources, SETTINGS)


def test_a_code_column_that_the_products_lack_is_named(catalog: TinyCatalog):
    sources = replace(catalog.write(), labels="")
    config = PreprocessConfig(max_quarantined=0.2, columns="product_id=Product_id,title=Title,code=tpye")
    with pytest.raises(InputError, match=r"X_train.tsv: column 'tpye' missing, which was to hold the codes"):
        Prepared(catalog.folder, sources, config)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("5001\t30\tx", "line 2: 3 fields, expected 2"),
        ("5001", "line 2: 1 fields, expected 2"),
        ("5001\t30\n5002\t10\n5001\t20", "line 4: product_id '5001' is corrected more than once"),
    ],
)
def test_corrections_that_cannot_be_made_are_named_with_their_lines(
    catalog: TinyCatalog, lines: str, says: str
):
    sources = written(catalog, "corrections", f"product_id\tcode\n{lines}\n")
    with pytest.raises(InputError, match=says):
        Prepared(catalog.folder, sources, SETTINGS)


@pytest.mark.parametrize(
    ("said", "written"), [("=1+1", "'=1+1"), ("@SUM(A1)", "'@SUM(A1)"), ("\tx", "'\tx"), ("-5", "-5")]
)
def test_what_a_catalog_says_is_no_formula_in_the_report_and_an_id_stays(
    tmp_path: Path, said: str, written: str
):
    write_findings([Finding("X.tsv", 2, said, "bad_id", DROPPED, said)], tmp_path / "quarantine.tsv")
    with (tmp_path / "quarantine.tsv").open(encoding="utf-8", newline="") as file:
        [row] = csv.DictReader(file, delimiter="\t")
    assert (row["product_id"], row["detail"]) == (written, written)
