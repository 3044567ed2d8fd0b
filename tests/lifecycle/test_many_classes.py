"""A package over many classes predicts in the form in which its vote, limits and thresholds were found."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fusion_classifiers import StagePaths, make_classifiers, named_folder, run_fusion_stage, write_stage

from components.core.artifacts import read_manifest, write_manifest
from components.data.image_store import ImageStore
from components.data.probabilities import (
    Classifier,
    Probabilities,
    read_classifier,
    write_classifier,
    write_matrix,
)
from components.data.products import Products, read_products, write_products
from components.ensemble.config import PARAMETERS
from components.ensemble.run import run_ensemble
from components.lifecycle.detail import UNLIKE, detail_of
from components.lifecycle.model import Model, load_model
from components.lifecycle.run import run_predict
from components.modeling.acceptance import UNLIKE as FLAGGED
from components.modeling.trained import Predicted

CLASSES, KNOWN = 400, (0, 2000, 2000)
FORM = {"delimiter": "\t", "preprocess": {}, "class_names": {}}
PROFILE = '{"languages": {"undecided": 1}, "missing": {"picture": 1}, "classes": {}}'
VOTES: dict[str, dict[str, Any]] = {
    "soft": {"vote": "soft", "feature_level": {"beside": 0.9}},
    "majority": {"vote": "majority"},
}


@dataclass(frozen=True)
class Fused:
    """What three made-up classifiers say, two of them fused on validation and one beside that fusion.

    Attributes:
        whole: (3, N, C) what they say of all products.
    """

    root: Path
    stage: StagePaths
    whole: np.ndarray

    def package(self, folder: Path, kind: str) -> Path:
        """The package of a vote."""
        run_ensemble(
            self.root / "labeled",
            self.stage.images,
            self.root / "members",
            self.root / "feature-level",
            text_models=[self.root / "models" / path.name for path in self.stage.text],
            image_models=[],
            fusion_model=self.root / "fusion-model",
            profile=self.root / "profile.json",
            config=PARAMETERS["ensemble_config"](VOTES[kind]),
            probabilities=folder / "ensemble",
            ensemble_model=folder / "model",
        )
        return folder / "model"


@pytest.fixture(scope="module", params=[2.0, 3.0], ids=["hard", "easy"])
def fused(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Fused:
    root = tmp_path_factory.mktemp("fused")
    stage, _ = write_stage(root, texts=3, images=0, rows=KNOWN, classes=CLASSES, strength=request.param)
    whole, _ = make_classifiers(3, sum(KNOWN), CLASSES, strength=request.param)
    beside = read_classifier(stage.text[2])
    stage = replace(stage, text=stage.text[:2], text_features=stage.text_features[:2])
    run_fusion_stage(stage, root, [{"name": kind, "kind": kind} for kind in ("mean", "product")], folds=3)
    write_classifier(root / "feature-level" / "000-beside", Classifier("beside", "fusion", beside.matrices))
    write_manifest(root / "feature-level")
    named_folder(root / "fusion-model" / "feature_level" / "00", "beside")
    members = read_manifest(root / "fusion-model")["members"]
    write_manifest(root / "fusion-model", members=members, feature_level={"beside": "feature_level/00"})
    (root / "profile.json").write_text(PROFILE)
    for path in stage.text:
        named_folder(root / "models" / path.name, path.name)
    products = read_products(stage.products)
    labeled = products.table.iloc[products.rows("validation")].reset_index(drop=True)
    write_products(Products(labeled, products.classes, FORM), root / "labeled")
    return Fused(root, stage, whole)


@pytest.fixture
def new(fused: Fused, monkeypatch: pytest.MonkeyPatch) -> Products:
    """Held-out products of the same kind, of which the classifiers give whole rows."""
    products, load = read_products(fused.stage.products), Model.load
    place = {each: row for row, each in enumerate(products.ids)}

    def predict(pred_probs: np.ndarray, table: pd.DataFrame, *_: Any) -> Predicted:
        return Predicted(pred_probs[[place[each] for each in table["product_id"]]])

    made_up = [SimpleNamespace(predict=partial(predict, each)) for each in fused.whole]

    def load_made_up(model: Model, modality: str, folder: str, *, refit: bool) -> Any:
        if modality == "fusion":
            return load(model, modality, folder, refit=refit)
        return made_up[int(folder[-1]) if modality == "text" else 2]

    monkeypatch.setattr(Model, "load", load_made_up)
    table = products.table.iloc[products.rows("test")].assign(image=None).reset_index(drop=True)
    return Products(table, products.classes, FORM)


@pytest.mark.parametrize("kind", VOTES)
def test_of_held_out_known_products_as_many_are_unlike_any_class_as_the_limit_says(
    fused: Fused, new: Products, tmp_path: Path, kind: str
) -> None:
    model = load_model(fused.package(tmp_path, kind))
    answers = model.predict_cleaned(new.table, ImageStore(fused.stage.images))
    detail = detail_of(model, new.table, answers)
    assert detail["code"].tolist() == answers.codes.tolist()
    unlike = detail["flag"].str.contains(UNLIKE).mean()
    assert unlike == pytest.approx(FLAGGED, abs=0.015)


def test_files_of_several_parts_are_those_of_the_whole_matrices(
    fused: Fused, new: Products, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fused.package(tmp_path, "soft")
    at_once = load_model(folder).predict_cleaned(new.table, ImageStore(fused.stage.images))
    monkeypatch.setattr("components.lifecycle.run.PREDICTED_AT_ONCE", 900)
    write_products(new, tmp_path / "new")
    (tmp_path / "last-run.json").write_text("{}")
    given = (folder, tmp_path / "new", fused.stage.images, tmp_path / "last-run.json")
    run_predict(*given, predictions=tmp_path / "predictions")
    expected = {"ensemble": at_once.pred_probs, "feature_level/004": at_once.members["beside"]}
    fusions = [each for name, each in at_once.members.items() if name != "beside"]
    expected |= {f"members/{number:03d}": each for number, each in enumerate(fusions)}
    rows = read_products(fused.stage.products).rows("test")
    expected |= {f"text/{number:03d}": fused.whole[number, rows] for number in range(2)}
    assert len(expected) == 8
    for name, matrix in expected.items():
        write_matrix(tmp_path / "expected.parquet", Probabilities(new.ids, new.classes, matrix))
        found = tmp_path / "predictions" / name / "chosen" / "test.parquet"
        assert found.read_bytes() == (tmp_path / "expected.parquet").read_bytes(), name
