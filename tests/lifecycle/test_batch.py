"""The pipeline `predict`: the champion applied to a catalog in shards, or to what is new in it."""

import csv
import html
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from model_package import write_package as write_small_package
from small_package import KEPT, new_products
from tiny_catalog import jpeg

from components.core.artifacts import read_manifest, write_manifest
from components.core.errors import InputError
from components.data.prediction_files import DETAIL
from components.lifecycle.batch import mark
from components.lifecycle.batch.collect import run_collect
from components.lifecycle.batch.mark import Mark
from components.lifecycle.batch.plan import PredictionPlan, PredictionRequest, run_plan
from components.lifecycle.batch.shard import run_shard
from components.lifecycle.catalog import predict_catalog
from components.lifecycle.champion import promote, read_champion
from components.lifecycle.model import load_model
from components.lifecycle.objects import Objects
from components.lifecycle.retention import prune
from components.lifecycle.store import ModelStore, Version

COLUMNS = "product_id=sku,title=name,image=picture"
NOW = datetime(2026, 2, 2, 3, tzinfo=UTC)


def rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t"))


@dataclass
class Shop:
    """A store with a champion, a catalog with dates and pictures, and an output."""

    folder: Path
    dates: list[str]
    reports: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "pictures").mkdir()
        store, package = self.store, self.folder / "package"
        shutil.copytree(KEPT, package)
        described = {key: each for key, each in read_manifest(KEPT).items() if key != "files"}
        write_manifest(package, **{**described, "created": "2025-12-01T03:00:00+00:00"})
        promote(store, store.version(store.add(package)), instead_of=read_champion(store), why="the first")
        self.place = str(self.output)
        self.titles = list(new_products().table["title"])
        for number in range(1, len(self.titles)):  # the first product has none
            (self.folder / "pictures" / f"p{number}.jpg").write_bytes(jpeg((number, 9, 9)))
        self.write()

    @property
    def store(self) -> ModelStore:
        return ModelStore(str(self.folder / "store"))

    @property
    def output(self) -> Path:
        return self.folder / "output"

    def write(self) -> None:
        """Writes as many products as there are dates."""
        lines = [
            f"p{number}\t{self.titles[number % len(self.titles)]}\tp{number}.jpg\t{date}"
            for number, date in enumerate(self.dates)
        ]
        header = "sku\tname\tpicture\tadded"
        (self.folder / "shop.tsv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")

    def plan(self, name: str = "run", size: int = 100, since: str = "") -> tuple[Path, PredictionPlan]:
        """Plans a run into a folder of its name."""
        asked = PredictionRequest(
            catalog_products=str(self.folder / "shop.tsv"),
            catalog_columns=COLUMNS,
            catalog_date_column="added" if since else "",
            catalog_since=since,
            models_store=str(self.folder / "store"),
            models_name=self.store.name,
            predict_output=self.place,
            predict_shard_size=size,
        )
        run = self.folder / name
        plan, networks = run_plan(asked, ensemble_model=run / "model", new_products=run / "new")
        assert not networks
        return run, plan

    def predict(self, run: Path, plan: PredictionPlan) -> list[Path]:
        """Predicts the shards of a run, the last one first."""
        shards = [run / f"shard-{number}" for number in reversed(range(plan.shards))]
        for number, shard in zip(reversed(range(plan.shards)), shards, strict=True):
            given: dict[str, Any] = {"device": "cpu", "predictions": shard}
            run_shard(run / "model", run / "new", number, str(self.folder / "pictures"), **given)
        return shards

    def collect(self, run: Path, shards: list[Path]) -> dict[str, float]:
        given = {"store": self.store.objects.place, "name": self.store.name, "output": self.place}
        result = run_collect(run / "model", run / "new", shards, **given, predictions=run / "predictions")
        assert "<html" in result.report
        self.reports.append(html.unescape(result.report))
        return dict(result.metrics)

    def run(self, name: str = "run", size: int = 100, since: str = "") -> dict[str, float]:
        run, plan = self.plan(name, size, since)
        return self.collect(run, self.predict(run, plan))

    def written(self) -> dict[str, list[str]]:
        """Number of a folder of the output, which no two share -> ids of its products."""
        found = sorted(self.output.glob("*/predictions_detail.tsv"))
        written = {path.parent.name.partition("-")[0]: [row[0] for row in rows(path)[1:]] for path in found}
        assert len(written) == len(found)
        return written

    def kept(self) -> list[str]:
        """Ids of the predictions that the store keeps, as often as it keeps them."""
        return sorted(
            line.split("\t")[0]
            for name, _, _ in self.store.predictions()
            for line in (self.store.objects.read(f"{self.store.root}/predictions/{name}") or b"")
            .decode()
            .splitlines()[1:]
        )


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    class Clock(datetime):
        moments = iter(NOW + timedelta(days=7 * week) for week in range(99))

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return next(cls.moments)

    monkeypatch.setattr("components.lifecycle.batch.plan.datetime", Clock)
    return Shop(tmp_path, [f"2026-01-{day:02d}" for day in range(20, 27)])


