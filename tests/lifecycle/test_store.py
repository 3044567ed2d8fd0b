"""The store of models: versions that never change, and a champion that one run alone replaces."""

import multiprocessing
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from gs_server import GoogleStorage
from model_package import promote_at_once, write_package

from components.core.artifacts import MANIFEST, read_manifest, read_sealed, write_sealed
from components.core.errors import InputError
from components.lifecycle.champion import promote, read_champion, roll_back
from components.lifecycle.model import load_model
from components.lifecycle.objects import ABSENT, Changed, Objects
from components.lifecycle.store import ModelStore
from components.lifecycle.version import version_of


def stored(place: str, folder: Path, count: int = 2) -> tuple[ModelStore, list[str]]:
    """A store with so many versions; their ids, the oldest first."""
    store = ModelStore(place)
    return store, [store.add(write_package(folder / f"package-{n}", n)) for n in range(1, count + 1)]


def test_a_version_comes_back_as_it_was_stored(place: str, tmp_path: Path):
    package = write_package(tmp_path / "package")
    store = ModelStore(place)
    version = store.add(package)
    assert version == version_of(package) == store.add(package)
    assert store.versions() == [version]
    found = store.version(version[:5])
    fetched = store.fetch(found, tmp_path / "fetched")
    assert read_manifest(fetched) == read_manifest(package)
    assert found.manifest["files"] == read_manifest(package)["files"]
    assert (fetched / "text" / "tiny" / "config.json").read_bytes() == (
        package / "text" / "tiny" / "config.json"
    ).read_bytes()


def test_what_was_not_stored_whole_is_no_version_and_is_stored_again(place: str, tmp_path: Path):
    store, [version] = stored(place, tmp_path, 1)
    folder = f"{store.root}/versions/{version}"
    store.objects.remove(f"{folder}/manifest.json")
    assert store.versions() == []
    with pytest.raises(InputError, match=r"no version .* it holds none yet"):
        store.version(version)
    assert store.add(tmp_path / "package-1") == version
    found = store.version(version)
    store.restore(found, store.withdraw(found))
    assert store.versions() == [version]
    store.withdraw(found)
    assert store.versions() == []
    assert store.remove(found.id)
    assert ModelStore(place).all_versions() == []


def test_the_newest_version_comes_first_and_its_beginning_names_it(tmp_path: Path):
    store, versions = stored(str(tmp_path / "store"), tmp_path, 3)
    assert [each.id for each in store.all_versions()] == versions[::-1]
    with pytest.raises(InputError, match=f"no version 'zzz': the newest are {versions[2]}, {versions[1]}"):
        store.version("zzz")
    with pytest.raises(InputError, match="no version ''"):
        store.version("")


@pytest.mark.parametrize("file", ["model.json", "manifest.json"])
def test_a_version_that_was_changed_is_refused_by_name(tmp_path: Path, file: str):
    store, [version] = stored(str(tmp_path / "store"), tmp_path, 1)
    path = tmp_path / "store" / store.root / "versions" / version / file
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{file}.* changed since it was written"):
        store.fetch(store.version(version), tmp_path / "fetched")


@pytest.mark.parametrize("name", ["../../outside", "/outside", "a/../../outside", ""])
def test_a_version_that_names_files_outside_its_folder_is_refused_by_name(tmp_path: Path, name: str):
    package = write_package(tmp_path / "package")
    manifest = read_sealed(package / MANIFEST, "a manifest")
    manifest["files"] |= {name: {"bytes": 0, "sha256": ""}}
    write_sealed(package / MANIFEST, manifest)
    store, version = ModelStore(str(tmp_path / "store")), version_of(package)
    shutil.copytree(package, tmp_path / "store" / store.root / "versions" / version)
    says = f"{version}/manifest.json: names a file {name!r}, expected a name inside its folder"
    with pytest.raises(InputError, match=re.escape(says)):
        store.version(version)
    with pytest.raises(InputError, match=re.escape(f"names a file {name!r}")):
        load_model(package, check=False)


def test_promotions_and_back_again(place: str, tmp_path: Path):
    store, [first, second] = stored(place, tmp_path)
    assert read_champion(store).version is None
    with pytest.raises(InputError, match="no predecessor"):
        roll_back(store)
    promote(store, store.version(first), instead_of=read_champion(store), why="the first", by="run-1")
    champion = promote(store, store.version(second), instead_of=read_champion(store), why="better")
    assert (champion.version, [each.version for each in champion.earlier]) == (second, [first])
    assert [each.by for each in champion.earlier] == ["run-1"]
    champion = roll_back(store, why="wrong on shoes")
    assert champion == read_champion(store)
    assert champion.promotion
    assert champion.promotion.why == f"rolled back from {second}: wrong on shoes"
    assert (champion.version, champion.earlier) == (first, ())
    assert sorted(store.objects.names(store.root)) == ["champion.json", "versions"]


