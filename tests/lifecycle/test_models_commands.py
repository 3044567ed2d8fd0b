"""`pipeline.py models`: none of its commands needs a cluster, and none deletes what is needed."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from commands import command
from model_package import write_package

from components.lifecycle import retention
from components.lifecycle.champion import promote, read_champion
from components.lifecycle.config import DriftConfig
from components.lifecycle.drift import of_scores
from components.lifecycle.retention import prune, readers, reading
from components.lifecycle.store import ModelStore


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """Five versions; the first was champion, the second is."""
    store = ModelStore(str(tmp_path / "store"))
    versions = [store.add(write_package(tmp_path / f"package-{n}", n)) for n in range(1, 6)]
    for version in versions[:2]:
        promote(store, store.version(version), instead_of=read_champion(store), why="better", by="run-7")
    return store


def ids(store: ModelStore) -> list[str]:
    """The oldest first."""
    return [each.id for each in store.all_versions()][::-1]


def models(store: ModelStore, name: str, *arguments: object, status: int = 0) -> str:
    return command("models", name, "--store", store.objects.place, *arguments, status=status).output


def test_list_names_every_version_with_what_became_of_it(store: ModelStore):
    third = ids(store)[2]
    store.write_json(f"decisions/{third}.json", {"promote": False, "at": "2026-01-03", "why": "Worse."})
    lines = models(store, "list").splitlines()
    assert [line.split()[0] for line in lines] == ids(store)[::-1]
    assert "accuracy 0.9000 macro_f1 0.8500" in lines[0]
    assert lines[2].endswith("refused by the gate on 2026-01-03")
    assert "champion since 20" in lines[3]
    assert lines[4].endswith("predecessor")


def test_show_tells_all_of_one(store: ModelStore):
    first, second, *_ = ids(store)
    store.write_json(f"decisions/{second}.json", {"promote": True, "at": "2026-01-02", "why": "Better."})
    shown = models(store, "show", "champion")
    assert f"/versions/{second}" in shown
    assert "by run-7: better" in shown
    assert "gate, 2026-01-02: Better." in shown
    assert "was champion since" in models(store, "show", first[:8])


def test_promote_and_rollback_move_the_champion(store: ModelStore):
    first, second, third, *_ = ids(store)
    said = models(store, "promote", third[:6], "--why", "shoes")
    assert said.startswith(
        f"{third} is the champion, {second} its predecessor\nNo registry was given this: `models register`"
    )
    assert readers(store) == {}
    assert f"{third} is the champion already" in models(store, "promote", third, "--why", "x", status=2)
    assert models(store, "rollback").startswith(f"{second} is the champion again: rolled back from {third}")
    models(store, "rollback", "--why", "shoes again")
    assert read_champion(store).version == first
    assert "no predecessor to go back to" in models(store, "rollback", status=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "ffff"], "no version 'ffff': the newest are"),
        (["promote", "ffff", "--why", "x"], "no version 'ffff'"),
        (["prune", "--keep", "0"], "x>=1"),
    ],
)
def test_what_is_wrong_is_said_to_a_person(store: ModelStore, arguments: list[str], message: str):
    assert message in models(store, *arguments, status=2)


def test_an_empty_store_says_so(tmp_path: Path):
    empty = ModelStore(str(tmp_path))
    assert "holds no version yet" in models(empty, "list")
    assert "there is no champion yet" in models(empty, "show", "champion", status=2)
    assert "error: no store of models is named" in command("models", "list", "--store", "", status=2).output


def test_prune_says_what_it_would_delete_and_deletes_just_that(store: ModelStore):
    first, second, third, fourth, fifth = ids(store)
    with reading(store, third):
        said = models(store, "prune", "--keep", "1", "--dry-run").splitlines()
        assert [line.split()[0] for line in said if line.endswith("would be deleted")] == [fourth]
        assert said[-1].startswith("1 of 5 versions")
        assert ids(store) == [first, second, third, fourth, fifth]
        deleted = models(store, "prune", "--keep", "1")
        assert "kept: the champion's predecessor" in deleted
        assert "reads it since" in deleted
        assert ids(store) == [first, second, third, fifth]
    models(store, "prune", "--keep", "1")
    assert ids(store) == [first, second, fifth]
    assert set(store.objects.names(f"{store.root}/versions")) == {first, second, fifth}


def test_a_damaged_version_and_one_that_vanishes_stop_neither_list_nor_prune(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
):
    first, second, third, fourth, fifth = ids(store)
    store.objects.write(f"{store.root}/versions/{third}/manifest.json", b"{}")
    every = store.versions()
    monkeypatch.setattr(store, "versions", lambda: [*every, "f" * 16])
    assert [each.id for each in store.all_versions()] == [fifth, fourth, second, first, third]
    assert models(store, "list").splitlines()[-1].startswith(f"{third}  damaged: ")
    said = models(store, "prune", "--keep", "1")
    assert "kept: damaged: " in said
    assert "changed since it was written" in said
    monkeypatch.undo()
    assert sorted(store.versions()) == sorted([first, second, third, fifth])


def test_prune_deletes_what_was_not_stored_to_the_end_and_what_killed_readers_left_after_a_day(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
):
    names = [f"{store.root}/versions/{digit * 16}" for digit in "abc"]
    for name in names:
        store.objects.write(f"{name}/text/model.bin", b"1")
    store.write_json("readers/old-1.json", {"until": "2026-01-01T00:00:00+00:00"})
    store.write_json(f"readers/{'b' * 16}-1.json", {"until": "9999-01-01T00:00:00+00:00"})
    for name in names[:2]:
        os.utime(store.objects.path(f"{name}/text/model.bin"), (0, 0))
    prune(store, keep=5)
    left = set(store.objects.names(f"{store.root}/versions")) - set(store.versions())
    assert {each[0] for each in left} == {"b", "c"}
    assert store.objects.names(f"{store.root}/readers") == [f"{'b' * 16}-1.json"]


def test_a_version_that_is_stored_again_meanwhile_is_not_deleted(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
):
    third = ids(store)[2]
    version, plain = store.version(third), store.remove
    manifest = store.withdraw(version)

    def remove(given: str) -> bool:
        store.restore(version, manifest)
        return plain(given)

    store.restore(version, manifest)
    monkeypatch.setattr(store, "remove", remove)
    kept = {each.version.id: each.why for each in prune(store, keep=2)}
    assert kept[third] == "it was stored again just now"
    assert third in store.versions()


def test_a_reader_that_comes_while_prune_is_at_it_finds_a_whole_version(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    third, plain = ids(store)[2], store.withdraw
    entered = []

    def withdraw(version):
        entered.append(reading(store, version.id))
        entered[-1].__enter__()
        return plain(version)

    monkeypatch.setattr(store, "withdraw", withdraw)
    kept = {each.version.id: each.why for each in prune(store, keep=1)}
    assert "reads it since" in kept[third]
    store.fetch(store.version(third), tmp_path / "fetched")


def test_what_a_killed_reader_left_counts_for_a_day(store: ModelStore, monkeypatch: pytest.MonkeyPatch):
    third = ids(store)[2]
    monkeypatch.setattr(retention, "HOURS", -1)
    with reading(store, third):
        assert readers(store) == {}
    monkeypatch.setattr(retention, "HOURS", 24)
    with reading(store, third):
        assert list(readers(store)) == [third]


def detail(path: Path, *rows: tuple[str, str, float]) -> Path:
    lines = [
        "product_id\tcode\tclass_name\tprobability",
        *(f"{one}\t{code}\t\t{sure}" for one, code, sure in rows),
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_score_joins_kept_predictions_with_later_codes_by_week(store: ModelStore, tmp_path: Path):
    first, second, *_ = ids(store)
    weeks = [
        (datetime(2026, 1, 5, tzinfo=UTC), first, [("p1", "10", 0.9), ("p2", "10", 0.9)]),
        (datetime(2026, 1, 6, tzinfo=UTC), first, [("p2", "20", 0.5), ("p3", "20", 0.9), ("p4", "20", 0.9)]),
        (datetime(2026, 1, 12, tzinfo=UTC), second, [("p1", "10", 1.0), ("=1+1", "10", 0.4)]),
    ]
    for when, version, rows in weeks:
        store.keep_predictions(detail(tmp_path / "detail.tsv", *rows), version, when=when)
    labels = tmp_path / "new.tsv"
    labels.write_text("id\tcode\np1\t10\np2\t20\np3\t10\nunknown\t10\n")
    lines = models(store, "score", "--labels", labels, "--threshold", "0.6").splitlines()
    assert lines[1].split() == ["2026-W02", "4", "3", "66.7%", "0.5000", "0.4333", first]
    assert lines[2].split() == ["2026-W03", "2", "1", "100.0%", "1.0000", "0.0000", second]
    written = store.read_json("scores.json")
    assert written
    assert [week["accuracy"] for week in written["weeks"]] == [0.5, 1.0]
    labels.write_text("id\tcode\nother\t10\n")
    assert "none of its 1 products is among the 5" in models(store, "score", "--labels", labels, status=2)


@pytest.mark.parametrize(("wrong", "ends"), [(0, "97% promised"), (10, "the promise does not hold")])
def test_score_sets_what_was_checked_at_random_beside_the_promise(
    store: ModelStore, tmp_path: Path, wrong: int, ends: str
):
    threshold = {"probability": 0.9, "target": 0.97}
    package = write_package(tmp_path / "package", 9, threshold=threshold)
    lines = ["product_id\tcode\tprobability\tflag\tdecision"]
    lines += [f"p{n}\t10\t0.95\t\t{'review' if n < 40 else 'accept'}" for n in range(80)]
    lines += [f"q{n}\t10\t0.5\t\treview" for n in range(9)]
    (tmp_path / "detail.tsv").write_text("\n".join(lines) + "\n")
    store.keep_predictions(tmp_path / "detail.tsv", store.add(package))
    codes = [f"p{n}\t{20 if n < wrong else 10}" for n in range(40)] + [f"q{n}\t20" for n in range(9)]
    labels = tmp_path / "new.tsv"
    labels.write_text("id\tcode\n" + "\n".join(codes) + "\n")
    *_, last = models(store, "score", "--labels", labels).splitlines()
    assert "of 40 accepted products that were checked at random" in last
    assert f"{(40 - wrong) / 40:.1%} were right" in last
    assert last.endswith(ends)
    scores = store.read_json("scores.json")
    assert scores
    assert scores["weeks"][0]["broken"] == (wrong > 0)
    [measure] = of_scores(scores, DriftConfig())
    assert measure.beyond == (wrong > 0)
    labels.write_text("id\tcode\n" + "\n".join(codes[:30]) + "\n")  # no random sample of the 40 drawn
    assert "checked at random" not in models(store, "score", "--labels", labels)


def test_without_kept_predictions_score_says_so(store: ModelStore, tmp_path: Path):
    labels = detail(tmp_path / "labels.tsv", ("p1", "10", 1))
    said = models(store, "score", "--labels", labels, status=2)
    assert "kept there yet; a run with models_store keeps those of the champion" in said


def test_a_kept_file_that_is_none_is_refused_by_name(store: ModelStore, tmp_path: Path):
    path = tmp_path / "detail.tsv"
    path.write_text("product_id\tcode\np1\t10\n")
    name = store.keep_predictions(path, ids(store)[0])
    labels = tmp_path / "labels.tsv"
    labels.write_text("id\tcode\np1\t10\n")
    said = models(store, "score", "--labels", labels, status=2)
    assert f"{name}: not predictions with product_id, code, probability: it lacks 'probability'" in said


def test_prune_and_readers_on_every_kind_of_store(place: str, tmp_path: Path):
    store = ModelStore(place)
    old, read, new = (store.add(write_package(tmp_path / f"package-{n}", n)) for n in range(1, 4))
    store.objects.write(f"{store.root}/versions/{'a' * 16}/model.bin", b"1")
    assert store.objects.written(f"{store.root}/versions/{'a' * 16}")["model.bin"].tzinfo
    with reading(store, read) as version:
        assert {each.version.id for each in prune(store, keep=1) if not each.why} == {old}
        store.fetch(version, tmp_path / "fetched")
    assert readers(store) == {}
    assert sorted(store.versions()) == sorted([read, new])
