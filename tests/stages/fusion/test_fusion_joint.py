"""Feature-level fusion end to end: both backbones trained on jointly, from the models of the two stages."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fusion_classifiers import StagePaths, run_fusion_stage
from image_catalog import CONFIG, write_catalog
from text_catalog import WORDS, small_config

from components.core.errors import InputError
from components.data.probabilities import read_classifiers
from components.data.products import Products, read_products, write_products
from components.fusion.feature_level.joint import load_joint_network
from components.fusion.feature_level.joint_training import train_end_to_end
from components.fusion.kinds.concat import ConcatConfig
from components.image.config import IMAGE_KINDS
from components.image.run import run_image
from components.text.run import run_text

CPU = torch.device("cpu")
NO_IMAGE = (3, 40)
DECISION = {"name": "mean", "kind": "mean"}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> StagePaths:
    """What a text and an image stage leave of a catalog whose titles and images tell the class."""
    root = tmp_path_factory.mktemp("stages")
    products, images, catalog = write_catalog(root, 60, without_image=NO_IMAGE)
    random = np.random.default_rng(0)
    words = list(WORDS.values())
    catalog.table["title"] = [" ".join(random.choice(words[row % 3], 3)) for row in range(60)]
    write_products(Products(catalog.table, catalog.classes), products)
    outputs: dict[str, dict[str, Any]] = {
        name: {part: root / name / part for part in ("probabilities", "features", "model")}
        for name in ("text", "image")
    }
    run_text(products, small_config(epochs=2), fold=None, seed=0, **outputs["text"])
    run_image(products, images, IMAGE_KINDS.parse(CONFIG), fold=None, seed=0, **outputs["image"])
    by_part = {part: [outputs["text"][part], outputs["image"][part]] for part in outputs["text"]}
    return StagePaths(
        products,
        images,
        *([path] for part in ("probabilities", "features", "model") for path in by_part[part]),
    )


def joint(stage: StagePaths, config: ConcatConfig, seed: int = 0) -> np.ndarray:
    table = read_products(stage.products)
    fit = table.rows("train")
    models = stage.text_models[0], stage.image_models[0]
    return train_end_to_end(table, stage.images, *models, fit, config, seed=seed, device=CPU)[1]


@pytest.mark.parametrize("kind", ["concat", "sum", "attention"])
def test_every_way_trains_end_to_end_and_predicts_validation_and_test(
    stage: StagePaths, kind: str, tmp_path: Path
) -> None:
    config = {"name": kind, "kind": kind, "training": "end_to_end", "epochs": 4, "batch_size": 8}
    config |= {"learning_rate": 0.01, "backbone_learning_rate": 1e-3}
    metrics = run_fusion_stage(stage, tmp_path, [DECISION, config], folds=2)
    (classifier,) = read_classifiers(tmp_path / "feature-level")
    assert classifier.metadata["inputs"] == ["small", "tiny"]
    assert set(classifier.matrices["chosen"]) == {"validation", "test"}
    assert metrics["best_feature_level_macro_f1"] > 0.7  # by chance 0.33


def test_both_backbones_are_trained_on(stage: StagePaths) -> None:
    config = ConcatConfig(name="concat", training="end_to_end", epochs=1, batch_size=8)
    frozen = ConcatConfig(
        name="concat", training="end_to_end", epochs=1, batch_size=8, backbone_learning_rate=1e-12
    )
    network, _, _ = load_joint_network(stage.text_models[0], stage.image_models[0], 3, config)
    assert network.classifier.classifier.in_features == 32 + 192  # type: ignore[union-attr]
    assert not np.allclose(joint(stage, config), joint(stage, frozen), atol=1e-5)


def test_the_same_seed_leaves_the_same_evaluation(stage: StagePaths) -> None:
    config = ConcatConfig(name="concat", training="end_to_end", epochs=1, batch_size=8)
    first = joint(stage, config)
    np.testing.assert_array_equal(first, joint(stage, config))
    np.testing.assert_allclose(first.sum(axis=1), 1, atol=1e-5)
    assert not np.array_equal(first, joint(stage, config, seed=1))


def test_a_classifier_without_a_backbone_is_refused_with_the_remedy(
    stage: StagePaths, tmp_path: Path
) -> None:
    config = {"name": "joint", "kind": "concat", "training": "end_to_end"}
    with pytest.raises(InputError, match=r"no text classifier \(small\).*needs a transformer.*step_by_step"):
        run_fusion_stage(replace(stage, text_models=[]), tmp_path, [DECISION, config], folds=2)
