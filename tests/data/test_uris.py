"""Catalogs in object stores: which credentials are used, and that they are shown nowhere."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from object_store import ObjectStore

from components.core.errors import InputError
from components.data.uris import CATALOG_VARIABLES, fetch, open_store, state_of

SECRET = "canary-5c1e"
OBJECTS = {"shop/catalog/products.tsv": b"1", "shop/pictures/a.jpg": b"2", "shop/pictures/more/b.jpg": b"3"}


@pytest.fixture(autouse=True)
def _no_credentials_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in CATALOG_VARIABLES.values():
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.removeprefix("CATALOG_"), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    pytest.importorskip("s3fs")
    running = ObjectStore(OBJECTS, access_key="catalog-key")
    yield running
    running.shutdown()


def set_variables(monkeypatch: pytest.MonkeyPatch, prefix: str, *, key: str, endpoint: str) -> None:
    monkeypatch.setenv(f"{prefix}AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv(f"{prefix}AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv(f"{prefix}AWS_ENDPOINT_URL", endpoint)


def test_the_catalogs_own_credentials_go_before_those_of_the_artifacts_store(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    set_variables(monkeypatch, "", key="artifacts-key", endpoint="http://127.0.0.1:9")
    set_variables(monkeypatch, "CATALOG_", key="catalog-key", endpoint=store.address)
    assert fetch("s3://shop/catalog/products.tsv", tmp_path / "copy").read_bytes() == b"1"
    folder = fetch("s3://shop/pictures", tmp_path / "copy")
    assert (folder / "a.jpg").read_bytes() + (folder / "more" / "b.jpg").read_bytes() == b"23"
    assert store.access_keys == {"catalog-key"}


def test_on_a_laptop_the_usual_names_do(store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    set_variables(monkeypatch, "", key="catalog-key", endpoint=store.address)
    assert fetch("s3://shop/catalog/products.tsv", tmp_path / "copy").read_bytes() == b"1"


@pytest.mark.parametrize(
    ("key", "name", "reason"),
    [
        ("catalog-key", "catalog/nothing.tsv", "Not here"),
        ("wrong-key", "catalog/products.tsv", "No such key"),
    ],
)
def test_what_cannot_be_fetched_is_explained_and_no_secret_shown(
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    key: str,
    name: str,
    reason: str,
):
    caplog.set_level(logging.DEBUG)
    set_variables(monkeypatch, "CATALOG_", key=key, endpoint=store.address)
    with pytest.raises(InputError, match=f"^s3://shop/{name}: cannot be fetched: .*{reason}") as caught:
        fetch(f"s3://shop/{name}", tmp_path / "copy")
    shown = capfd.readouterr()
    assert SECRET not in str(caught.value) + caplog.text + shown.out + shown.err


def test_without_credentials_it_says_so(store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("CATALOG_AWS_ENDPOINT_URL", store.address)
    with pytest.raises(InputError, match="cannot be fetched"):
        fetch("s3://shop/catalog/products.tsv", tmp_path / "copy")


def test_credentials_go_to_s3_alone(monkeypatch: pytest.MonkeyPatch):
    set_variables(monkeypatch, "CATALOG_", key="catalog-key", endpoint="http://127.0.0.1:9")
    filesystem, path = open_store("file:///folder/file")
    assert (filesystem.storage_options, path) == ({}, "/folder/file")


@pytest.mark.parametrize(
    "uri",
    [
        "pigeon://loft/products.tsv",
        "http://example.org/products.tsv",
        "filecache::s3://shop/products.tsv",
        "s3://shop/a.tsv::file:///etc/passwd",
        "zip://a.tsv::file:///x.zip",
    ],
)
def test_a_scheme_that_is_not_on_the_list_is_refused(uri: str, tmp_path: Path):
    with pytest.raises(
        InputError, match=r"^\w+://\.\.\.: cannot be read here: expected a path or one of file://"
    ):
        fetch(uri, tmp_path)


@pytest.mark.parametrize("uri", ["s3://user:canary@shop/a.tsv", "gs://canary@shop/a.tsv"])
def test_a_password_in_a_uri_is_refused_and_not_repeated(uri: str, tmp_path: Path):
    for reader in (lambda: fetch(uri, tmp_path), lambda: state_of(uri)):
        with pytest.raises(InputError, match="credentials come from the environment") as refused:
            reader()
        assert "canary" not in str(refused.value)


def test_an_error_never_repeats_what_stands_before_a_host():
    assert (
        str(InputError("s3://key:canary@shop/a and http://canary@host/b")) == "s3://shop/a and http://host/b"
    )


def test_what_is_no_file_is_refused_at_once(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="a pipe, a socket or a device"):
        fetch(str(tmp_path / "pipe"), tmp_path)


def test_the_state_of_a_store_tells_what_changed(store: ObjectStore, monkeypatch: pytest.MonkeyPatch):
    set_variables(monkeypatch, "CATALOG_", key="catalog-key", endpoint=store.address)
    [before] = state_of("s3://shop/catalog/products.tsv")
    assert before[:2] == ["shop/catalog/products.tsv", 1]
    assert [name for name, *_ in state_of("s3://shop/pictures")] == [
        "shop/pictures/a.jpg",
        "shop/pictures/more/b.jpg",
    ]


def test_the_state_of_a_path_is_its_bytes_whatever_names_it(tmp_path: Path):
    (tmp_path / "a").write_text("1")
    assert state_of(str(tmp_path / "a")) == state_of(f"file://{tmp_path / 'a'}") == tmp_path / "a"
    assert state_of("almanach/camembert-base") == "almanach/camembert-base"
    assert state_of("") == ""
