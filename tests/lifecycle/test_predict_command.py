"""`pipeline.py predict`: a package applied to catalogs of every form, a part at a time."""

import csv
import shutil
from pathlib import Path

import pytest
from commands import command
from small_package import KEPT, new_products
from tiny_catalog import jpeg

from components.lifecycle import catalog
from components.lifecycle.model import load_model


def rows(path: Path, delimiter: str) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter=delimiter))


def predict(folder: Path, products: Path, *options: object, status: int = 0) -> str:
    given = ["--model", KEPT, "--products", products, "--output", folder / "out.csv", "--device", "cpu"]
    return command("predict", *given, *options, status=status).output


def write_shop(folder: Path) -> Path:
    table = new_products().table
    pairs = zip(table["product_id"], table["title"], strict=True)
    lines = [f"{product};{title};{product}.jpg" for product, title in pairs]
    (folder / "shop.csv").write_text("\n".join(["sku;name;picture", *lines]), encoding="utf-8")
    (folder / "pictures").mkdir()
    for number, product in enumerate(table["product_id"][1:]):
        (folder / "pictures" / f"{product}.jpg").write_bytes(jpeg((number, 9, 9)))
    return folder / "shop.csv"


def test_a_catalog_of_any_columns_is_predicted_in_parts_as_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    columns = ["--columns", "product_id=sku,title=name,image=picture"]
    options = [*columns, "--images", tmp_path / "pictures"]
    shop = write_shop(tmp_path)
    said = predict(tmp_path, shop, *options)
    assert "12 products predicted, 0 rows left out" in said
    assert "1 without an image" in said
    whole = [(tmp_path / name).read_bytes() for name in ("out.csv", "out_detail.tsv")]
    monkeypatch.setattr(catalog, "PREDICTED_AT_ONCE", 5)
    predict(tmp_path, shop, *options)
    assert [(tmp_path / name).read_bytes() for name in ("out.csv", "out_detail.tsv")] == whole
    answers = load_model(KEPT).predict(new_products().table.assign(description=""))
    header, *written = rows(tmp_path / "out.csv", ",")
    assert header == ["Integer_id", "Image_id", "Product_id", "Prdtypecode"]
    assert [row[2:] for row in written] == [
        list(pair) for pair in zip(answers.ids, answers.codes, strict=True)
    ]
    detail = rows(tmp_path / "out_detail.tsv", "\t")
    assert [row[-2] for row in detail[1:3]] == ["no image", ""]
    quarantined = rows(tmp_path / "out_quarantine.tsv", "\t")
    assert [row[3] for row in quarantined[1:]] == ["image_missing"]


def test_without_images_the_texts_alone_are_predicted(tmp_path: Path):
    said = predict(tmp_path, write_shop(tmp_path), "--columns", "product_id=sku,title=name")
    assert "12 without an image that can be used" in said
    assert not (tmp_path / "out_quarantine.tsv").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output", "out.json"], "expected a name that ends with .csv or .tsv"),
        (["--columns", "product_id=id,title=name"], "column 'id' missing"),
        (["--model", "."], "no manifest.json"),
        (["--param", 'preprocess_config={"quots": "none"}'], "did you mean 'quotes'?"),
        (["--param", "text_configs=[]"], "expected KEY=JSON with KEY one of preprocess_config"),
    ],
    ids=["output", "columns", "model", "setting", "parameter"],
)
def test_what_cannot_be_done_is_said_in_a_line(tmp_path: Path, options: list[str], message: str):
    assert message in predict(tmp_path, write_shop(tmp_path), *options, status=2)


def test_the_folder_of_a_run_is_told_from_that_of_its_model(tmp_path: Path):
    shutil.copytree(KEPT, tmp_path / "run" / "model")
    said = predict(tmp_path, write_shop(tmp_path), "--model", tmp_path / "run", status=2)
    assert f"its model is {tmp_path / 'run' / 'model'}" in said


@pytest.mark.parametrize("name", ["out.csv", "out_detail.tsv", "out_quarantine.tsv"])
def test_a_catalog_is_never_written_over_by_its_predictions(tmp_path: Path, name: str):
    products = write_shop(tmp_path).rename(tmp_path / name)
    before = products.read_bytes()
    said = predict(tmp_path, products, "--columns", "product_id=sku,title=name", status=2)
    assert "would be written over; name another --output" in said
    assert products.read_bytes() == before


def test_a_catalog_of_another_form_than_the_trained_one_is_read_as_it_is_said_to_be(tmp_path: Path):
    lines = ["sku\tname", *(f'{product}\t"Lamp" {product}"' for product in range(11)), "11"]
    (tmp_path / "shop.tsv").write_text("\n".join(lines), encoding="utf-8")
    settings = '{"quotes": "none", "max_quarantined": 0.1, "columns": "product_id=sku,title=name,code=code"}'
    said = predict(tmp_path, tmp_path / "shop.tsv", "--param", f"preprocess_config={settings}")
    assert "11 products predicted, 1 rows left out" in said
