"""Which file a catalog's image name means, in folders and zips as people have them."""

import io
import unicodedata
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from tiny_catalog import Prepared, TinyCatalog, jpeg, prepare

from components.core.errors import InputError
from components.preprocess.config import PreprocessConfig
from components.preprocess.images.names import ImageNames
from components.preprocess.images.sources import BadImage, FolderImages, ZipImages

RED, BLUE = b"red", b"blue"


def zip_of(members: Mapping[str, bytes], path: Path) -> ZipImages:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return ZipImages(path)


def read(members: Mapping[str, bytes], cell: str, folder: Path) -> bytes:
    images = ImageNames(zip_of(members, folder / "images.zip"), [cell])
    [name] = images.split(cell)
    return images.read(name)


@pytest.mark.parametrize(
    ("member", "cell"),
    [
        ("1.jpg", "1.jpg"),
        ("photos/1.jpg", "1.jpg"),
        ("photos/1.jpg", "photos/1.jpg"),
        ("photos/summer/1.jpg", "summer/1.jpg"),
        ("1.jpg", "photos/1.jpg"),
        ("photos/1.jpg", "C:\\shop\\pictures\\1.jpg"),
        ("photos/1.jpg", "https://shop.example/uploads/1.jpg"),
        ("photos/1.jpg", "https://cdn.shop.example/files/1.jpg?v=1590000000"),
        ("photos/été 1.jpg", "https://shop.example/%C3%A9t%C3%A9%201.jpg#main"),
        ("photos/1%20.jpg", "https://shop.example/1%20.jpg"),
        ("photos/1.jpg", '["https://shop.example/photos/1.jpg"]'),
        ("photos/1.jpg", r'["https:\/\/shop.example\/photos\/1.jpg?v=2"]'),
        ("photos/1.jpg", "['1.jpg']"),
        ("photos/[1]", "[1]"),
        ("m/b/1.jpg", "/m/b/1.jpg"),
        ("1.JPG", "1.jpg"),
        ("Photos/1.jpg", "photos\\1.jpg"),
        ("photos\\1.jpg", "photos/1.jpg"),
        ("1.jpg", "./1.jpg"),
        ("1.jpg", " 1.jpg "),
        (unicodedata.normalize("NFD", "été.jpg"), "été.jpg"),
        ("été.jpg", unicodedata.normalize("NFD", "été.jpg")),
        ("a,b.jpg", "a,b.jpg"),
        ("photos/a|b.jpg", "a|b.jpg"),
    ],
)
def test_a_name_is_found_as_it_can_only_have_been_meant(tmp_path: Path, member: str, cell: str):
    assert read({member: RED, "photos/other.jpg": BLUE}, cell, tmp_path) == RED


@pytest.mark.parametrize(
    "cell", ['["a.jpg", "b.jpg"]', "['a.jpg','b.jpg']", "a.jpg, b.jpg", "[a.jpg|b.jpg|]"]
)
def test_a_list_names_several_images(tmp_path: Path, cell: str):
    images = ImageNames(zip_of({"a.jpg": RED, "b.jpg": BLUE}, tmp_path / "images.zip"), [cell])
    assert [images.read(name) for name in images.split(cell)] == [RED, BLUE]
    assert images.split("[]") == []


def test_a_zip_that_was_not_copied_whole_is_called_so(tmp_path: Path):
    path = tmp_path / "images.zip"
    zip_of({"1.jpg": RED}, path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"not a zip of images: it begins as one, and .* copy it whole"):
        ZipImages(path)


