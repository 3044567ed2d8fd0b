"""What is chosen or learned on validation is measured on rows and groups of duplicates that it never saw."""

from pathlib import Path

import numpy as np
import pytest
from fusion_classifiers import make_classifiers, make_products, run_fusion_stage, run_vote, write_stage

from components.data.probabilities import Classifier, Probabilities, read_classifier
from components.data.products import read_products, write_products
from components.data.stacks import Stack
from components.ensemble import voting
from components.ensemble.config import EnsembleConfig
from components.evaluate.evaluation import evaluate_split
from components.fusion import run as fusion

PLAIN = [{"name": "mean", "kind": "mean"}]


def pair_up(products: Path) -> None:
    """Makes two products after each other duplicates."""
    table = read_products(products)
    table.table["group"] = np.arange(len(table.ids)) // 2
    write_products(table, products)


def test_members_chosen_among_guesses_are_no_better_than_a_guess(tmp_path: Path):
    stage, _ = write_stage(tmp_path, texts=30, images=0, rows=(8, 240, 40), strength=0)
    members = tmp_path / "members"
    members.mkdir()
    for path in stage.text:
        path.rename(members / path.name)
    config = {"name": "ensemble", "vote": "soft", "select": "greedy"}
    metrics = run_vote(stage.products, members, members, config, probabilities=tmp_path / "ensemble")
    assert max(read_classifier(tmp_path / "ensemble").metadata["macro_f1_of_members"]) > 0.29
    assert metrics["best_member_macro_f1"] < 0.29
    assert metrics["macro_f1"] < 0.29


def test_the_row_of_the_best_of_many_guesses_is_no_better_than_a_guess():
    probs, labels = make_classifiers(40, 240, 4, strength=0)
    products = make_products(labels, np.full(240, "validation", dtype=object), ("10", "20", "30", "40"))
    guesses = [
        ("text", Classifier(f"guess{number}", "text", {"chosen": {"validation": matrix}}))
        for number, values in enumerate(probs)
        for matrix in [Probabilities(products.ids, products.classes, values)]
    ]
    predicted = evaluate_split(products, guesses, "validation", seed=0)
    assert predicted is not None
    best = max(predicted.classifiers, key=lambda each: each.score.macro_f1)
    row = predicted.best["text"]
    assert row.classifier is best.classifier
    assert best.score.accuracy > 0.3
    assert row.score.accuracy < 0.28
    assert row.score.interval[0] < 0.25 < row.score.interval[1]


def test_no_duplicate_is_on_both_sides_of_a_fold_of_fusion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stage, _ = write_stage(tmp_path)
    pair_up(stage.products)
    given = []
    whole = fusion.fuse_members

    def noted(members, data):
        given.append(data.folds)
        return whole(members, data)

    monkeypatch.setattr(fusion, "fuse_members", noted)
    run_fusion_stage(stage, tmp_path, PLAIN, folds=4)
    [fold_of] = given
    assert set(fold_of) == {0, 1, 2, 3}
    assert (fold_of[0::2] == fold_of[1::2]).all()


def test_no_duplicate_is_on_both_sides_of_a_fold_of_the_vote(monkeypatch: pytest.MonkeyPatch):
    pred_probs, labels = make_classifiers(4, 120, 4)
    given = []
    whole = voting.cross_fit

    def noted(fit, predict, folds):
        given.append(folds)
        return whole(fit, predict, folds)

    monkeypatch.setattr(voting, "cross_fit", noted)
    config = EnsembleConfig(vote="weighted", folds=4)
    voting.out_of_fold_vote(config, Stack(pred_probs, labels, 4), np.arange(120) // 2, np.full(4, 1 / 4))
    [folds] = given
    assert set(folds) == {0, 1, 2, 3}
    assert (folds[0::2] == folds[1::2]).all()


def test_the_interval_of_duplicates_is_wider_than_that_of_as_many_products():
    probs, labels = make_classifiers(1, 60, 4, strength=1)
    pred_probs, labels = np.repeat(probs[0], 10, axis=0), np.repeat(labels, 10)
    products = make_products(labels, np.full(600, "validation", dtype=object), ("10", "20", "30", "40"))
    matrix = Probabilities(products.ids, products.classes, pred_probs)
    widths = {}
    for copies in (1, 10):
        products.table["group"] = np.arange(600) // copies
        classifiers = [("ensemble", Classifier("v", "ensemble", {"chosen": {"validation": matrix}}))]
        predicted = evaluate_split(products, classifiers, "validation", seed=0)
        assert predicted is not None
        low, high = np.percentile(predicted.classifiers[0].score.draws, [2.5, 97.5])
        widths[copies] = high - low
    assert widths[10] > 2 * widths[1]


def test_a_small_validation_split_gets_the_folds_that_it_allows(tmp_path: Path, caplog):
    stage, _ = write_stage(tmp_path, rows=(40, 12, 8))
    run_fusion_stage(stage, tmp_path, PLAIN, folds=8)
    assert "4 folds instead of 8: the largest class has 4 validation products" in caplog.text
    caplog.clear()
    config = {"name": "ensemble", "vote": "weighted"}
    (tmp_path / "none").mkdir()
    folders = (tmp_path / "members", tmp_path / "none")
    run_vote(stage.products, *folders, config, probabilities=tmp_path / "ensemble")
    assert caplog.text.count("4 folds instead of 8") == 1


@pytest.mark.parametrize(
    ("rows", "folds", "says"),
    [((40, 1, 8), 8, "too few to learn a vote on"), ((40, 40, 8), 1, "needs from 2")],
)
def test_too_few_products_or_folds_are_reported(tmp_path: Path, rows, folds, says):
    stage, _ = write_stage(tmp_path, rows=rows)
    with pytest.raises(fusion.InputError, match=says):
        run_fusion_stage(stage, tmp_path, PLAIN, folds=folds)
