"""A catalog that is cut into shards becomes the same files as one that is not."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from object_store import ObjectStore
from tiny_catalog import OUTPUTS, TinyCatalog

from components.core.environment import FINISHED_VARIABLE
from components.core.errors import InputError
from components.core.stage import REUSED
from components.data.products import GROUP, SCHEMA_OF_TEXTS, Products, read_products, write_products_with
from components.data.tables import encodings
from components.data.tables.read import scan_table
from components.data.tables.table import Rows
from components.data.uris import CATALOG_VARIABLES, open_store
from components.preprocess.catalog.records import read_catalog
from components.preprocess.config import PreprocessConfig, Sources
from components.preprocess.images import packing
from components.preprocess.images.sources import MAX_BYTES, BadImage, images_at
from components.preprocess.run import run_merge, run_preprocess, run_read, run_shard
from components.preprocess.shards import merge, prepare
from components.preprocess.shards.component import preprocess_read, preprocess_shard

CONFIG = PreprocessConfig(max_quarantined=0.5, columns="product_id=id,title=t,description=d,image=i,code=c")
DEALT: dict[str, Any] = {"folds": 3, "seed": 0, "earlier_profile": ""}


def odd_catalog(folder: Path) -> Sources:
    """Products of several images, some missing, with doubles and texts that are found odd."""
    tiny = TinyCatalog(folder, products=61)
    files = list(tiny.images)
    lines = ["id,t,d,i,c"]
    for number, (row, code) in enumerate(zip(tiny.rows, tiny.codes, strict=True)):
        named = [files[number // 2]] if number % 3 else [f"gone{number}.jpg", files[number % 7]]
        named = [f"gone{number}.jpg"] if number % 11 == 5 else named
        title = {7: "cheap \u202egpj.exe", 29: "MÃ¨re", 30: "MÃ¨re"}.get(number, row[1])
        text = "the same for all of them" if number % 2 else f"two\nlines, {number}"
        lines.append(f'{number},"{title} {number // 4}","{text}",{";".join(named)},{code}')
    tiny.write()
    (folder / "mapped.csv").write_text("\n".join(lines), encoding="utf-8")
    return Sources(products=str(folder / "mapped.csv"), images=str(folder / "images"))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_any_number_of_shards_leaves_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for module in (packing, prepare, merge):
        monkeypatch.setattr(module, "WINDOW", 8)  # which shards of 9 products do not keep to
    sources, found = odd_catalog(tmp_path), []
    for size in (61, 31, 9):
        outputs: dict[str, Any] = {name: tmp_path / str(size) / name for name in OUTPUTS}
        records = tmp_path / f"records {size}"
        numbers = run_read(sources, CONFIG, size=size, records=records, quarantine=tmp_path / "found")
        prepared = [tmp_path / f"shard {size} {number}" for number in numbers]
        for number, folder in zip(numbers, prepared, strict=True):
            run_shard(records, number, sources.images, CONFIG, prepared=folder)
        run_merge(records, prepared[::-1], CONFIG, **DEALT, **outputs)
        found.append(files_of(tmp_path / str(size)))
    assert found[0] == found[1] == found[2]
    quarantine = found[0]["quarantine"].decode()
    for reason in ("image_missing", "hidden_characters", "mojibake", "placeholder_description"):
        assert reason in quarantine


def test_shards_are_equal_and_one_that_is_missing_is_noticed(tmp_path: Path):
    sources, records = odd_catalog(tmp_path), tmp_path / "records"
    assert run_read(sources, CONFIG, size=60, records=records, quarantine=tmp_path / "found") == [0, 1]
    run_shard(records, 1, sources.images, CONFIG, prepared=tmp_path / "1")
    outputs: dict[str, Any] = {name: tmp_path / "out" / name for name in OUTPUTS}
    with pytest.raises(InputError, match=r"shards \[1\] of a catalog that was cut into 2"):
        run_merge(records, [tmp_path / "1"], CONFIG, **DEALT, **outputs)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path):
    path = Path(odd_catalog(tmp_path).products)
    catalog = read_catalog(path, None, CONFIG)
    text = path.read_text()
    for other in (text.split("\n", 9)[0], text.replace("\n3,", "\n99,")):
        path.write_text(other)
        with pytest.raises(InputError, match="changed while it was read"):
            list(catalog.complete(catalog.records))


def test_a_table_is_written_in_groups_whatever_its_pieces_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    outputs: dict[str, Any] = {name: tmp_path / name for name in OUTPUTS}
    run_preprocess(odd_catalog(tmp_path), CONFIG, **DEALT, **outputs)
    products = read_products(tmp_path / "products")
    monkeypatch.setattr("components.data.products.GROUP", 10)
    assert GROUP > 10
    texts = SCHEMA_OF_TEXTS.empty_table().from_pandas(
        products.table[SCHEMA_OF_TEXTS.names], SCHEMA_OF_TEXTS, preserve_index=False
    )
    written = []
    for name, size in (("a", 7), ("b", 33)):
        pieces = [texts.slice(at, size) for at in range(0, len(texts), size)]
        without = Products(products.table.drop(columns=SCHEMA_OF_TEXTS.names), products.classes)
        write_products_with(without, pieces, tmp_path / name)
        written.append(files_of(tmp_path / name))
        assert read_products(tmp_path / name).table.equals(products.table)
    assert written[0] == written[1]


def test_rows_are_read_from_the_file_as_often_as_they_are_asked_for(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n3\n5,6\n")
    rows = Rows(scan_table(path))
    assert [row.line for row in rows] == [row.line for row in rows] == [2, 4]
    assert np.all([finding.reason == "field_count" for finding in rows.findings])


def test_a_text_too_large_to_look_for_its_code_page_needs_the_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "table.csv"
    path.write_bytes("a,b\n1,déjà là\n2,été\n".encode("cp1252"))
    monkeypatch.setattr(encodings, "MAX_WHOLE", 10)
    with pytest.raises(InputError, match=r"more than 10 bytes.*set the encoding option"):
        scan_table(path)
    assert [row.values["b"] for row in Rows(scan_table(path, encoding="cp1252"))] == ["déjà là", "été"]


def test_a_corrected_label_decodes_no_picture_again_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv(FINISHED_VARIABLE, str(tmp_path / "finished"))
    path = Path(odd_catalog(tmp_path).products)

    def taken_over() -> list[str]:
        """The tasks that did nothing."""
        for left in ("records", "read_quarantine", "0", "1"):
            shutil.rmtree(tmp_path / left, ignore_errors=True)
        at = {name: SimpleNamespace(path=str(tmp_path / name)) for name in ("records", "read_quarantine")}
        images, config = str(tmp_path / "images"), CONFIG.model_dump()
        where: dict[str, Any] = {"catalog_images": images, "config": config, "catalog_snapshot": ""}
        tables = {"catalog_labels": "", "catalog_class_names": "", "catalog_corrections": ""}
        numbers = preprocess_read.python_func(str(path), shard_size=31.0, **tables, **where, **at)
        assert numbers == [0, 1]
        for number in numbers:
            prepared = SimpleNamespace(path=str(tmp_path / str(number)))
            preprocess_shard.python_func(at["records"], float(number), **where, prepared=prepared)
            assert prepare.read_summary(tmp_path / str(number)).shard.number == number
        lines = [line.strip("[").split("] ") for line in capsys.readouterr().out.splitlines()]
        return [task for task, *said in lines if said == [REUSED]]

    assert taken_over() == []
    assert taken_over() == ["preprocess read", "preprocess shard 0", "preprocess shard 1"]
    text = path.read_text()
    path.write_text(text.replace(",10\n", ",20\n", 1))
    assert taken_over() == ["preprocess shard 0", "preprocess shard 1"]
    path.write_text(text.replace("cheap", "dear", 1))
    assert taken_over() == ["preprocess shard 1"]


def test_a_shards_task_fetches_its_own_pictures_alone_out_of_a_folder_in_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("s3fs")
    catalog = TinyCatalog(tmp_path)
    sources, names = catalog.write(), [catalog.image_name(row) for row in catalog.rows]
    config = PreprocessConfig()
    store = ObjectStore(
        {f"shop/pictures/{name}": data for name, data in catalog.images.items()}, access_key="key"
    )
    for name, value in zip(CATALOG_VARIABLES.values(), ("key", "secret", store.address), strict=True):
        monkeypatch.setenv(name, value)
    far = replace(sources, images="s3://shop/pictures")
    run_read(far, config, size=20, records=tmp_path / "records", quarantine=tmp_path / "found")
    assert store.sent == []
    run_shard(tmp_path / "records", 1, far.images, config, prepared=tmp_path / "far")
    store.shutdown()
    assert sorted(store.sent) == sorted(f"shop/pictures/{name}" for name in names[20:40])
    run_shard(tmp_path / "records", 1, sources.images, config, prepared=tmp_path / "near")
    assert files_of(tmp_path / "far") == files_of(tmp_path / "near")


def test_pictures_are_read_from_every_kind_of_store(place: str, tmp_path: Path):
    names = {"a [1].jpg": b"1", "below/b?.jpg": b"2", "large.jpg": bytes(MAX_BYTES + 1), "empty.jpg": b""}
    filesystem, root = open_store(place if "://" in place else f"file://{place}")
    for name, data in names.items():
        filesystem.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
        filesystem.pipe_file(f"{root}/{name}", data)
    if "://" in place:  # objects that a store's console makes for folders
        for marker in ("", "below/"):
            filesystem.pipe_file(f"{root}/{marker}", b"")
    images = images_at(place, tmp_path / "scratch")
    assert images.paths == sorted(names)
    images.expect(range(3))
    assert [images.read(number) for number in range(3)] == [b"1", b"2", b""]
    with pytest.raises(BadImage, match="limit of a file"):
        images.read(3)
    assert images.where == f"the folder {place.rpartition('/')[2]}"
    filesystem.rm_file(f"{root}/below/b?.jpg")
    images.expect(range(2))
    assert images.read(0) == b"1"
    with pytest.raises(BadImage, match=re.escape("'below/b?.jpg'")):
        images.read(1)