def test_a_zip_with_a_password_is_called_so(tmp_path: Path):
    zip_of({"1.jpg": RED}, tmp_path / "images.zip")
    packed = bytearray((tmp_path / "images.zip").read_bytes())
    packed[packed.rfind(b"PK\x01\x02") + 8] |= 1  # the flags in the list of files
    (tmp_path / "images.zip").write_bytes(packed)
    with pytest.raises(BadImage, match=r"'1.jpg' has a password: make the zip anew without one"):
        ZipImages(tmp_path / "images.zip").read(0)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_a_zip_holds_twice_is_not_to_be_told_by_its_folder(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("1.jpg", RED)
        archive.writestr("1.jpg", BLUE)
    with pytest.raises(BadImage, match=r"could be '1.jpg', '1.jpg': leave one of them"):
        ImageNames(ZipImages(tmp_path / "images.zip"), ["1.jpg"]).read("1.jpg")


@pytest.mark.parametrize(
    "beside",
    [
        "__MACOSX/photos/1.jpg",
        "photos/thumbs/1.jpg",
        "photos/Thumbnails/1.jpg",
        "photos/_thumb/1.jpg",
        ".cache/1.jpg",
        "photos/@eaDir/1.jpg",
    ],
)
def test_what_lies_beside_the_images_never_wins(tmp_path: Path, beside: str):
    for members in ({beside: BLUE, "photos/1.jpg": RED}, {"photos/1.jpg": RED, beside: BLUE}):
        assert read(members, "1.jpg", tmp_path) == RED
    with pytest.raises(BadImage, match=r"image_missing: no file '1.jpg' in the zip images.zip"):
        read({beside: BLUE, "photos/2.jpg": RED}, "1.jpg", tmp_path)


def test_a_folder_of_thumbnails_alone_is_taken(tmp_path: Path):
    assert read({"thumbs/1.jpg": RED, "thumbs/2.jpg": BLUE}, "1.jpg", tmp_path) == RED


def test_the_spelled_path_wins_over_files_of_its_name_in_other_folders(tmp_path: Path):
    members = {"10/1.jpg": BLUE, "20/1.jpg": RED, "1.jpg": b"top"}
    assert read(members, "20/1.jpg", tmp_path) == RED
    assert read(members, "1.jpg", tmp_path) == b"top"


@pytest.mark.parametrize("members", [("10/1.jpg", "20/1.jpg"), ("a/IMG.jpg", "a/img.JPG")])
def test_different_files_that_a_name_could_mean_are_named_and_never_mixed(tmp_path: Path, members: tuple):
    cell = members[0].partition("/")[2].lower()
    with pytest.raises(BadImage, match=f"image_ambiguous: '{cell}' could be '{members[0]}', '{members[1]}'"):
        read(dict(zip(members, (RED, BLUE), strict=True)), cell, tmp_path)
    assert read(dict.fromkeys(members, RED), cell, tmp_path) == RED  # copies of one file are one image


def test_a_file_that_lost_its_folder_is_given_to_none_of_two_names(tmp_path: Path):
    images = ImageNames(zip_of({"1.jpg": RED}, tmp_path / "flat.zip"), ["red/1.jpg", "blue/1.jpg"])
    with pytest.raises(BadImage, match=r"'1.jpg' could be 'blue/1.jpg', 'red/1.jpg'"):
        images.read("red/1.jpg")


def test_a_picture_named_with_and_without_a_query_is_one(tmp_path: Path):
    names = ["https://x/a/1.jpg", "https://x/a/1.jpg?v=2", "http://x/a/1.jpg"]
    images = ImageNames(zip_of({"photos/1.jpg": RED, "photos/2.jpg": BLUE}, tmp_path / "a.zip"), names)
    assert [images.read(name) for name in names] == [RED] * 3


def test_a_name_in_utf8_of_which_the_zip_does_not_say_so_is_read(tmp_path: Path):
    path = tmp_path / "images.zip"
    zip_of({"été.jpg": RED}, path)
    data = path.read_bytes()
    for header, flag in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = data.index(header) + flag
        data = data[:at] + b"\0\0" + data[at + 2 :]
    path.write_bytes(data)
    assert ZipImages(path).paths == ["été.jpg"]


def test_a_member_larger_than_its_header_says_is_not_read_further(tmp_path: Path):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.jpg", bytes(50_000_000))
    data = path.read_bytes()
    at = data.rindex(b"PK\1\2") + 24  # the uncompressed size
    path.write_bytes(data[:at] + (1000).to_bytes(4, "little") + data[at + 4 :])
    with pytest.raises(BadImage, match="image_unreadable"):
        ZipImages(path).read(0)


def test_a_folder_lists_its_subfolders_and_no_link_to_another(tmp_path: Path):
    (tmp_path / "images" / "sub").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "images" / "sub" / "1.jpg").write_bytes(RED)
    (tmp_path / "outside" / "2.jpg").write_bytes(BLUE)
    (tmp_path / "images" / "link").symlink_to(tmp_path / "outside")
    assert [path for path in FolderImages(tmp_path / "images").paths if path.endswith(".jpg")] == [
        "sub/1.jpg"
    ]


SHOP = "product_id=sku,title=name,image=picture,code=type"


