"""A model package: read strictly, by every later release, and the same answers as the run gave."""

import html
import json
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from small_package import CALIBRATION, KEPT, PACKAGES, new_products, with_document, write_package

from components import load_model
from components.core.artifacts import read_sealed, write_json, write_sealed
from components.core.errors import InputError
from components.data.features import SVD
from components.data.image_store import ImageStore
from components.data.prediction_files import DETAIL
from components.data.probabilities import read_classifier
from components.data.products import read_products, write_products
from components.ensemble.confidence_report import UNCALIBRATED
from components.ensemble.package import FORMAT
from components.evaluate.evaluation import read_predictions
from components.lifecycle.model import _Answers
from components.lifecycle.run import run_predict
from components.lifecycle.store import ModelStore
from components.modeling.calibration import calibrator_of
from components.modeling.trained import Predicted

DAMAGES = 300  # flipped bytes


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run; its package is `model`."""
    return write_package(tmp_path_factory.mktemp("run")).parent


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(KEPT, tmp_path / "model"))


@pytest.mark.parametrize(("number", "version"), [(1, "17ccc53c36d4c838"), (FORMAT, "81a234952ccfc52a")])
def test_the_package_of_a_format_says_what_it_said_when_it_was_made(number: int, version: str):
    folder = PACKAGES / f"format-{number}"
    kept = json.loads(folder.with_suffix(".json").read_text(encoding="utf-8"))
    model = load_model(folder, device="cpu")
    assert model.version == version
    answers = model.predict(new_products().table)
    assert answers.codes.tolist() == kept["codes"]
    np.testing.assert_allclose(answers.pred_probs[0], kept["first"], atol=1e-5)


def test_it_holds_what_the_vote_weighs_and_what_that_reads_alone(run: Path):
    model = load_model(run / "model")
    assert {path.name for path in (run / "model").iterdir()} == {
        *("manifest.json", "model.json", "profile.json", "products.parquet", "validation.safetensors"),
        *("text", "fusion"),
    }
    assert [entry["weight"] for entry in model.members] == [1.0]
    assert [entry["name"] for entry in model.classifiers] == model.members[0]["inputs"]
    assert model.document["calibration"] == read_classifier(run / "ensemble").metadata["calibration"]
    assert model.threshold["probability"] is None  # 18 products support no target of 97 %
    assert model.threshold["highest"]["corrected_low"] > 0.5


def test_features_that_nothing_reads_stay_behind(run: Path):
    assert (run / "words-model" / SVD).is_file()
    assert not list((run / "model").rglob(SVD))


def test_equal_models_are_one_version_whenever_they_were_trained(run: Path, tmp_path: Path):
    first = read_sealed(run / "model" / "manifest.json", "a manifest")
    again = {**first, "created": "2030-01-01T00:00:00+00:00", "code": "later", "version": "9.0"}
    store, versions = ModelStore(str(tmp_path / "store")), []
    for number, manifest in enumerate((first, again, {**again, "digests": {"products": "other"}})):
        folder = Path(shutil.copytree(run / "model", tmp_path / str(number)))
        write_sealed(folder / "manifest.json", manifest)
        versions.append(store.add(folder))
    assert versions[0] == versions[1] != versions[2]
    assert store.version(versions[0]).created == first["created"]


def test_its_products_know_the_fold_that_fusion_left_them_out_of(run: Path):
    table = pd.read_parquet(run / "model" / "products.parquet")
    labeled = read_products(run / "products").table
    assert table["product_id"].tolist() == labeled["product_id"].tolist()
    validation = table["split"] == "validation"
    assert set(table.loc[validation, "fold"]) == {0, 1, 2}
    assert table.loc[~validation, "fold"].isna().all()
    assert table["content"].str.fullmatch("[0-9a-f]{64}").all()


def test_refits_predict_new_products_and_what_was_fitted_on_train_alone_validation(run: Path):
    model, table = load_model(run / "model"), new_products().table
    refit, train = (model.predict(table, refit=each).classifiers for each in (True, False))
    assert any((refit[name] != train[name]).any() for name in refit)
    products = read_products(run / "products")
    rows = products.rows("validation")
    packed = pd.read_parquet(run / "model" / "products.parquet")
    folds = packed["fold"].fillna(-1).to_numpy(np.int64)[rows]
    again = model.predict(products.table.iloc[rows], refit=False, folds=folds)
    [member] = again.members.values()
    [voted] = read_classifier(run / "ensemble").matrices[UNCALIBRATED].values()
    np.testing.assert_allclose(member, voted.pred_probs, atol=1e-5)
    kept = load_file(run / "model" / "validation.safetensors")["pred_probs"]
    np.testing.assert_array_equal(kept.argmax(axis=1), voted.pred_probs.argmax(axis=1))


def test_the_calibration_of_the_package_is_applied_and_changes_no_code(run: Path, tmp_path: Path):
    table = new_products().table
    plain = load_model(run / "model").predict(table)
    copied = Path(shutil.copytree(run / "model", tmp_path / "model"))
    calibrated = load_model(with_document(copied, calibration=CALIBRATION)).predict(table)
    assert calibrated.codes.tolist() == plain.codes.tolist()
    np.testing.assert_allclose(
        calibrated.pred_probs, calibrator_of(CALIBRATION, where="")(plain.pred_probs), atol=1e-6
    )
    assert not np.allclose(calibrated.pred_probs, plain.pred_probs, atol=0.01)


@pytest.mark.parametrize(("kept", "passes"), [("encoder", [True]), ("network", [True, False])])
def test_a_frozen_encoder_is_run_once_for_a_refit_and_for_who_reads_features(
    tmp_path: Path, kept: str, passes: list[bool]
):
    (tmp_path / "text" / "a" / kept).mkdir(parents=True)
    seen: list[bool] = []

    def predict(table: pd.DataFrame, refit: bool) -> Predicted:
        seen.append(refit)
        return Predicted(np.eye(2), np.eye(2))

    of_a = {refit: SimpleNamespace(predict=partial(predict, refit=refit)) for refit in (True, False)}
    fused = SimpleNamespace(inputs=["a"], predict=lambda table, store, known: Predicted(known["a"]))
    package: Any = SimpleNamespace(
        folder=tmp_path,
        classifiers=[{"name": "a", "modality": "text", "folder": "text/a"}],
        load=lambda modality, folder, refit: of_a[refit] if modality == "text" else fused,
    )
    store: Any = None
    answers = _Answers(package, pd.DataFrame({"image": ["", ""]}), store, True)
    answers.classifier("a")
    answers.member({"name": "concat", "folder": "feature_level/concat"}, None)
    assert seen == passes


def test_a_missing_text_is_an_empty_one(run: Path):
    table = pd.DataFrame({"title": pd.array(["roman", None], dtype="string"), "description": [np.nan, "x"]})
    assert load_model(run / "model").predict(table).codes[0] == "10"


def test_an_unknown_device_is_refused(run: Path):
    with pytest.raises(InputError, match="device 'cuda': expected auto or cpu"):
        load_model(run / "model", device="cuda")  # pyright: ignore[reportArgumentType]


def test_a_table_of_titles_is_enough(run: Path):
    answers = load_model(run / "model").predict(pd.DataFrame({"title": ["<b>Piscine</b> filtre", "roman"]}))
    assert answers.codes.tolist() == ["20", "10"]
    assert answers.names.tolist() == ["", "Livres"]
    assert answers.ids.tolist() == ["0", "1"]
    assert answers.without_image.all()
    assert answers.pred_probs.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"name": ["a"]}, "no column 'title'"),
        ({"title": ["a", "b"], "product_id": [1, 1]}, "'1' occurs twice"),
    ],
)
def test_a_table_that_cannot_be_predicted_is_refused(run: Path, table: dict[str, list], message: str):
    with pytest.raises(InputError, match=message):
        load_model(run / "model").predict(pd.DataFrame(table))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_flipped_byte_anywhere_is_refused_by_the_files_name(copy: Path):
    random = np.random.default_rng(0)
    paths = files(copy)
    for number in range(DAMAGES):
        path = paths[number % len(paths)]
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[random.integers(len(whole))] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=path.name):
            load_model(copy)
        path.write_bytes(whole)
    load_model(copy)


def test_a_missing_a_swapped_and_an_added_part_are_refused_by_name(copy: Path):
    for path in files(copy):
        path.rename(copy.parent / "kept")
        with pytest.raises(InputError, match=path.name):
            load_model(copy)
        (copy.parent / "kept").rename(path)
    weights = [path for path in files(copy) if path.name == "model.safetensors"]
    first, other = weights[0].read_bytes(), weights[1].read_bytes()
    weights[0].write_bytes(other)
    weights[1].write_bytes(first)
    with pytest.raises(InputError, match=r"model.safetensors: changed since it was written"):
        load_model(copy)
    weights[0].write_bytes(first)
    weights[1].write_bytes(other)
    (copy / "text" / "words" / "more.json").write_text("{}")
    with pytest.raises(InputError, match=r"more.json: not a part of this package"):
        load_model(copy)


def renumber(copy: Path) -> None:
    manifest = read_sealed(copy / "manifest.json", "a manifest")
    write_sealed(copy / "manifest.json", {**manifest, "format": FORMAT + 1, "version": "9.0"})


def unnumber(copy: Path) -> None:
    manifest = read_sealed(copy / "manifest.json", "a manifest")
    write_sealed(
        copy / "manifest.json", {name: value for name, value in manifest.items() if name != "format"}
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renumber, f"format {FORMAT + 1}, of release 9.0"),
        (unnumber, "no model package"),
        (shutil.rmtree, "no manifest.json"),
    ],
    ids=["later", "other", "none"],
)
def test_what_is_no_package_of_this_release_is_refused(
    copy: Path, change: Callable[[Path], None], message: str
):
    change(copy)
    with pytest.raises(InputError, match=message):
        load_model(copy)


def test_the_predict_task_leaves_codes_detail_and_every_classifiers_answers(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("components.lifecycle.run.PREDICTED_AT_ONCE", 5)
    new = new_products()
    table = new.table.assign(title=["the and of for with", *new.table["title"].tolist()[1:]])
    write_products(type(new)(table, new.classes, {"delimiter": "\t"}), tmp_path / "new")
    given = {"new_products": tmp_path / "new", "new_images": run / "images", "last_run": tmp_path / "last"}
    classes = {new.classes[0]: 3, "gone": 1}
    write_json(tmp_path / "last", {"day": "2026-01-09", "version": "v1", "classes": classes})
    result = run_predict(run / "model", **given, predictions=tmp_path / "out")
    assert "could not be drawn" not in result.report
    assert result.metrics["products"] == 12
    report = html.unescape(result.report)
    assert "last run's new products: 4 products on 2026-01-09, by version v1" in report
    assert "Other shares than in the last run (2026-01-09): " in report
    assert re.search(r"gone</th><td class=.n.>0</td>.*<td class=.n soft.>25.0</td></tr>", report)
    header, first, *_ = (tmp_path / "out" / DETAIL).read_text(encoding="utf-8").splitlines()
    assert header.split("\t")[:4] == ["product_id", "code", "class_name", "probability"]
    assert first.split("\t")[-2:] == ["no image, language not trained on, unlike any class", "review"]
    found = read_predictions(tmp_path / "out", classes=new.classes)
    assert [row for row, _ in found] == ["text", "decision_level", "ensemble"]
    answers = load_model(run / "model").predict_cleaned(table, ImageStore(run / "images"))
    for folder, expected in (("text", answers.classifiers), ("members", answers.members)):
        written = [read_classifier(each) for each in sorted((tmp_path / "out" / folder).iterdir())]
        assert [each.name for each in written] == list(expected)
        for each in written:
            np.testing.assert_array_equal(each.chosen("test", answers.ids), expected[each.name])
    assert (tmp_path / "out" / "predictions.tsv").read_text().count("\n") == 13


def test_nothing_to_predict_leaves_a_manifest_alone(run: Path, tmp_path: Path):
    new = new_products()
    write_products(type(new)(new.table.iloc[:0], new.classes), tmp_path / "new")
    given = {"new_products": tmp_path / "new", "new_images": run / "images", "last_run": tmp_path / "last"}
    write_json(tmp_path / "last", {})
    result = run_predict(run / "model", **given, predictions=tmp_path / "out")
    assert "no products to categorize" in result.report
    assert 'class="figures"' not in result.report
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.json"]