def test_who_read_an_older_champion_cannot_replace_the_newer_one(place: str, tmp_path: Path):
    store, [first, second] = stored(place, tmp_path)
    read = read_champion(store)
    promote(store, store.version(first), instead_of=read, why="", by="run-1")
    with pytest.raises(InputError, match=f"{second} is not promoted: run-1 made {first} champion at 20"):
        promote(store, store.version(second), instead_of=read, why="", by="run-2")
    assert read_champion(store).version == first


@pytest.mark.parametrize(("kind", "first_ever"), [("folder", True), ("s3", True), ("s3", False)])
def test_of_two_processes_that_promote_at_once_one_wins_and_the_other_says_so(
    kind: str, first_ever: bool, tmp_path: Path, request: pytest.FixtureRequest
):
    place = str(tmp_path / "store") if kind == "folder" else request.getfixturevalue("s3_store")
    store, [zero, *versions] = stored(place, tmp_path, 3)
    if not first_ever:
        promote(store, store.version(zero), instead_of=read_champion(store), why="the first")
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(2)
    outcomes = [tmp_path / version for version in versions]
    processes = [
        spawn.Process(target=promote_at_once, args=(place, version, barrier, outcome))
        for version, outcome in zip(versions, outcomes, strict=True)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
        assert process.exitcode == 0
    said = {version: outcome.read_text() for version, outcome in zip(versions, outcomes, strict=True)}
    winner = read_champion(store).version
    [loser] = set(versions) - {winner}
    assert said[winner or ""] == "promoted"
    assert f"{loser} is not promoted: run of {winner} made {winner} champion" in said[loser]


def test_an_object_is_replaced_only_while_it_is_what_was_read(place: str):
    objects = Objects(place)
    objects.check_conditions("models")
    objects.replace("models/one", b"1", ABSENT)
    content, tag = objects.tagged("models/one")
    assert content == b"1"
    with pytest.raises(Changed):
        objects.replace("models/one", b"2", ABSENT)
    objects.replace("models/one", b"2", tag)
    with pytest.raises(Changed):
        objects.replace("models/one", b"3", tag)
    with pytest.raises(Changed):
        objects.replace("models/another", b"3", tag)
    assert objects.read("models/one") == b"2"
    assert objects.names("models") == ["one"]


def test_a_store_that_ignores_conditions_is_refused(google_storage: GoogleStorage, tmp_path: Path):
    google_storage.keeps_conditions = False
    store, [version] = stored("gs://bucket/shop", tmp_path, 1)
    with pytest.raises(InputError, match=r"writes although a condition .* does not hold"):
        promote(store, store.version(version), instead_of=read_champion(store), why="")
    assert read_champion(store).version is None
    assert store.objects.names(store.root) == ["versions"]


def test_so_is_one_on_s3(s3_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store, [version] = stored(s3_store, tmp_path, 1)
    plain: Any = store.objects.files.pipe_file
    monkeypatch.setattr(store.objects.files, "pipe_file", lambda path, data, **_: plain(path, data))
    with pytest.raises(InputError, match="writes although a condition"):
        promote(store, store.version(version), instead_of=read_champion(store), why="")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "champion.json: not a JSON object"),
        ('{"format": 2}', "format 2, this release reads 1: use a later release"),
        ('{"format": 1, "champion": {"version": "1"}, "earlier": []}', "not the pointer to a champion"),
    ],
)
def test_a_pointer_that_cannot_be_read_is_refused_by_name(tmp_path: Path, content: str, message: str):
    store = ModelStore(str(tmp_path))
    path = tmp_path / store.root / "champion.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_champion(store)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("", "no store of models is named"),
        ("az://box/shop", "lies in a folder"),
        ("ftp://x", "cannot"),
    ],
)
def test_a_place_that_is_none_is_refused(place: str, message: str):
    with pytest.raises(InputError, match=message):
        ModelStore(place)


def test_another_user_can_lock_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mask = os.umask(0o077)
    try:
        Objects(str(tmp_path)).write("one", b"1")
    finally:
        os.umask(mask)
    assert (tmp_path / ".lock").stat().st_mode & 0o777 == 0o664
    plain = os.open

    def as_another(path: Any, flags: int, *mode: int, **options: Any) -> int:
        if str(path).endswith(".lock") and flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path, flags, *mode, **options)

    monkeypatch.setattr(os, "open", as_another)
    Objects(str(tmp_path)).write("one", b"2")
    assert (tmp_path / "one").read_bytes() == b"2"


def test_a_name_that_climbs_out_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"model '\.\./x'"):
        ModelStore(str(tmp_path), "../x")
