"""Classifiers with known strengths, and the catalog they predict, for tests of fusion and ensemble."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.core.artifacts import read_manifest, write_json, write_manifest
from components.data.features import Features, write_features
from components.data.image_store import write_image_store
from components.data.probabilities import Classifier, Probabilities, read_classifiers, write_classifier
from components.data.products import Products, write_products
from components.ensemble.config import PARAMETERS
from components.ensemble.run import run_ensemble
from components.fusion.config import FUSION_KINDS, DecisionLevelConfig
from components.fusion.config import PARAMETERS as FUSION
from components.fusion.decision_level.members import Fused, FusionData, Member, fuse_members
from components.fusion.run import run_fusion


@dataclass(frozen=True)
class StagePaths:
    """Paths that the fusion stage reads."""

    products: Path
    images: Path
    text: list[Path]
    image: list[Path]
    text_features: list[Path]
    image_features: list[Path]
    text_models: list[Path] = field(default_factory=list)
    image_models: list[Path] = field(default_factory=list)


def run_fusion_stage(
    stage: StagePaths, root: Path, configs: list[dict[str, Any]], *, folds: int = 4
) -> Mapping[str, float]:
    """Fuses into `root/members` and `root/feature-level`; returns the stage's metrics."""
    result = run_fusion(
        **vars(stage),
        configs=FUSION["fusion_configs"](configs),
        folds=FUSION["fusion_folds"](folds),
        seed=0,
        members=root / "members",
        feature_level=root / "feature-level",
        fusion_model=root / "fusion-model",
    )
    assert "could not be drawn" not in result.report
    return result.metrics


def run_vote(
    products: Path, members: Path, feature_level: Path, config: dict[str, Any], *, probabilities: Path
) -> Mapping[str, float]:
    """Lets members vote on the catalog of `write_stage`; returns the stage's metrics."""
    parsed, images = PARAMETERS["ensemble_config"](config), products.parent / "images"
    for folder in filter(Path.is_dir, (members, feature_level)):
        write_manifest(folder)
    model = write_fusion_model(probabilities.with_name("fusion_model"), members, feature_level)
    (profile := probabilities.with_name("profile.json")).write_text("{}")
    read = {name for one in read_classifiers(members) for name in one.metadata.get("inputs", [])}
    trained: dict[str, Any] = {
        f"{side}_models": [named_folder(probabilities.with_name(f"model-{name}"), name) for name in names]
        for side, names in {"text": sorted(read), "image": []}.items()
    }
    package = probabilities.with_name("model")
    result = run_ensemble(
        products,
        images,
        members,
        feature_level,
        fusion_model=model,
        profile=profile,
        config=parsed,
        probabilities=probabilities,
        ensemble_model=package,
        **trained,
    )
    assert "could not be drawn" not in result.report
    return result.metrics


def write_fusion_model(folder: Path, members: Path, feature_level: Path) -> Path:
    """What fusion leaves beside the probabilities: of members that were made up, a name alone."""
    named = {}
    for part, classifiers in {"members": members, "feature_level": feature_level}.items():
        paths = sorted(classifiers.glob("*/")) if classifiers.is_dir() else []
        named[part] = {}
        for number, path in enumerate(paths):
            name = read_manifest(path)["name"]
            named[part][name] = f"{part}/{number:02d}"
            named_folder(folder / named[part][name], name)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "folds.json", {})
    write_manifest(folder, **named)
    return folder


def named_folder(folder: Path, name: str) -> Path:
    """A model's folder that holds its name alone."""
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(folder, name=name)
    return folder


def fuse(
    kind: str,
    pred_probs: Any,
    labels: np.ndarray,
    folds: np.ndarray,
    test: Any = None,
    **settings: Any,
) -> Fused:
    """A member of a decision-level kind that reads all (V, N, C) classifiers; no test rows unless given."""
    config = FUSION_KINDS.parse({"name": kind, "kind": kind, **settings})
    assert isinstance(config, DecisionLevelConfig)
    member = Member(kind, tuple(range(len(pred_probs))), config)
    test = pred_probs[:, :0] if test is None else test
    return fuse_members([member], FusionData(pred_probs, labels, folds, test, 0))[kind]


def softmax(logits: np.ndarray) -> np.ndarray:
    likelihood = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (likelihood / likelihood.sum(axis=-1, keepdims=True)).astype(np.float32)


def make_classifiers(
    count: int, rows: int, classes: int, *, strength: float = 2.5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """(V, N, C) probabilities of equally good classifiers with independent errors, and labels (N,)."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(rows) % classes)
    logits = random.normal(size=(count, rows, classes))
    logits[:, np.arange(rows), labels] += strength
    return softmax(1.5 * logits), labels


def make_products(labels: np.ndarray, splits: np.ndarray, classes: tuple[str, ...]) -> Products:
    """A table whose test products have no label."""
    ids = np.array([f"p{row}" for row in range(len(labels))], dtype=object)
    known = splits != "test"
    codes = pd.Series([classes[label] for label in labels], dtype=object)
    truth, folds = pd.Series(labels, dtype="Int64"), pd.Series(np.arange(len(labels)) % 4, dtype="Int64")
    table = pd.DataFrame(
        {
            "product_id": ids,
            "title": "title",
            "description": "",
            "image": "image",
            "code": codes.where(known, None),
            "label": truth.where(known),
            "split": splits,
            "fold": folds.where(pd.Series(splits) == "train"),
            "group": np.arange(len(labels)),
            "removed": False,
            "row_id": ids,
            "image_id": ids,
        }
    )
    return Products(table, classes)


def write_stage(
    root: Path,
    *,
    texts: int = 1,
    images: int = 1,
    rows: tuple[int, int, int] = (200, 120, 40),
    classes: int = 4,
    late: bool = False,
    strength: float = 2.5,
    seed: int = 0,
) -> tuple[StagePaths, np.ndarray]:
    """Writes products, classifiers and features; returns their paths and every product's true label."""
    pred_probs, labels = make_classifiers(texts + images, sum(rows), classes, strength=strength, seed=seed)
    splits = np.repeat(np.array(["train", "validation", "test"], dtype=object), rows)
    products = make_products(labels, splits, tuple(str(10 * (i + 1)) for i in range(classes)))
    write_products(products, root / "products.parquet")
    write_image_store(root / "images", [])
    classifiers, features = [], []
    for number, matrix in enumerate(pred_probs):
        modality, index = ("text", number) if number < texts else ("image", number - texts)
        name = f"{modality}-{index}"
        of_split = {
            split: Probabilities(products.ids[chosen], products.classes, matrix[chosen])
            for split in ("validation", "test")
            if len(chosen := products.rows(split))
        }
        checkpoints = ["chosen", "epoch-9"] if late else ["chosen"]
        write_classifier(root / name, Classifier(name, modality, dict.fromkeys(checkpoints, of_split)))
        write_features(root / f"{name}.npz", Features(name, products.ids, np.log(matrix)))
        classifiers.append(root / name)
        features.append(root / f"{name}.npz")
    stage = StagePaths(
        root / "products.parquet",
        root / "images",
        classifiers[:texts],
        classifiers[texts:],
        features[:texts],
        features[texts:],
    )
    return stage, labels
