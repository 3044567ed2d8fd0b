"""`pipeline.py check`: what a run would say of its arguments, and what preprocess finds in the catalog."""

import json
import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from commands import command
from tiny_catalog import NEW, OUTPUTS, TinyCatalog, jpeg

from components.client.local.check import _found
from components.core.errors import InputError
from components.data.tables.findings import Finding
from components.preprocess.config import PreprocessConfig, Sources
from components.preprocess.run import check_catalog, run_preprocess, run_preprocess_new


def damage_pictures(catalog: TinyCatalog) -> None:
    names = sorted(catalog.images)
    catalog.images[names[0]] = b""
    catalog.images[names[1]] = b"<html>"
    catalog.images[names[2]] = jpeg()[:300]
    del catalog.images[names[3]]


def damage_texts(catalog: TinyCatalog) -> None:
    catalog.rows[0][1] = "cheap \u202egpj.exe"
    catalog.rows[1][1] = "\u0410pple"
    catalog.rows[2][4] = "../../x"


def repeat_an_id(catalog: TinyCatalog) -> None:
    catalog.rows[1][4] = catalog.rows[0][4]


def lose_a_class(catalog: TinyCatalog) -> None:
    for row in catalog.rows[::3]:
        del catalog.images[catalog.image_name(row)]


def share_ids(catalog: TinyCatalog) -> None:
    catalog.test_rows[0][4] = catalog.rows[0][4]


CASES = [
    lambda _: None,
    damage_pictures,
    damage_texts,
    repeat_an_id,
    lose_a_class,
    share_ids,
    lambda catalog: catalog.codes.__setitem__(0, ""),
    lambda catalog: catalog.codes.__setitem__(0, "99"),
    lambda catalog: catalog.rows.clear(),
    lambda catalog: catalog.images.clear(),
]


@pytest.mark.parametrize("spoil", CASES)
@pytest.mark.parametrize("limit", [0.0, 0.2, 1.0])
def test_it_finds_what_preprocess_finds(spoil: Callable[[TinyCatalog], Any], limit: float, tmp_path: Path):
    catalog = TinyCatalog(tmp_path)
    spoil(catalog)
    sources, config = catalog.write(), PreprocessConfig(max_quarantined=limit)
    settings: dict[str, Any] = {"folds": 4, "seed": 0, "earlier_profile": ""}
    paths: dict[str, Any] = {name: tmp_path / "out" / name for name in OUTPUTS}
    new: dict[str, Any] = {name: tmp_path / "out" / name for name in NEW}
    findings: list[Finding] = []
    refusals = []

    def preprocess() -> None:
        run_preprocess(sources, config, **settings, **paths)
        run_preprocess_new(sources, config, paths["products"], paths["profile"], **new)

    for work in (
        preprocess,
        lambda: check_catalog(sources, config, **settings, findings=findings, decoded=200),
    ):
        try:
            work()
            refusals.append("")
        except InputError as error:
            refusals.append(str(error))
    assert refusals[0] == refusals[1]
    reports = [path for path in (paths["quarantine"], new["new_quarantine"]) if path.exists()]
    written = "".join(path.read_text(encoding="utf-8") for path in reports)
    assert len(written.splitlines()) == len(reports) + len(findings)
    assert all(each.reason in written and each.detail[:20] in written for each in findings)


def options(sources: Sources) -> list[str]:
    given = {field.name: getattr(sources, field.name) for field in fields(Sources)}
    return [f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value]


def test_it_says_what_is_in_the_catalog_and_leaves_nothing(tmp_path: Path):
    sources = TinyCatalog(tmp_path).write()
    before = sorted(tmp_path.rglob("*"))
    output = command("check", *options(sources), "--output", tmp_path / "out", "--fresh").output
    assert "60 train" not in output
    assert "6 test products" in output
    assert "66 were decoded" in output
    assert "nothing that stops a run was found" in output
    assert sorted(tmp_path.rglob("*")) == before


def test_of_many_pictures_it_decodes_about_two_hundred_and_all_where_it_is_asked(tmp_path: Path):
    sources = TinyCatalog(tmp_path, products=900).write()
    output = command("check", *options(sources)).output
    every = command("check", *options(sources), "--all-pictures").output
    few, all_of_them = (int(text.split("header was read, ")[1].split(" were")[0]) for text in (output, every))
    assert 10 < few < 400  # of the catalog's plain pictures many are equal
    assert few < all_of_them


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--param", "denoise_folds=[1]"], "denoise_folds: folds = [1]"),
        (["--param", 'text_configs=[{"name": "a", "epoch": 1}]'], "unknown key 'epoch'"),
        (["--param", 'preprocess_config={"max_quarantined": NaN}'], "NaN is no number of JSON"),
        (["--param", "catalog_snapshot={{$.inputs}}"], "catalog_snapshot: {{$ starts a placeholder"),
        (
            ["--param", 'text_configs=[{"name": "a", "weights": "/no/such"}]'],
            "/no/such: no such file or folder",
        ),
        (
            ["--param", 'image_configs=[{"name": "a", "weights": "ftp://a/b"}]'],
            "ftp://...: cannot be read here",
        ),
        (["--param", "catalog_earlier_profile=/no/such"], "/no/such: no such file or folder"),
    ],
)
def test_what_would_stop_a_run_is_reported(given: list[str], message: str, tmp_path: Path):
    output = command("check", *options(TinyCatalog(tmp_path).write()), *given, status=2).output
    assert f"error: {message}" in output or message in output


def test_the_example_of_a_reason_is_one_of_the_same_action():
    actions = ["ignored", "quarantined", "quarantined"]
    findings = [Finding("new.tsv", n, "", "image_missing", action, "") for n, action in enumerate(actions, 1)]
    dropped, ignored = _found(findings)
    assert "2 image_missing (quarantined); the first: new.tsv, line 2" in dropped
    assert "1 image_missing (ignored); the first: new.tsv, line 1" in ignored


def test_it_names_a_broken_catalog_and_what_was_found_in_it(tmp_path: Path):
    catalog = TinyCatalog(tmp_path)
    damage_pictures(catalog)
    output = command("check", *options(catalog.write()), status=2).output
    assert "1 image_missing (quarantined)" in output
    assert "error: 4 of 60 rows cannot be used" in output


def test_weights_that_are_not_there_stop_a_run_before_its_first_stage(tmp_path: Path):
    configs = json.dumps([{"name": "a", "weights": "/no/such"}])
    given = [*options(TinyCatalog(tmp_path).write()), "--output", tmp_path / "out"]
    output = command("run", *given, "--param", f"text_configs={configs}", status=2).output
    assert "error: /no/such: no such file or folder" in output
    assert not (tmp_path / "out").exists()


def test_ids_to_keep_that_nobody_has_are_named_before_the_first_stage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "keep.txt").write_text("5000\nnobody\n")
    command("check", *options(TinyCatalog(tmp_path).write()), "--keep-ids", tmp_path / "keep.txt")
    assert "1 ids are not in the catalog, the first is 'nobody'" in caplog.text


@pytest.mark.parametrize("option", ["--products", "--labels", "--class-names", "--corrections", "--keep-ids"])
def test_a_pipe_is_refused_and_not_waited_for(option: str, tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    given = [*options(TinyCatalog(tmp_path).write()), option, tmp_path / "pipe"]
    assert "pipe: a pipe, a socket or a device" in command("check", *given, status=2).output
