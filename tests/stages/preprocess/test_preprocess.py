"""Preprocess as its users meet it: good catalogs, bad rows, bad images, attacks."""

import csv
import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_catalog import Prepared, TinyCatalog, column, jpeg, prepare

from components.core.errors import InputError
from components.preprocess.config import PreprocessConfig, Sources


@pytest.fixture
def catalog(tmp_path: Path) -> TinyCatalog:
    return TinyCatalog(tmp_path)


def test_a_sound_catalog_is_kept_whole(catalog: TinyCatalog):
    prepared = prepare(catalog)
    table = prepared.products.table
    assert list(table["product_id"]) == [row[4] for row in catalog.rows]
    assert list(prepared.new.table["product_id"]) == [row[4] for row in catalog.test_rows]
    assert list(table["code"].dropna()) == catalog.codes
    assert prepared.products.classes == ("10", "20", "30")
    assert [prepared.products.classes[label] for label in table["label"].dropna()] == catalog.codes
    assert prepared.findings == []
    assert all(key in prepared.store for key in table["image"])
    assert all(key in prepared.new_store for key in prepared.new.table["image"])
    assert len(prepared.store) + len(prepared.new_store) == 66


def test_images_are_stored_as_they_came(catalog: TinyCatalog):
    prepared = prepare(catalog)
    for row, key in zip(catalog.rows, prepared.products.table["image"], strict=False):
        assert bytes(prepared.store.encoded(key)) == catalog.images[catalog.image_name(row)]
        assert prepared.store.size(key) == (24, 32)


def test_stray_quotes_in_a_tsv_lose_no_row(catalog: TinyCatalog):
    catalog.rows[3][1] = 'Écran 24" plat'
    catalog.rows[7][1] = '"Livre'
    titles = column(prepare(catalog).products, "title")
    assert titles[3] == 'Écran 24" plat'
    assert titles[7] == '"Livre'
    assert len(titles) == 60


@pytest.mark.parametrize("title", ["NA", "null", "None", "nan", "007"])
def test_titles_that_look_like_nothing_stay_text(catalog: TinyCatalog, title: str):
    catalog.rows[0][1] = title
    assert column(prepare(catalog).products, "title")[0] == title


def test_large_ids_keep_every_digit(catalog: TinyCatalog):
    catalog.rows[5][4] = "9007199254740993"
    catalog.images[catalog.image_name(catalog.rows[5])] = jpeg()
    assert "9007199254740993" in set(prepare(catalog).products.table["product_id"])


def test_a_byte_order_mark_and_windows_line_ends_are_read(catalog: TinyCatalog):
    sources = catalog.write()
    path = Path(sources.products)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    prepared = Prepared(catalog.folder, sources, PreprocessConfig())
    assert prepared.counts["quarantined"] == 0


def test_a_row_with_too_many_fields_is_quarantined_with_its_line(catalog: TinyCatalog):
    catalog.rows[4][1] = "un\tdeux"
    prepared = prepare(catalog)
    [finding] = prepared.findings_of("field_count")
    assert (finding["file"], finding["line"], finding["action"]) == ("X_train.tsv", "6", "quarantined")
    assert len(prepared.products.table) == 59


def test_every_row_is_kept_or_quarantined_by_id(catalog: TinyCatalog):
    del catalog.images[catalog.image_name(catalog.rows[2])]
    catalog.images[catalog.image_name(catalog.rows[9])] = b""
    prepared = prepare(catalog)
    kept = {*prepared.products.table["product_id"], *prepared.new.table["product_id"]}
    quarantined = {f["product_id"] for f in prepared.findings if f["action"] == "quarantined"}
    assert kept | quarantined == {row[4] for row in catalog.rows + catalog.test_rows}
    assert not kept & quarantined


def test_a_product_whose_label_row_is_broken_is_quarantined_once(catalog: TinyCatalog):
    sources = catalog.write()
    path = Path(sources.labels)
    path.write_text(path.read_text(encoding="utf-8").replace("\t5003\t", "\t5003\textra\t"), encoding="utf-8")
    prepared = Prepared(catalog.folder, sources, PreprocessConfig(max_quarantined=0.2))
    assert [finding["action"] for finding in prepared.findings_of("field_count")] == ["ignored"]
    assert [finding["product_id"] for finding in prepared.findings_of("no_label")] == ["5003"]
    assert prepared.counts["quarantined"] == 1


