"""Answers at the deepest level: what the vote writes of it, with a tree of classes and without."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fusion_classifiers import run_vote, write_stage

from components.data.class_tree import PATHS
from components.data.image_store import ImageStore
from components.data.probabilities import Classifier, read_classifier, read_classifiers, write_classifier
from components.data.products import read_products, write_products
from components.ensemble.report import ensemble_report

CONFIG = {"name": "ensemble", "vote": "soft", "target_accuracy": 0.9}
TREE = {PATHS: {code: ["Shoes", f"Shoe {code}"] for code in ("10", "20", "30")}}


def _unsure_of_every_other(classifier: Classifier) -> Classifier:
    """The classifier, which of every other product says no more than whether it is a shoe."""
    matrix = classifier.matrices["chosen"]["validation"]
    matrix.pred_probs[::2, :3] = matrix.pred_probs[::2, :3].mean(axis=1, keepdims=True)
    return replace(classifier, matrices={"chosen": {"validation": matrix}})


@pytest.fixture
def vote(tmp_path: Path) -> Any:
    stage, _ = write_stage(tmp_path, texts=2, images=0, rows=(20, 400, 0), strength=4.0)
    members = tmp_path / "members"
    members.mkdir()
    for path in stage.text:
        write_classifier(members / path.name, _unsure_of_every_other(read_classifier(path)))

    def run(metadata: dict[str, Any], **config: Any) -> tuple[Classifier, str]:
        products, ensemble = read_products(stage.products), tmp_path / "ensemble"
        write_products(replace(products, metadata=metadata), stage.products)
        none = Path("no feature-level classifier")
        run_vote(stage.products, members, none, {**CONFIG, **config}, probabilities=ensemble)
        found, images = read_classifier(ensemble), ImageStore(stage.images)
        return found, ensemble_report(read_products(stage.products), images, read_classifiers(members), found)

    return run


def test_each_level_has_a_threshold_and_the_report_says_what_it_answers(vote: Any) -> None:
    ensemble, report = vote(TREE, deepest_level=True)
    threshold = ensemble.metadata["threshold"]
    classes, top = threshold["levels"]
    assert [classes["level"], top["level"]] == [2, 1]
    assert [classes["probability"], classes["out_of_fold"]] == [
        threshold["probability"],
        threshold["out_of_fold"],
    ]
    print(classes, top)
    assert top["chosen"]["coverage"] > 0.05
    assert "How deep may an answer go?" in report


def test_without_the_option_nothing_is_chosen_and_without_a_tree_it_is_said(
    vote: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ensemble, report = vote(TREE)
    assert "levels" not in ensemble.metadata["threshold"]
    assert "How deep" not in report
    ensemble, report = vote({}, deepest_level=True)
    assert "levels" not in ensemble.metadata["threshold"]
    assert "no class has a parent" in caplog.text
