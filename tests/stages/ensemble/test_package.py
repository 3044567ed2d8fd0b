"""What of the trained models a package takes along."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from text_catalog import text_products

from components.core.artifacts import write_json, write_manifest
from components.core.reading import read_json
from components.data.probabilities import Classifier, Probabilities
from components.data.products import FOLDS
from components.ensemble.package import TrainedModels, write_package


def model(folder: Path, name: str, *files: str) -> Path:
    """A model's folder of that name, with some files beside its manifest."""
    for file in files:
        write_json(folder / file, {})
    write_manifest(folder, name=name)
    return folder


@pytest.fixture
def trained(tmp_path: Path) -> TrainedModels:
    text = model(tmp_path / "text", "words", "model.json", "svd.safetensors", "refit/model.json")
    image = model(tmp_path / "image", "pictures", "model.json", "stage1/model.json", "epoch-001/model.json")
    fusion = tmp_path / "fusion"
    folders = {"members": {"mean": "members/00"}, "feature_level": {"concat": "feature_level/00"}}
    for part in folders.values():
        for name, where in part.items():
            model(fusion / where, name, "model.json")
    write_json(fusion / FOLDS, {})
    write_manifest(fusion, **folders)
    write_json(tmp_path / "profile.json", {})
    return TrainedModels([text], [image], fusion, tmp_path / "profile.json")


def packed(trained: TrainedModels, name: str, inputs: list[str], config: dict[str, Any]) -> set[str]:
    """The files of the classifiers in the package of a vote that has one member."""
    products = text_products()
    rows = products.rows("validation")
    pred_probs = np.full((len(rows), len(products.classes)), 1 / len(products.classes), np.float32)
    matrices = {"chosen": {"validation": Probabilities(products.ids[rows], products.classes, pred_probs)}}
    member = Classifier(name, "fusion", matrices, {"inputs": inputs, "config": config})
    metadata = {"members": [name], "weights": [1.0], "config": {}, "macro_f1": 0.5}
    metadata |= {"calibration": {"kind": "identity"}, "threshold": None}
    folder = trained.profile.parent / "package"
    write_package(folder, products, [member], Classifier("vote", "ensemble", matrices, metadata), trained)
    read = {each["name"] for each in read_json(folder / "model.json", "a description")["classifiers"]}
    assert read == ({*inputs} if config.get("training") != "end_to_end" else set())
    parts = [path for part in ("text", "image") for path in (folder / part).rglob("*")]
    found = {str(path.relative_to(folder)) for path in parts if path.is_file()}
    return {file for file in found if not file.endswith("manifest.json")}


TEXT = {"text/words/model.json", "text/words/refit/model.json"}
IMAGE = {"image/pictures/model.json"}


@pytest.mark.parametrize(
    ("name", "inputs", "config", "expected"),
    [
        ("mean", ["words", "pictures"], {}, TEXT | IMAGE),
        ("mean", ["pictures@stage1"], {}, IMAGE | {"image/pictures/stage1/model.json"}),
        ("mean", ["pictures@epoch-001"], {}, IMAGE | {"image/pictures/epoch-001/model.json"}),
        ("concat", ["words", "pictures"], {}, TEXT | IMAGE | {"text/words/svd.safetensors"}),
        ("concat", ["words", "pictures"], {"training": "end_to_end"}, set()),
    ],
    ids=["probabilities", "stage1", "late", "features", "end-to-end"],
)
def test_it_takes_what_prediction_reads_and_no_more(
    trained: TrainedModels, name: str, inputs: list[str], config: dict[str, Any], expected: set[str]
):
    assert packed(trained, name, inputs, config) == expected
