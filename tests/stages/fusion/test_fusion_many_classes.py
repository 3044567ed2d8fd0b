"""Fusion and vote of many classes: by structure, from the most probable classes of each product."""

from pathlib import Path

import numpy as np
import pytest
from fusion_classifiers import fuse, run_fusion_stage, run_vote, write_stage

from components.core.artifacts import write_manifest
from components.data import top_classes
from components.data.probabilities import read_classifier, read_classifiers
from components.data.products import read_products
from components.data.stacks import Stack
from components.data.top_classes import TopClasses, matrix_of, matrix_tensors
from components.fusion.config import FUSION_KINDS
from components.fusion.decision_level.fitted import CrossFitted
from components.fusion.decision_level.logistic import Stacked
from components.fusion.decision_level.structured import Structure, fit_structures
from components.modeling.cross_fitting import stratified_folds
from components.modeling.metrics import macro_f1

KINDS = ("linear", "mlp", "logistic", "mean", "product")
CLASSES = 12


@pytest.fixture(autouse=True)
def many_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_classes, "MANY_CLASSES", 10)
    monkeypatch.setattr(top_classes, "KEPT", 6)


def test_members_and_their_vote_beat_the_best_classifier_and_predict_again_what_they_predicted(
    tmp_path: Path,
) -> None:
    stage, _ = write_stage(tmp_path, texts=1, images=1, rows=(40, 360, 60), classes=CLASSES)
    configs = [{"name": kind, "kind": kind} for kind in KINDS]
    metrics = run_fusion_stage(stage, tmp_path, configs, folds=3)
    products = read_products(stage.products)
    test = products.ids[products.rows("test")]
    dense = np.stack([read_classifier(p).chosen("test", test).dense() for p in (*stage.text, *stage.image)])
    for number, made in enumerate(read_classifiers(tmp_path / "members")):
        assert made.metadata["macro_f1"] > metrics["best_single_macro_f1"]
        member = FUSION_KINDS.load(tmp_path / "fusion-model" / "members" / f"{number:02d}")
        found = made.chosen("test", test)
        assert isinstance(found, TopClasses)
        np.testing.assert_allclose(member.predict(dense), found.dense(), atol=1e-5)
    (tmp_path / "feature-level").mkdir(exist_ok=True)
    write_manifest(tmp_path / "feature-level")
    voted = run_vote(
        stage.products,
        tmp_path / "members",
        tmp_path / "feature-level",
        {"vote": "soft"},
        probabilities=tmp_path / "ensemble",
    )
    assert voted["macro_f1"] > metrics["best_single_macro_f1"]
    assert voted["log_loss"] <= voted["log_loss_before"] + 1e-6


def test_a_structure_learns_what_a_class_has_of_its_own() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, 3000)
    logits = random.normal(size=(2, 3000, CLASSES))
    # The first classifier knows the even classes, the second the odd ones.
    for side in range(2):
        rows = np.flatnonzero(labels % 2 == side)
        logits[side, rows, labels[rows]] += 4
    pred_probs = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    rows = Stack.of([top_classes.top_classes(one.astype(np.float32)) for one in pred_probs], labels)
    alone, own = fit_structures(rows, [Structure(np.inf, 0, 1e-5), Structure(3.0, 0, 1e-5)], seed=0)
    assert not alone.own.any()
    assert (own.own[::2, 0] > own.own[::2, 1]).all()
    assert (own.own[1::2, 1] > own.own[1::2, 0]).all()
    scores = []
    for fit in (alone, own):
        predicted = rows.matrix(fit.predict(rows.values, rows.kept)).argmax(axis=1)  # type: ignore[arg-type]
        scores.append(macro_f1(labels, predicted, CLASSES))
    assert scores[1] > scores[0]


def test_a_held_out_label_does_not_change_its_own_prediction() -> None:
    random = np.random.default_rng(1)
    labels = random.integers(0, CLASSES, 200)
    logits = random.normal(size=(2, 200, CLASSES))
    logits[:, np.arange(200), labels] += 2
    pred_probs = (np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)).astype(np.float32)
    tops = [top_classes.top_classes(one) for one in pred_probs]
    folds, changed = stratified_folds(labels, folds=3, seed=0), labels.copy()
    changed[7] = (labels[7] + 1) % CLASSES
    for kind in ("linear", "mean", "product"):
        before, after = (fuse(kind, tops, each, folds, tops).out_of_fold for each in (labels, changed))
        here = folds == folds[7]
        np.testing.assert_array_equal(before.values[here], after.values[here])


def test_a_package_keeps_the_vote_as_it_was() -> None:
    pred_probs = np.random.default_rng(0).dirichlet(np.ones(CLASSES), 20).astype(np.float32)
    top = top_classes.top_classes(pred_probs)
    found = matrix_of(matrix_tensors(top), CLASSES)
    assert isinstance(found, TopClasses)
    np.testing.assert_array_equal(found.dense(), top.dense())
    np.testing.assert_array_equal(matrix_of(matrix_tensors(pred_probs), CLASSES), pred_probs)


def test_a_logistic_regression_of_an_earlier_release_reads_all_of_many_classes() -> None:
    random = np.random.default_rng(0)
    pred_probs = random.dirichlet(np.ones(CLASSES), (2, 20)).astype(np.float32)
    fits = [Stacked(random.normal(size=(2 * CLASSES + 1, CLASSES)), 1e-5) for _ in range(2)]
    member = CrossFitted(fits[0], fits[1:])
    np.testing.assert_array_equal(member.predict(pred_probs), fits[0].predict(pred_probs))
    np.testing.assert_array_equal(member.predict(pred_probs, fold=0), fits[1].predict(pred_probs))