def shop(catalog: TinyCatalog, cells: Mapping[int, str], **config) -> Prepared:
    """The catalog as a shop exports it, with some picture cells of their own."""
    rows = zip(catalog.rows, catalog.codes, strict=True)
    lines = [
        f'{row[4]},{row[1]},"{cells.get(number, catalog.image_name(row))}",{code}'
        for number, (row, code) in enumerate(rows)
    ]
    sources = replace(catalog.write(), labels="", test_products="", products=str(catalog.folder / "shop.csv"))
    Path(sources.products).write_text("\n".join(["sku,name,picture,type", *lines]) + "\n", encoding="utf-8")
    return Prepared(catalog.folder, sources, PreprocessConfig(columns=SHOP, **config))


@pytest.fixture
def catalog(tmp_path: Path) -> TinyCatalog:
    return TinyCatalog(tmp_path)


@pytest.mark.parametrize("cell", ["", "  ", "no_selection", "N/A"])
def test_an_empty_cell_names_no_image(catalog: TinyCatalog, cell: str):
    [finding] = shop(catalog, {3: cell}).findings
    assert (finding["product_id"], finding["reason"]) == ("5003", "no_image_named")


def test_the_refusal_of_rows_without_images_names_the_setting_that_keeps_them(catalog: TinyCatalog):
    empty = dict.fromkeys(range(0, 60, 2), "")
    with pytest.raises(InputError, match=r"no_image_named 30\n(?s:.*)keep the 30 .*on_bad_image=keep"):
        shop(catalog, empty)
    assert len(shop(catalog, empty, on_bad_image="keep").products.table) == 60


def test_an_empty_image_id_names_no_image_either(catalog: TinyCatalog):
    catalog.rows[3][3] = ""
    [finding] = prepare(catalog).findings
    assert (finding["product_id"], finding["reason"]) == ("5003", "no_image_named")


@pytest.mark.parametrize(
    ("separator", "between"), [("", ","), ("", " | "), ("", ";"), ("", "\n"), ("##", "##"), ("|", "|")]
)
def test_of_several_images_the_first_that_decodes_is_taken(
    catalog: TinyCatalog, separator: str, between: str
):
    names = ["broken.jpg", "missing.jpg", "good.png", "unseen.jpg"]
    good = io.BytesIO()
    Image.new("RGB", (11, 7), "green").save(good, "PNG")
    catalog.images |= {"broken.jpg": jpeg()[:-300], "good.png": good.getvalue(), "unseen.jpg": jpeg()}
    prepared = shop(catalog, {3: between.join(names)}, image_separator=separator)
    key = prepared.products.table.set_index("product_id").loc["5003", "image"]
    assert prepared.store.size(key) == (11, 7)
    assert [(one["reason"], one["action"]) for one in prepared.findings] == [
        ("image_truncated", "ignored"),
        ("image_missing", "ignored"),
    ]


def test_a_product_of_which_no_image_decodes_is_left_out(catalog: TinyCatalog):
    prepared = shop(catalog, {3: "missing.jpg, gone.jpg"})
    assert [one["action"] for one in prepared.findings] == ["ignored", "quarantined"]
    assert "5003" not in set(prepared.products.table["product_id"])


def test_no_usable_image_at_all_stops_the_run_with_names_of_both_sides(catalog: TinyCatalog):
    catalog.images = {f"photo-{number}.jpg": jpeg() for number in range(9)}
    with pytest.raises(InputError) as refused:
        prepare(catalog, on_bad_image="keep")
    first, second, *_ = str(refused.value).splitlines()
    assert first == "60 of 60 labeled products have no image that can be used (image_missing 60)"
    assert "The catalog names 'image_1000_product_5000.jpg', " in second
    assert "the folder images holds 'photo-0.jpg', 'photo-1.jpg', 'photo-2.jpg', ..." in second


def test_test_products_without_images_are_warned_of_or_stop_the_run(
    catalog: TinyCatalog, caplog: pytest.LogCaptureFixture
):
    for row in catalog.test_rows[:4]:
        del catalog.images[catalog.image_name(row)]
    prepared = prepare(catalog)
    assert "warning: 4 of 6 test products have no image that can be used (image_missing 4)" in caplog.text
    assert "4 of 6 test products have no picture that can be used" in prepared.new_report
    with pytest.raises(InputError, match=r"Allowed by max_test_without_image: 50.0%"):
        prepare(catalog, max_test_without_image=0.5)