def test_nul_is_normalized_and_a_row_with_broken_utf8_is_left_out(catalog: TinyCatalog):
    for number, row in enumerate(catalog.rows):
        row[1] = f"Été {number}"
    sources = catalog.write()
    path = Path(sources.products)
    broken = path.read_bytes().replace(b" 8\t", b"\x00 8\t", 1).replace(b" 9\t", b" \xff9\t", 1)
    path.write_bytes(broken)
    prepared = Prepared(catalog.folder, sources, PreprocessConfig())
    lines = {finding["reason"]: finding["line"] for finding in prepared.findings}
    assert lines == {"nul": "10", "bad_encoding": "11", "label_without_product": "11"}
    titles = column(prepared.products, "title")
    assert titles[8] == "Été 8"
    assert not any("\ufffd" in title for title in titles)


def test_missing_columns_are_named_all_at_once(catalog: TinyCatalog):
    sources = catalog.write()
    path = Path(sources.products)
    path.write_text(path.read_text().replace("Title", "Name").replace("Product_id", "Sku"))
    with pytest.raises(InputError, match=r"columns 'Title', 'Product_id' missing; it has .*'Name'"):
        Prepared(catalog.folder, sources, PreprocessConfig())


def test_repeated_ids_are_named_with_both_lines(catalog: TinyCatalog):
    catalog.rows[6][4] = catalog.rows[1][4]
    with pytest.raises(InputError, match=r"line 8: Product_id '5001', first on line 3"):
        prepare(catalog)


def test_a_product_in_both_train_and_test_is_refused(catalog: TinyCatalog):
    catalog.test_rows[0][4] = catalog.rows[0][4]
    with pytest.raises(InputError, match=r"products are in the products file too\n.*X_test.tsv, line 2"):
        prepare(catalog)


@pytest.mark.parametrize("size", [1, 2])
def test_a_small_class_is_kept(catalog: TinyCatalog, size: int):
    catalog.codes[:size] = ["99"] * size
    table = prepare(catalog).products.table
    splits = sorted(table.loc[table["code"] == "99", "split"])
    assert splits == ["train", "validation"][:size]


def test_small_classes_are_dropped_on_request(catalog: TinyCatalog):
    catalog.codes[:3] = ["98", "99", "99"]
    prepared = prepare(catalog, min_products=3, small_classes="drop", max_quarantined=0.02)
    assert prepared.products.classes == ("10", "20", "30")
    assert len(prepared.products.table) == 57
    assert [each["action"] for each in prepared.findings_of("small_class")] == ["quarantined"] * 3


def test_small_classes_are_merged_on_request(catalog: TinyCatalog):
    catalog.codes[:3] = ["98", "99", "99"]
    prepared = prepare(catalog, min_products=3, small_classes="merge", merged_class="rest")
    assert prepared.products.classes == ("10", "20", "30", "rest")
    assert list(prepared.products.table["code"]).count("rest") == 3
    assert prepared.findings_of("small_class")[0]["detail"] == "class '98' of 1 became 'rest'"


def test_one_class_is_none(catalog: TinyCatalog):
    catalog.codes[:] = ["98", *["99"] * 59]
    with pytest.raises(InputError, match=r"has 1 class once small ones are out \('98' 1\); at least two"):
        prepare(catalog, min_products=2, small_classes="drop")


def test_labels_of_other_products_are_refused(catalog: TinyCatalog):
    sources = catalog.write()
    path = Path(sources.labels)
    path.write_text(path.read_text().replace("\t5003\t", "\t4003\t"))
    with pytest.raises(InputError, match=r"line 5: Product_id '4003', but X_train.tsv line 5 has '5003'"):
        Prepared(catalog.folder, sources, PreprocessConfig())


