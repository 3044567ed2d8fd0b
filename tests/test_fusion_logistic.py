"""Stacking on log-probabilities: what a strong and a weak ridge leave, and that it does not lose."""

import numpy as np
import pytest
from fusion_voters import make_voters, softmax
from sklearn.linear_model import LogisticRegression

from components.crossfit import stratified_folds
from components.fusion.decision import fuse_logistic, fuse_mean
from components.fusion.logistic import fit_path
from components.metrics import macro_f1

STRENGTHS = (1000.0, 100.0, 10.0)


def log_loss(pred_probs: np.ndarray, labels: np.ndarray) -> float:
    return float(-np.log(pred_probs[np.arange(len(labels)), labels]).mean())


def test_without_deviation_it_is_the_weighted_product_of_the_inputs() -> None:
    pred_probs, labels = make_voters(2, 300, 5)
    fit = fit_path(pred_probs, labels, [np.inf])[0]
    expected = softmax(np.tensordot(fit.weights, np.log(np.maximum(pred_probs, 1e-5)), axes=1))
    np.testing.assert_allclose(fit.predict(pred_probs), expected, atol=1e-5)
    assert not fit.deviation.any()


def test_a_weaker_ridge_fits_the_rows_better() -> None:
    pred_probs, labels = make_voters(2, 300, 5)
    fits = fit_path(pred_probs, labels, [np.inf, *STRENGTHS])
    losses = [log_loss(fit.predict(pred_probs), labels) for fit in fits]
    assert losses == sorted(losses, reverse=True)


def test_a_weak_ridge_is_scikit_learns_logistic_regression() -> None:
    pred_probs, labels = make_voters(2, 400, 3, strength=0.7)
    logs = np.log(np.maximum(np.concatenate(pred_probs, axis=1), 1e-5))
    theirs = LogisticRegression(C=100, max_iter=5000, tol=1e-8).fit(logs, labels).predict_proba(logs)
    ours = fit_path(pred_probs, labels, [np.inf, 1.0, 0.01])[-1].predict(pred_probs)
    assert log_loss(ours, labels) == pytest.approx(log_loss(theirs, labels), abs=1e-3)


def test_it_repairs_a_voter_that_confuses_two_classes() -> None:
    pred_probs, labels = make_voters(2, 600, 4, strength=4)
    swapped = pred_probs[:, :, [1, 0, 2, 3]]
    folds = stratified_folds(labels, folds=4, seed=0)
    fused = fuse_logistic(STRENGTHS, swapped, labels, folds, swapped[:, :0])
    assert macro_f1(labels, swapped[0].argmax(axis=1), 4) < 0.6
    assert macro_f1(labels, fused.out_of_fold.argmax(axis=1), 4) > 0.9


@pytest.mark.parametrize("rows", [60, 90, 600])
def test_neither_stacking_nor_the_mean_loses_against_the_best_single_voter(rows: int) -> None:
    pred_probs, labels = make_voters(2, rows, 7, strength=3)
    pred_probs[1] = make_voters(1, rows, 7, strength=0.3, seed=9)[0][0]  # knows next to nothing
    folds = stratified_folds(labels, folds=8, seed=0)
    best = log_loss(pred_probs[0], labels)
    for fused in (
        fuse_logistic(STRENGTHS, pred_probs, labels, folds, pred_probs[:, :0]),
        fuse_mean(pred_probs, labels, folds, pred_probs[:, :0]),
    ):
        assert log_loss(fused.out_of_fold, labels) < best + 0.03
        right = (fused.out_of_fold.argmax(axis=1) == labels).mean()
        assert right >= (pred_probs[0].argmax(axis=1) == labels).mean() - 1.5 / rows**0.5 * 0.3


@pytest.mark.parametrize("kind", ["logistic", "mean"])
def test_a_held_out_label_does_not_change_its_own_prediction(kind: str) -> None:
    pred_probs, labels = make_voters(2, 120, 4)
    folds = stratified_folds(labels, folds=4, seed=0)

    def fuse(truth: np.ndarray) -> np.ndarray:
        if kind == "mean":
            return fuse_mean(pred_probs, truth, folds, pred_probs).out_of_fold
        return fuse_logistic((50.0,), pred_probs, truth, folds, pred_probs).out_of_fold

    changed = labels.copy()
    changed[7] = (labels[7] + 1) % 4
    before, after = fuse(labels), fuse(changed)
    np.testing.assert_array_equal(before[folds == folds[7]], after[folds == folds[7]])
    assert not np.array_equal(before[folds != folds[7]], after[folds != folds[7]])


def test_test_rows_are_judged_by_a_refit_on_all_validation_rows() -> None:
    pred_probs, labels = make_voters(2, 120, 4)
    folds = stratified_folds(labels, folds=4, seed=0)
    fused = fuse_logistic((50.0,), pred_probs, labels, folds, pred_probs[:, :9])
    ridge = fused.facts["ridge"] or np.inf
    path = [np.inf] if np.isinf(ridge) else [np.inf, ridge]
    refit = fit_path(pred_probs, labels, path)[-1]
    np.testing.assert_allclose(fused.test, refit.predict(pred_probs[:, :9]), atol=1e-6)
