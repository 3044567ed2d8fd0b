"""The monitor: what changed since the champion was trained, and whether a run trains."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sides import probabilities
from small_package import KEPT, new_products
from synthetic import part
from weeks import Shop, usual, write_images

from components import load_model
from components.core.environment import RUN_ID_VARIABLE
from components.core.errors import InputError
from components.core.reading import read_json
from components.data.decisions import KEEP
from components.data.image_store import ImageStore
from components.data.prediction_files import DETAIL, QUEUE, read_cells
from components.data.products import Products
from components.lifecycle import monitor
from components.lifecycle.champion import roll_back
from components.lifecycle.config import DriftConfig, GateConfig
from components.lifecycle.drift import CLASSES
from components.lifecycle.run import predict_by_package
from components.lifecycle.run_record import left
from components.lifecycle.store import LAST
from components.preprocess.profile import profile
from components.preprocess.training_digest import settings_digest, training_digest


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture
def shop(tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setenv(RUN_ID_VARIABLE, "run-1")
    monkeypatch.setattr(profile, "SAMPLED_IMAGES", 20)
    return Shop(tmp_path, images)


def changed(products: Products, **columns: Any) -> Products:
    return replace(products, table=products.table.assign(**columns))


def drifted(plan: dict[str, Any]) -> set[tuple[str, str]]:
    return {(each["part"], each["aspect"]) for each in plan["drift"]}


def test_the_first_week_trains_and_has_nothing_to_compare_with(shop: Shop):
    week = shop.week()
    assert (week.plan["training"], week.plan["champion"], week.plan["drift"]) == ("train", None, [])
    assert week.result.metrics == {"training": 1, "skipped": 0, "drift": 0, "products_predicted": 0}
    assert "no champion and no earlier profile" in week.result.report
    assert "aspects compared" not in week.result.report
    assert left(shop.models.objects, "monitor") == week.plan


def test_an_unchanged_catalog_is_not_trained_again_in_whatever_order_it_comes(shop: Shop):
    version = shop.train(shop.week())
    products = usual()
    table = products.table.sample(frac=1, random_state=0).reset_index(drop=True)
    shuffled = replace(products, table=table.assign(group=pd.factorize(table["group"])[0]))
    week = shop.week(shuffled)
    assert week.plan["training"] == "skip"
    assert week.plan["why"].startswith(f"unchanged since version {version}, the champion since 20")
    assert f"The champion, version {version}, predicted 80 new products" in week.plan["why"]
    assert week.plan["drift"] == []
    assert week.result.metrics["skipped"] == 1
    assert [kept for _, _, kept in shop.models.predictions()] == [version]


def test_what_the_last_run_predicted_is_handed_on_and_never_this_runs_own(shop: Shop):
    def handed_on() -> dict[str, Any]:
        return read_json(shop.folder / "last_run", "the last run")

    version = shop.train(shop.week())
    shop.week()  # the champion's first predictions
    assert handed_on() == {"day": "", "version": "", "classes": {}}
    codes = Counter(read_cells(shop.folder / "predictions" / DETAIL)["code"])
    shop.week()
    assert (handed_on()["version"], handed_on()["classes"]) == (version, codes)
    for name, _, _ in shop.models.predictions():
        (shop.folder / "store" / shop.models.root / "predictions" / name).write_text("product_id\n1\n")
    shop.week()
    assert handed_on()["classes"] == {}


def test_a_refused_challenger_is_not_trained_again_and_its_date_is_named(shop: Shop):
    shop.train(shop.week())
    products = usual()
    grown = changed(products, title=products.table["title"] + " neuf")
    refused = shop.train(shop.week(grown), grown, promoted=False, day=9)
    week = shop.week(grown)
    assert week.plan["training"] == "skip"
    assert week.plan["why"].startswith(
        f"unchanged since version {refused}, and refused by the gate on 2026-01-09. The champion"
    )


def test_a_refused_challenger_is_trained_again_for_another_gate(shop: Shop):
    shop.train(shop.week(), promoted=False)
    assert shop.week().plan["training"] == "skip"
    last = shop.models.read_json(LAST) or {}
    shop.models.write_json(LAST, {**last, "gate": GateConfig(margin=0.5).model_dump()})
    assert shop.week().plan["training"] == "train"
    assert shop.week(gate=GateConfig(margin=0.5)).plan["training"] == "skip"


def test_a_champion_whose_profile_has_another_format_is_said_to_be_no_baseline(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    shop.train(shop.week())
    monkeypatch.setattr(monitor, "FORMAT", "later")
    assert "reads &#39;later&#39;: drift of the catalog is not looked for" in shop.week().result.report


def test_new_products_alone_train_nothing_and_are_predicted_by_the_champion(shop: Shop):
    shop.train(shop.week())
    products = usual()
    new = products.table["split"] == "test"
    others = products.table["title"].where(~new, products.table["title"] + " autre")
    week = shop.week(changed(products, title=others))
    assert (week.plan["training"], week.plan["predicted"]) == ("skip", 80)


def test_without_a_champion_a_skipped_week_says_how_to_get_one(shop: Shop):
    shop.train(shop.week(), promoted=False)
    assert "There is no champion" in shop.week().plan["why"]


def test_a_champion_that_was_rolled_back_is_not_trained_again(shop: Shop):
    shop.train(shop.week())
    products = usual()
    other = changed(products, description="autre")
    shop.train(shop.week(other), other, day=2)
    roll_back(shop.models)
    assert "which is not the champion any more" in shop.week(other).plan["why"]


@pytest.mark.parametrize("what", ["title", "description", "code", "split", "image"])
def test_any_change_of_the_labeled_products_changes_the_digest(what: str):
    products = part(usual(), test=False)
    column = products.table[what].tolist()
    column[0] = "another"
    assert training_digest(changed(products, **{what: column}), "") != training_digest(products, "")
    assert training_digest(products, "other settings") != training_digest(products, "")
    named = replace(products, metadata={**products.metadata, "class_names": {"10": "Books"}})
    assert training_digest(named, "") != training_digest(products, "")


def test_a_label_that_a_person_kept_changes_the_digest_and_so_does_a_changed_group():
    products = part(usual(), test=False)
    decision = {"product_id": products.ids[0], "choice": KEEP, "code": "", "given": "10"}
    kept = replace(products, metadata={**products.metadata, "decisions": [decision]})
    groups = products.table["group"].tolist()
    assert groups.count(groups[0]) > 1
    alone = [max(groups) + 1, *groups[1:]]
    digests = [training_digest(each, "") for each in (products, kept, changed(products, group=alone))]
    assert len({*digests}) == 3


SETTINGS = {"seed": 0, "images": "registry/<stage>:1", "text_configs": [{"name": "small", "epochs": 3}]}


@pytest.mark.parametrize(
    "other",
    [{"seed": 1}, {"images": "registry/<stage>:2"}, {"text_configs": [{"name": "small", "epochs": 4}]}],
    ids=["seed", "tag", "configuration"],
)
def test_other_settings_have_another_digest_and_the_same_ones_as_a_server_passes_them_have_not(
    other: dict[str, Any],
):
    assert settings_digest({**SETTINGS, **other}) != settings_digest(SETTINGS)
    floats = {**SETTINGS, "seed": 0.0, "text_configs": [{"epochs": 3.0, "name": "small"}]}
    assert settings_digest(floats) == settings_digest(SETTINGS)


def test_weights_and_a_list_of_products_count_by_their_content(tmp_path: Path):
    weights, keep = tmp_path / "weights", tmp_path / "keep.txt"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"1")
    keep.write_text("p1")
    candidate = {"kind": "best_of", "candidates": [{"weights": str(weights)}]}
    settings = {"image_configs": [candidate], "denoise_keep_ids": str(keep)}
    digests = [settings_digest(settings)]
    (weights / "model.safetensors").write_bytes(b"2")
    digests.append(settings_digest(settings))
    keep.write_text("p2")
    digests.append(settings_digest(settings))
    assert len({*digests}) == 3


@pytest.mark.parametrize(
    "asked", [{"settings_digest": "others"}, {"retrain": True}], ids=["settings", "retrain"]
)
def test_other_settings_are_trained_and_so_is_what_is_asked_for(shop: Shop, asked: dict[str, Any]):
    shop.train(shop.week())
    assert shop.week(**asked).plan["training"] == "train"


def test_a_class_that_vanishes_is_drift(shop: Shop):
    shop.train(shop.week())
    products = usual()
    gone: Any = products.table[products.table["code"] != "40"].reset_index(drop=True)
    week = shop.week(Products(gone, ("10", "20", "30"), products.metadata))
    assert {("labeled products", CLASSES), ("labeled products", "class shares")} <= drifted(week.plan)
    assert week.plan["training"] == "train"
    assert "gone 40" in week.result.report
    assert week.result.metrics["drift"] >= 2
    assert week.result.metrics["changed_classes"] == 1


def test_a_flood_of_another_language_is_drift(shop: Shop):
    shop.train(shop.week())
    products = usual()
    new = products.table["split"] == "test"
    german = "Der Tisch und die Lampe mit dem Licht"
    week = shop.week(changed(products, title=products.table["title"].where(~new, german)))
    assert ("new products", "languages") in drifted(week.plan)
    assert "German" in week.result.report


def test_half_of_the_pictures_missing_is_drift(shop: Shop):
    shop.train(shop.week())
    products = usual()
    image = products.table["image"].where(np.arange(400) % 2 == 0, None)
    week = shop.week(changed(products, image=image))
    parts = ("new products", "labeled products")
    assert drifted(week.plan) == {(each, "missing pictures") for each in parts}
    assert week.result.metrics["new_distance"] == pytest.approx(0.5, abs=0.05)


def test_the_champions_answers_drift_where_it_names_other_classes_and_is_less_sure(shop: Shop):
    shop.train(shop.week())
    answers = probabilities(np.zeros(80, np.int64), 4)
    answers[:, 0], answers[:, 1] = 0.4, 0.3333
    shop.said = answers
    week = shop.week()
    answered = "the champion's answers"
    assert drifted(week.plan) == {(answered, "predicted classes"), (answered, "confidence")}
    assert week.plan["training"] == "skip"
    assert week.result.metrics["confidence"] == pytest.approx(0.2, abs=0.01)


def test_known_codes_below_the_floor_are_drift_by_the_latest_week(shop: Shop):
    shop.train(shop.week())
    known = [("2026-W04", 0.95, 300), ("2026-W05", 0.81, 200), ("2026-W06", None, 0)]
    weeks = [dict(zip(("week", "accuracy", "known"), each, strict=True)) for each in known]
    shop.models.write_json("scores.json", {"weeks": weeks})
    assert shop.week().plan["drift"] == []
    plan = shop.week(config=DriftConfig(min_accuracy=0.9)).plan
    assert drifted(plan) == {("known codes", "accuracy")}
    assert "81.0 % of 200 products of 2026-W05 were right" in plan["drift"][0]["text"]
    assert shop.week(config=DriftConfig(min_accuracy=0.8)).plan["drift"] == []


def test_drift_stops_a_run_where_it_is_to_and_training_can_be_forced(shop: Shop):
    shop.train(shop.week())
    products = usual()
    half = changed(products, image=products.table["image"].where(np.arange(400) % 2 == 0, None))
    config = DriftConfig(on_drift="stop")
    week = shop.week(half, config)
    assert week.plan["training"] == "stop"
    assert "missing pictures of labeled products" in week.plan["why"]
    assert "Stopped before training" in week.result.report
    assert shop.week(half, config, retrain=True).plan["training"] == "train"
    assert shop.week(half, DriftConfig(on_drift="stop", missing=0.6)).plan["training"] == "train"


def test_a_named_profile_takes_the_champions_place_with_or_without_a_store(shop: Shop):
    shop.train(shop.week())
    earlier = shop.folder / "earlier.json"
    earlier.write_bytes((shop.folder / "profile").read_bytes())
    products = usual()
    half = changed(products, image=products.table["image"].where(np.arange(400) % 2 == 0, None))
    for store in (shop.store, ""):
        plan = shop.week(half, store=store, earlier_profile=str(earlier)).plan
        assert ("labeled products", "missing pictures") in drifted(plan)
    with pytest.raises(InputError, match="no such file"):
        shop.week(store="", earlier_profile=str(shop.folder / "gone.json"))


def test_a_week_without_new_products_reads_of_the_champion_its_profile_alone(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    shop.train(shop.week())
    monkeypatch.setattr(type(shop.models), "fetch", lambda *_: 1 / 0)
    products = usual()
    labeled = replace(products, table=part(products, test=False).table)
    week = shop.week(labeled)
    assert (week.plan["training"], week.plan["predicted"]) == ("skip", 0)
    assert "There are no new products" in week.plan["why"]


def test_a_package_predicts_new_products_and_leaves_codes_detail_and_what_to_look_at(
    tmp_path: Path, images: Path
):
    new, folder = new_products(), tmp_path / "predictions"
    folder.mkdir()
    pred_probs = predict_by_package(KEPT, new, ImageStore(images, check=False), folder)
    np.testing.assert_allclose(pred_probs, load_model(KEPT).predict(new.table).pred_probs, atol=1e-6)
    assert {DETAIL, QUEUE, "predictions.tsv"} <= {path.name for path in folder.iterdir()}