def test_too_many_bad_rows_stop_the_run_and_leave_the_report(catalog: TinyCatalog):
    for row in catalog.rows[:5]:
        del catalog.images[catalog.image_name(row)]
    with pytest.raises(InputError, match=r"5 of 60 rows cannot be used .* image_missing 5"):
        prepare(catalog, max_quarantined=0.02)
    assert (catalog.folder / "out" / "quarantine").read_text().count("image_missing") == 5


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "image_empty"),
        (b"<html><body>404</body></html>", "not_an_image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not_an_image"),
        (jpeg(size=(200, 200))[:-400], "image_truncated"),
    ],
)
def test_an_unusable_image_is_quarantined_in_train_and_kept_as_text_in_test(
    catalog: TinyCatalog, data: bytes, reason: str
):
    train, test = catalog.rows[3], catalog.test_rows[2]
    catalog.images[catalog.image_name(train)] = data
    catalog.images[catalog.image_name(test)] = data
    prepared = prepare(catalog)
    actions = {finding["product_id"]: finding["action"] for finding in prepared.findings_of(reason)}
    assert actions == {train[4]: "quarantined", test[4]: "kept without image"}
    assert train[4] not in set(prepared.products.table["product_id"])
    table = prepared.new.table.set_index("product_id")
    assert table.loc[test[4], "split"] == "test"
    assert not isinstance(table.loc[test[4], "image"], str)


def test_a_labeled_product_is_kept_without_its_image_where_the_user_says_so(catalog: TinyCatalog):
    del catalog.images[catalog.image_name(catalog.rows[3])]
    prepared = prepare(catalog, on_bad_image="keep")
    assert catalog.rows[3][4] in set(prepared.products.table["product_id"])


def test_a_decompression_bomb_is_refused_by_its_header(catalog: TinyCatalog):
    file = io.BytesIO()
    Image.new("1", (9000, 9000)).save(file, "PNG")
    catalog.images[catalog.image_name(catalog.rows[3])] = file.getvalue()
    assert len(file.getvalue()) < 20_000
    assert len(prepare(catalog).findings_of("image_too_large")) == 1


@pytest.mark.parametrize("image_id", ["../../etc/passwd", "/etc/passwd", "..\\x"])
def test_an_image_id_that_climbs_out_is_refused(catalog: TinyCatalog, image_id: str):
    catalog.rows[3][3] = image_id
    prepared = prepare(catalog)
    [finding] = prepared.findings_of("bad_image_id")
    assert finding["product_id"] == catalog.rows[3][4]


def test_a_link_that_leads_out_of_the_image_folder_is_refused(catalog: TinyCatalog):
    sources = catalog.write()
    outside = catalog.folder / "outside.jpg"
    outside.write_bytes(jpeg())
    name = catalog.image_name(catalog.rows[3])
    (Path(sources.images) / name).unlink()
    (Path(sources.images) / name).symlink_to(outside)
    prepared = Prepared(catalog.folder, sources, PreprocessConfig())
    assert len(prepared.findings_of("image_outside_folder")) == 1


def test_images_are_read_from_a_zip_whatever_folder_they_lie_in(catalog: TinyCatalog):
    sources = catalog.write()
    archive = catalog.folder / "images.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name, data in catalog.images.items():
            file.writestr(f"some/folder/{name}", data)
        file.writestr("../climbing.jpg", jpeg())
    prepared = Prepared(
        catalog.folder, Sources(**{**vars(sources), "images": str(archive)}), PreprocessConfig()
    )
    assert prepared.counts["images"] == 66
    assert not (catalog.folder.parent / "climbing.jpg").exists()


