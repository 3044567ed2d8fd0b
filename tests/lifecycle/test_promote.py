"""Promote: every model is stored, the gate decides, the decision is kept, and one run alone promotes."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from sides import answers, probabilities
from small_package import write_package as write_small_package
from synthetic import draw_images, make_products

from components.core import artifacts
from components.core.artifacts import MANIFEST, sha256, write_json, write_manifest
from components.core.environment import RUN_ID_VARIABLE
from components.core.errors import InputError
from components.core.project import NAME
from components.core.stage import Result
from components.data.image_store import ImageStore, write_image_store
from components.data.prediction_files import DETAIL
from components.data.products import Products, read_products, write_products
from components.ensemble.package import MODEL, VALIDATION, content_digests
from components.ensemble.package import PRODUCTS as PRODUCTS_FILE
from components.lifecycle import promote as promote_module
from components.lifecycle.champion import promote, read_champion
from components.lifecycle.comparison import HELD_OUT, STORED, TRAIN_ONLY, TRAINED_ON, VOTE_SAW, read_side
from components.lifecycle.config import GateConfig
from components.lifecycle.promote import run_promote, score_by_package
from components.lifecycle.store import LAST, ModelStore

PRODUCTS = make_products(1500, 3)
LABELED: Any = PRODUCTS.table[PRODUCTS.table["split"] != "test"]
CONFIG = GateConfig(margin=0.02)


def write_package(folder: Path, right: float, table: Any = LABELED, *, day: int = 1) -> Path:
    """A package of a model that has so many of its validation products right."""
    classes = list(PRODUCTS.classes)
    write_json(folder / MODEL, {"classes": classes})
    found = table[["product_id", "code", "split", "group"]].assign(fold=0, content=content_digests(table))
    found.to_parquet(folder / PRODUCTS_FILE)
    labels = np.array([classes.index(code) for code in found.loc[found["split"] == "validation", "code"]])
    predicted = answers(labels, right, seed=day, classes=3)
    save_file({"pred_probs": probabilities(predicted, 3)}, folder / VALIDATION)
    write_manifest(
        folder, format=1, created=f"2026-01-{day:02d}T03:00:00+00:00", digests={"products": str(day)}
    )
    return folder


@dataclass(frozen=True)
class Task:
    """Where the task finds what it reads, and what it was asked for."""

    folder: Path
    store: str

    def run(self, package: Path, config: GateConfig = CONFIG, name: str = NAME) -> Result:
        return run_promote(
            package,
            self.folder / "products",
            self.folder / "images",
            self.folder / "predictions",
            store=self.store,
            name=name,
            config=config,
            seed=0,
            decision=self.decision_path,
            scorer=lambda package, products, images: self.score,
        )

    def score(self, ids: np.ndarray, folds: np.ndarray) -> np.ndarray:
        return probabilities(np.zeros(len(ids), np.int64), 3)

    @property
    def decision_path(self) -> Path:
        return self.folder / "decision.json"

    @property
    def decision(self) -> dict:
        return json.loads(self.decision_path.read_text())

    @property
    def models(self) -> ModelStore:
        return ModelStore(self.store)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    labeled = Products(LABELED, PRODUCTS.classes, {"class_names": {"10": "Chaises <b>"}})
    write_products(labeled, tmp_path / "products")
    validation = Products(LABELED[LABELED["split"] == "validation"], PRODUCTS.classes)
    write_image_store(tmp_path / "images", draw_images(validation))
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / DETAIL).write_text("product_id\tcode\tprobability\np1\t10\t0.9\n")
    return Task(tmp_path, str(tmp_path / "store"))


def test_the_first_model_becomes_champion_and_a_better_one_replaces_it(
    task: Task, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(RUN_ID_VARIABLE, "run-1")
    first = task.run(write_package(task.folder / "first", 0.8))
    assert first.metrics["promoted"] == 1
    assert task.decision["champion"] is None
    assert "There was no champion." in first.report
    second = task.run(write_package(task.folder / "second", 0.9, day=2))
    champion = read_champion(task.models)
    assert champion.version == task.decision["challenger"]
    assert champion.promotion
    assert (champion.promotion.by, champion.promotion.data_digests) == ("run-1", {"products": "2"})
    assert task.decision["scored"] == {STORED: 300}
    assert second.metrics["products_compared"] == 300
    assert second.metrics["macro_f1_difference"] > second.metrics["difference_low"] > 0
    assert task.models.read_json(f"decisions/{champion.version}.json") == task.decision
    kept = task.models.objects.read("runs/run-1/promote.json")
    assert kept is not None
    assert json.loads(kept) == task.decision
    assert task.models.objects.names(f"{task.models.root}/readers") == []
    # Names count seconds: of two within one, either may come first.
    assert champion.version in [version for _, _, version in task.models.predictions()]


def test_each_catalog_of_a_store_has_a_champion_of_its_own(task: Task):
    task.run(write_package(task.folder / "first", 0.8))
    task.run(write_package(task.folder / "other", 0.7, day=2), name="shoes")
    champions = [read_champion(ModelStore(task.store, name)).version for name in (NAME, "shoes")]
    assert None not in champions
    assert len({*champions}) == 2
    assert task.decision["champion"] is None


def test_a_worse_model_is_stored_and_not_promoted_and_the_report_shows_where_it_is_worse(task: Task):
    task.run(write_package(task.folder / "first", 0.9))
    result = task.run(write_package(task.folder / "second", 0.7, day=2))
    assert result.metrics["promoted"] == 0
    assert (len(task.models.versions()), len(task.models.predictions())) == (2, 1)
    assert read_champion(task.models).version == task.decision["champion"]
    assert "<title>Not promoted</title>" in result.report
    assert "Newly wrong: the champion had them right" in result.report
    assert result.report.count("data:image/jpeg") > 10
    assert "Chaises &lt;b&gt;" in result.report
    assert len(result.report.encode()) < 2 * 2**20


def test_what_the_champion_trained_on_is_left_out_and_what_is_new_is_scored_anew(task: Task):
    rows = LABELED.reset_index(drop=True)
    earlier = rows.copy()
    validation = rows.index[rows["split"] == "validation"]
    earlier.loc[validation[:20], "split"] = "train"
    task.run(write_package(task.folder / "first", 0.9, earlier.drop(validation[20:50])))
    task.run(write_package(task.folder / "second", 0.9, day=2))
    found = task.decision
    assert found["left_out"][TRAINED_ON] == 20
    assert sum(found["left_out"].values()) + sum(found["scored"].values()) == len(validation)
    assert found["scored"][TRAIN_ONLY] > 20


def test_a_retry_after_the_promotion_compares_nothing_and_writes_what_is_missing(
    task: Task, monkeypatch: pytest.MonkeyPatch
):
    package = write_package(task.folder / "first", 0.8)
    monkeypatch.setattr(promote_module, "_leave", lambda *_, **__: 1 / 0)  # the first attempt ends here
    with pytest.raises(ZeroDivisionError):
        task.run(package)
    monkeypatch.undo()
    assert task.models.predictions() == []
    again = task.run(package)
    assert again.metrics["promoted"] == 1
    assert "is the champion already, since 20" in again.report
    assert "There is no champion yet" in task.decision["why"]
    assert task.decision["compared"] == 0
    document = task.models.read_json(f"decisions/{task.decision['challenger']}.json")
    assert document == task.decision
    assert len(task.models.predictions()) == 1
    task.run(package)
    assert read_champion(task.models).earlier == ()
    assert task.models.read_json(f"decisions/{task.decision['challenger']}.json") == document


def test_a_run_that_was_overtaken_ends_with_a_message_and_its_model_is_stored(
    task: Task, monkeypatch: pytest.MonkeyPatch
):
    task.run(write_package(task.folder / "first", 0.8))
    store = task.models
    trained = store.read_json(LAST)
    other = store.add(write_package(task.folder / "other", 0.85, day=2))
    plain = promote_module.decide

    def decide_slowly(*arguments, **options):
        promote(store, store.version(other), instead_of=read_champion(store), why="faster", by="run-2")
        return plain(*arguments, **options)

    monkeypatch.setattr(promote_module, "decide", decide_slowly)
    with pytest.raises(InputError, match=f"is not promoted: run-2 made {other} champion"):
        task.run(write_package(task.folder / "third", 0.95, day=3))
    assert read_champion(store).version == other
    assert len(store.versions()) == 3
    kept = store.read_json(f"decisions/{task.decision['challenger']}.json")
    assert kept
    assert (kept["promote"], "run-2 made" in kept["why"]) == (False, True)
    assert store.read_json(LAST) == trained  # the gate refused nothing: the next run trains again


def test_a_package_scores_a_product_of_a_fold_as_it_did_out_of_fold(tmp_path: Path):
    package = write_small_package(tmp_path)
    side, products = read_side(package), read_products(tmp_path / "products")
    score = score_by_package(package, products.table, ImageStore(tmp_path / "images"))
    rows = side.validation
    held_out = score(rows["product_id"].to_numpy(dtype=object), rows["fold"].to_numpy(dtype=np.int64))
    np.testing.assert_allclose(held_out, side.pred_probs, atol=1e-5)


def changed_copy(package: Path, target: Path, *, contents: int = 0, select: str = "greedy") -> Path:
    """A package's copy in which the contents of some validation products and the vote's choice are others."""
    shutil.copytree(package, target)
    table: Any = pd.read_parquet(package / PRODUCTS_FILE)
    changed = table.index[table["split"] == "validation"][:contents]
    table.loc[changed, "content"] = [f"{target.name} {row}" for row in changed]
    table.to_parquet(target / PRODUCTS_FILE)
    document = json.loads((package / MODEL).read_text())
    document["vote"]["config"]["select"] = select
    write_json(target / MODEL, document)
    (target / MANIFEST).unlink()
    write_manifest(target, format=1, created=f"2026-02-01T03:00:{contents:02d}+00:00")
    return target


def test_real_packages_are_compared_and_what_changed_is_scored_by_what_did_not_see_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    package = write_small_package(tmp_path)
    plain = changed_copy(package, tmp_path / "plain", select="all")
    mended = changed_copy(package, tmp_path / "mended", contents=5)
    again = changed_copy(package, tmp_path / "again", contents=7)
    (tmp_path / "predictions").mkdir()
    given = [tmp_path / name for name in ("products", "images", "predictions")]
    options: Any = {"store": str(tmp_path / "store"), "config": GateConfig(), "seed": 0}
    decisions, hashed = [], []
    monkeypatch.setattr(artifacts, "sha256", lambda path: hashed.append(path) or sha256(path))
    for each in (plain, mended, again):
        result = run_promote(each, *given, decision=tmp_path / "decision.json", **options)
        decisions.append(json.loads((tmp_path / "decision.json").read_text()))
    assert result.metrics["promoted"] == 1
    assert result.metrics["macro_f1_difference"] == 0
    assert decisions[1]["scored"][HELD_OUT] == 5
    # The vote of the second champion chose its members on all of validation.
    assert decisions[2]["left_out"] == {VOTE_SAW: 7}
    assert HELD_OUT not in decisions[2]["scored"]
    fetched = [path for path in hashed if "champion" in path.parts and path.name != MANIFEST]
    assert len(fetched) == len({*fetched}) > 0