def test_one_two_and_seven_shards_answer_alike_and_as_the_command_does(shop: Shop):
    metrics = [shop.run(f"of {size}", size) for size in (7, 4, 1)]
    assert [each.pop("shards") for each in metrics] == [1, 2, 7]
    assert metrics[0] == metrics[1] == metrics[2]
    assert metrics[0]["products"] == 7
    assert metrics[0]["without_image"] == 1
    told = [re.findall(r"the last run's new products: (.*), by", report) for report in shop.reports]
    assert told == [[], ["7 products on 2026-02-02"], ["7 products on 2026-02-09"]]
    files = ["predictions.tsv", "predictions_detail.tsv", "quarantine.tsv"]
    every = [[(folder / file).read_bytes() for file in files] for folder in sorted(shop.output.iterdir())]
    assert every[0] == every[1] == every[2]
    model = load_model(KEPT, device="cpu")
    whole = shop.folder / "whole.tsv"
    given = (str(shop.folder / "shop.tsv"), str(shop.folder / "pictures"), whole)
    predict_catalog(model, *given, columns=COLUMNS)
    named = ("whole.tsv", "whole_detail.tsv", "whole_quarantine.tsv")
    assert [(shop.folder / name).read_bytes() for name in named] == every[0]


def test_prune_leaves_what_a_run_copies_and_the_run_needs_it_no_more(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    store, copy = shop.store, ModelStore.fetch
    [first] = store.versions()

    def fetch(self: ModelStore, version: Version, folder: Path) -> Path:
        for number in (1, 2, 3):
            later = store.version(store.add(write_small_package(shop.folder / f"package-{number}", number)))
            promote(store, later, instead_of=read_champion(store), why="later")
        assert first in [each.version.id for each in prune(store, keep=1) if "reads it since" in each.why]
        return copy(self, version, folder)

    monkeypatch.setattr(ModelStore, "fetch", fetch)
    run, plan = shop.plan()
    assert first in [each.version.id for each in prune(store, keep=1) if not each.why]
    assert shop.collect(run, shop.predict(run, plan))["products"] == 7
    assert json.loads((run / "predictions" / "manifest.json").read_text())["model"] == first


def test_since_a_date_what_is_older_is_left_alone(shop: Shop):
    shop.run(since="2026-01-25")
    assert list(shop.written().values()) == [["p5", "p6"]]
    assert not (shop.output / mark.MARK).exists()


def test_since_the_last_run_every_product_is_predicted_once(shop: Shop):
    assert shop.run("1", since="last-run")["products"] == 7
    shop.dates[3] = "2026-02-01"  # changed since
    shop.dates += ["2026-01-26", "2026-01-10", "2026-02-03T12:00:00+01:00", "2062-01-01"]
    shop.write()
    shop.run("2", since="last-run")
    assert shop.run("3", since="last-run") == {
        "products": 0,
        "left_out": 0,
        "without_image": 0,
        "mean_probability": 0,
        "shards": 1,
    }
    shop.dates.append("2026-02-10")
    shop.write()
    shop.run("4", since="last-run")
    assert shop.written() == {
        "000001": [f"p{number}" for number in range(7)],
        "000002": ["p3", "p7", "p8", "p9", "p10"],
        "000003": ["p11"],
    }
    assert len(shop.kept()) == 13


def test_what_a_run_that_was_cut_off_predicted_is_predicted_by_the_next_one_alone(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    run, plan = shop.plan("1", since="last-run")
    shards = shop.predict(run, plan)
    plain = mark.Mark.finished

    def die(*_: object) -> Mark:
        raise KeyboardInterrupt

    monkeypatch.setattr(mark.Mark, "finished", die)
    for _ in range(2):  # the second attempt of a task that was killed
        with pytest.raises(KeyboardInterrupt):
            shop.collect(run, shards)
    assert len(shop.kept()) == 7
    shop.dates.append("2026-01-27")
    shop.write()
    monkeypatch.setattr(mark.Mark, "finished", plain)
    shop.run("2", since="last-run")
    assert shop.written() == {"000001": [f"p{number}" for number in range(8)]}
    assert shop.kept() == [f"p{number}" for number in range(8)]
    assert shop.run("3", since="last-run")["products"] == 0


def test_an_attempt_after_everything_was_written_changes_nothing(shop: Shop):
    run, plan = shop.plan(since="last-run")
    shards = shop.predict(run, plan)
    shop.collect(run, shards)
    before = {path: path.stat().st_mtime_ns for path in shop.output.rglob("*")}
    shop.collect(run, shards)
    assert {path: path.stat().st_mtime_ns for path in shop.output.rglob("*")} == before
    assert len(shop.kept()) == 7


def test_of_two_runs_at_once_one_writes_and_the_other_says_why_it_does_not(shop: Shop):
    (first, plan), (second, other) = (shop.plan(name, since="last-run") for name in ("1", "2"))
    late = shop.predict(second, other)
    shop.collect(first, shop.predict(first, plan))
    [manifest] = shop.output.glob("*/manifest.json")
    written = manifest.read_bytes()
    with pytest.raises(InputError, match="another run predicts what is new, or has predicted it"):
        shop.collect(second, late)
    assert [each.read_bytes() for each in shop.output.glob("*/manifest.json")] == [written]
    assert len(shop.kept()) == 7


def test_a_slow_run_that_a_later_one_took_for_cut_off_mixes_with_it_nowhere(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    run, plan = shop.plan("slow", since="last-run")
    shards, plain = shop.predict(run, plan), ModelStore.keep_predictions

    def keep_slowly(self: ModelStore, *arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(ModelStore, "keep_predictions", plain)
        shop.dates.append("2026-01-27")
        shop.write()
        shop.run("later", since="last-run")
        return plain(self, *arguments, **options)

    monkeypatch.setattr(ModelStore, "keep_predictions", keep_slowly)
    with pytest.raises(InputError, match="another run predicts what is new, or has predicted it"):
        shop.collect(run, shards)
    assert shop.written() == {"000001": [f"p{number}" for number in range(8)]}
    assert shop.kept() == [f"p{number}" for number in range(8)]


def test_every_kind_of_store_takes_the_predictions_once_and_keeps_the_mark(shop: Shop, place: str):
    shop.place = place = f"{place}/predicted"
    for name in ("1", "2"):
        shop.run(name, since="last-run")
    output = Objects(place)
    folder, marked = output.names("")
    assert (folder[:7], marked) == ("000001-", mark.MARK)
    assert output.names(folder) == ["manifest.json", "predictions.tsv", DETAIL, "quarantine.tsv"]
    assert output.read(f"{folder}/{DETAIL}") == (shop.folder / "1" / "predictions" / DETAIL).read_bytes()


def damage_mark(shop: Shop) -> None:
    (shop.output).mkdir()
    (shop.output / mark.MARK).write_text(json.dumps({"format": 1, "column": "changed"}))


def no_champion(shop: Shop) -> None:
    (shop.folder / "store" / "models" / shop.store.name / "champion.json").unlink()


def no_date(shop: Shop) -> None:
    shop.dates[2] = "26/01/2026"
    shop.write()


@pytest.mark.parametrize(
    ("spoil", "since", "message"),
    [
        (damage_mark, "last-run", "by the column 'changed', this run by 'added'"),
        (no_champion, "", "no champion to predict with"),
        (no_date, "last-run", "bad_date: added is '26/01/2026': expected a date as 2026-01-31"),
    ],
    ids=["another column", "no champion", "no date"],
)
def test_what_cannot_be_planned_is_said(shop: Shop, spoil: Callable[[Shop], None], since: str, message: str):
    spoil(shop)
    with pytest.raises(InputError, match=message):
        shop.plan(since=since)


def test_a_missing_shard_and_one_of_another_run_are_refused(shop: Shop):
    run, plan = shop.plan("1", size=4)
    shards = shop.predict(run, plan)
    with pytest.raises(InputError, match=r"the shards \[1\] are not the 2 of this run"):
        shop.collect(run, shards[:1])
    other, plan = shop.plan("2", size=4)
    with pytest.raises(InputError, match="are not the 2 of this run"):
        shop.collect(run, [shards[0], shop.predict(other, plan)[1]])
    assert not shop.output.exists()