def encode(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def stored_pixels(catalog: TinyCatalog, data: bytes) -> np.ndarray:
    catalog.images[catalog.image_name(catalog.rows[0])] = data
    prepared = prepare(catalog)
    encoded = bytes(prepared.store.encoded(column(prepared.products, "image")[0]))
    with Image.open(io.BytesIO(encoded)) as image:
        assert (image.format, image.mode) == ("JPEG", "RGB")
        return np.asarray(image).astype(int)


def test_16_bit_gray_is_scaled(catalog: TinyCatalog):
    gray = Image.fromarray(np.full((40, 30), 32768, np.uint16))
    assert abs(stored_pixels(catalog, encode(gray, "PNG")) - 127).max() <= 2


def test_transparency_becomes_white(catalog: TinyCatalog):
    clear = Image.new("RGBA", (30, 40), (0, 0, 0, 0))
    assert stored_pixels(catalog, encode(clear, "PNG")).min() >= 253


def test_exif_rotation_is_applied(catalog: TinyCatalog):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    pixels = stored_pixels(catalog, encode(Image.new("RGB", (60, 20), "red"), "JPEG", exif=exif))
    assert pixels.shape == (60, 20, 3)


def test_the_first_frame_of_an_animation_is_taken(catalog: TinyCatalog):
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    red, green, blue = stored_pixels(catalog, data).mean(axis=(0, 1))
    assert red > 240
    assert max(green, blue) < 15


def test_cmyk_is_converted(catalog: TinyCatalog):
    red = Image.new("RGB", (20, 20), (220, 20, 20)).convert("CMYK")
    pixels = stored_pixels(catalog, encode(red, "JPEG"))
    assert abs(pixels.mean(axis=(0, 1)) - (220, 20, 20)).max() < 12


def test_the_csv_dialect_is_read_with_quoted_line_breaks(tmp_path: Path):
    rows = [
        [
            str(i),
            f"Titre {i}",
            'Une "belle"\nchose, en deux lignes' if i == 4 else "",
            str(70 + i),
            str(170 + i),
        ]
        for i in range(40)
    ]
    with (tmp_path / "X.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["", "designation", "description", "productid", "imageid"], *rows])
    labels = "".join(f"{i},{10 if i % 2 else 20}\n" for i in range(40))
    (tmp_path / "Y.csv").write_text(",prdtypecode\n" + labels)
    (tmp_path / "images").mkdir()
    for i, row in enumerate(rows):
        name = f"image_{row[4]}_product_{row[3]}.jpg"
        (tmp_path / "images" / name).write_bytes(jpeg((i, 2 * i, 5 * i)))
    sources = Sources(str(tmp_path / "X.csv"), str(tmp_path / "Y.csv"), str(tmp_path / "images"))
    products = Prepared(tmp_path, sources, PreprocessConfig()).products
    assert column(products, "description")[4] == 'Une "belle" chose, en deux lignes'
    assert products.table["row_id"].tolist() == [str(i) for i in range(40)]
    assert products.metadata["labels_columns"] == [["", "row_id"], ["prdtypecode", "code"]]


def test_another_catalog_is_read_through_a_column_mapping(tmp_path: Path):
    lines = [f"p{i};Chaise {i};file{i}.jpg;{'a' if i % 2 else 'b'}" for i in range(30)]
    (tmp_path / "shop.csv").write_text("\n".join(["sku;name;picture;type", *lines]))
    (tmp_path / "images").mkdir()
    for i in range(30):
        (tmp_path / "images" / f"file{i}.jpg").write_bytes(jpeg((i, i, 9 * i % 256)))
    config = PreprocessConfig(columns="product_id=sku,title=name,image=picture,code=type")
    sources = Sources(str(tmp_path / "shop.csv"), images=str(tmp_path / "images"))
    products = Prepared(tmp_path, sources, config).products
    assert products.classes == ("a", "b")
    assert column(products, "title")[7] == "Chaise 7"
    assert products.metadata["labels_columns"] == [["sku", "product_id"], ["type", "code"]]


def test_an_unknown_field_in_the_mapping_is_named(catalog: TinyCatalog):
    with pytest.raises(InputError, match=r"unknown: sku; missing: code.* Expected each of the fields"):
        prepare(catalog, columns="sku=Title")


def test_corrections_replace_the_catalogs_codes(catalog: TinyCatalog):
    (catalog.folder / "corrections.tsv").write_text("product_id\tcode\n5000\t30\n")
    sources = Sources(**{**vars(catalog.write()), "corrections": str(catalog.folder / "corrections.tsv")})
    products = Prepared(catalog.folder, sources, PreprocessConfig()).products
    assert column(products, "code")[0] == "30"


def test_stale_corrections_are_counted_and_stop_nothing(catalog: TinyCatalog):
    (catalog.folder / "corrections.tsv").write_text("product_id\tcode\ngone\t10\n5000\t30\nold\t99\n")
    sources = Sources(**{**vars(catalog.write()), "corrections": str(catalog.folder / "corrections.tsv")})
    prepared = Prepared(catalog.folder, sources, PreprocessConfig())
    assert column(prepared.products, "code")[0] == "30"
    [finding] = prepared.findings_of("stale_corrections")
    assert (finding["line"], finding["product_id"], finding["action"]) == ("2", "gone", "ignored")
    assert finding["detail"].startswith("2 corrections are of products")


def test_a_correction_to_an_unknown_code_is_refused(catalog: TinyCatalog):
    (catalog.folder / "corrections.tsv").write_text("product_id\tcode\n5000\t31\n")
    sources = Sources(**{**vars(catalog.write()), "corrections": str(catalog.folder / "corrections.tsv")})
    with pytest.raises(InputError, match="line 2: code '31' is not in the catalog"):
        Prepared(catalog.folder, sources, PreprocessConfig())
    assert (catalog.folder / "out" / "quarantine").read_text().startswith("file\tline\tproduct_id")


def test_nothing_of_the_test_file_reaches_what_is_trained_on(catalog: TinyCatalog):
    prepare(catalog)
    kept = [catalog.folder / "out" / name for name in ("products", "images", "quarantine", "profile")]
    before = [file.read_bytes() for path in kept for file in files(path)]
    catalog.test_rows = [["900", *catalog.rows[0][1:4], "new"], ["901", "Titre", "", "1", "other"]]
    catalog.images["image_1000_product_new.jpg"] = jpeg()
    sources, config = catalog.write(), PreprocessConfig(max_quarantined=0.2)
    labels = "".join(f"{row[0]}\t{row[3]}\t{row[4]}\t10\n" for row in catalog.test_rows)
    path = catalog.folder / "Y_test.tsv"
    path.write_text("Integer_id\tImage_id\tProduct_id\tPrdtypecode\n" + labels)
    prepared = Prepared(catalog.folder, replace(sources, test_labels=str(path)), config)
    assert [file.read_bytes() for path in kept for file in files(path)] == before
    assert prepared.new.labels.tolist() == [0, 0]


def files(path: Path) -> list[Path]:
    return sorted(path.rglob("*")) if path.is_dir() else [path]


def test_a_catalog_without_products_to_categorize_has_an_empty_table_of_them(catalog: TinyCatalog):
    prepared = Prepared(catalog.folder, replace(catalog.write(), test_products=""), PreprocessConfig())
    assert (len(prepared.new.table), len(prepared.new_store), prepared.counts["test"]) == (0, 0, 0)
    assert prepared.new.classes == prepared.products.classes
    assert "no products to categorize" in prepared.new_report


def test_rows_without_a_code_are_to_be_categorized_where_the_products_file_has_the_codes(tmp_path: Path):
    lines = [f"p{i};Chaise {i};{i}.jpg;{['a', 'b', ''][i % 3]}" for i in range(30)]
    (tmp_path / "shop.csv").write_text("\n".join(["sku;name;picture;type", *lines]))
    (tmp_path / "images").mkdir()
    for i in range(30):
        (tmp_path / "images" / f"{i}.jpg").write_bytes(jpeg((i, i, 9 * i % 256)))
    config = PreprocessConfig(columns="product_id=sku,title=name,image=picture,code=type")
    sources = Sources(str(tmp_path / "shop.csv"), images=str(tmp_path / "images"))
    prepared = Prepared(tmp_path, sources, config)
    assert (len(prepared.products.table), len(prepared.new.table)) == (20, 10)
    assert all(key in prepared.new_store for key in prepared.new.table["image"])


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({"small_classes": "merge"}, 3),
        ({"small_classes": "merge", "merged_class": "99"}, 3),  # a small one itself
        ({"small_classes": "drop"}, -1),
    ],
)
def test_a_test_code_of_a_small_class_goes_where_the_class_went(
    catalog: TinyCatalog, settings: dict[str, Any], label: int
):
    catalog.codes[:3] = ["98", "99", "99"]
    sources = catalog.write()
    row = catalog.test_rows[0]
    path = catalog.folder / "Y_test.tsv"
    path.write_text(f"Integer_id\tImage_id\tProduct_id\tPrdtypecode\n{row[0]}\t{row[3]}\t{row[4]}\t98\n")
    config = PreprocessConfig(min_products=3, max_quarantined=0.2, **settings)
    new = Prepared(catalog.folder, replace(sources, test_labels=str(path)), config).new
    assert new.labels.tolist() == [label, *[-1] * 5]


def test_the_form_in_which_a_table_was_read_stands_in_the_report(catalog: TinyCatalog):
    report = prepare(catalog, quotes="none").report
    assert "products read as" in report
    form = "utf-8 text, delimited by tabs, quotes are text (the encoding by its bytes, the quotes as set)"
    assert report.count(form) >= 2
