"""Stacking on log-probabilities: what a strong and a weak ridge leave, and that it does not lose."""

from typing import Any

import numpy as np
import pytest
from fusion_classifiers import fuse, make_classifiers, softmax

from components.fusion.decision_level.logistic import fit_candidates
from components.modeling.cross_fitting import stratified_folds
from components.modeling.metrics import macro_f1

THREE: dict[str, Any] = {"l2": [1000.0, 100.0, 10.0]}
ONE: dict[str, Any] = {"l2": [50.0]}


def log_loss(pred_probs: np.ndarray, labels: np.ndarray) -> float:
    return float(-np.log(pred_probs[np.arange(len(labels)), labels]).mean())


def test_an_infinite_ridge_is_the_weighted_product_of_the_inputs() -> None:
    pred_probs, labels = make_classifiers(2, 300, 5)
    fit = fit_candidates(pred_probs, labels, [np.inf], [1e-5])[0]
    weights = [fit.weights[0, 0], fit.weights[5, 0]]
    expected = softmax(np.tensordot(weights, np.log(np.maximum(pred_probs, 1e-5)), axes=1))
    np.testing.assert_allclose(fit.predict(pred_probs), expected, atol=1e-5)


def test_a_weaker_ridge_fits_the_rows_better() -> None:
    pred_probs, labels = make_classifiers(2, 300, 5)
    fits = fit_candidates(pred_probs, labels, [1000.0, 100.0, 10.0], [1e-5])
    losses = [log_loss(fit.predict(pred_probs), labels) for fit in fits]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("ridge", [0.1, 100.0])
def test_it_is_the_logistic_regression_of_least_loss_and_distance_to_the_product(ridge: float) -> None:
    pred_probs, labels = make_classifiers(2, 400, 3, strength=0.7)
    product, fit = fit_candidates(pred_probs, labels, [np.inf, ridge], [1e-5])
    logs = np.log(np.maximum(np.concatenate(pred_probs, axis=1), 1e-5))
    columns = np.concatenate([logs, np.ones((len(logs), 1))], axis=1)

    def loss(weights: np.ndarray) -> float:
        distance = ridge / 2 * np.square(weights - product.weights).sum()
        return len(labels) * log_loss(softmax(columns @ weights), labels) + distance

    best = loss(fit.weights)
    assert best < loss(product.weights) - 1e-3
    random = np.random.default_rng(0)
    for size in (0.01, 0.1):
        assert all(loss(fit.weights + size * random.normal(size=(7, 3))) > best - 1e-3 for _ in range(50))


def test_saturated_float32_probabilities_are_fused() -> None:
    pred_probs, labels = make_classifiers(3, 600, 5, strength=2.5)
    saturated = softmax(200 * np.log(pred_probs))
    assert (saturated == 0).mean() > 0.5
    assert (saturated == 1).any()
    folds = stratified_folds(labels, folds=4, seed=0)
    fused = fuse("logistic", saturated, labels, folds, saturated[:, :9], **THREE)
    assert np.isfinite(fused.out_of_fold).all()
    assert np.isfinite(fused.test).all()
    best = max(macro_f1(labels, one.argmax(axis=1), 5) for one in saturated)
    assert macro_f1(labels, fused.out_of_fold.argmax(axis=1), 5) > best


def test_it_repairs_a_classifier_that_confuses_two_classes() -> None:
    pred_probs, labels = make_classifiers(2, 600, 4, strength=4)
    swapped = pred_probs[:, :, [1, 0, 2, 3]]
    folds = stratified_folds(labels, folds=4, seed=0)
    fused = fuse("logistic", swapped, labels, folds, **THREE)
    assert macro_f1(labels, swapped[0].argmax(axis=1), 4) < 0.6
    assert macro_f1(labels, fused.out_of_fold.argmax(axis=1), 4) > 0.9


@pytest.mark.parametrize("rows", [60, 90, 600])
def test_neither_stacking_nor_the_mean_loses_against_the_best_single_classifier(rows: int) -> None:
    pred_probs, labels = make_classifiers(2, rows, 7, strength=3)
    pred_probs[1] = make_classifiers(1, rows, 7, strength=0.3, seed=9)[0][0]  # knows next to nothing
    folds = stratified_folds(labels, folds=8, seed=0)
    best = log_loss(pred_probs[0], labels)
    for fused in (
        fuse("logistic", pred_probs, labels, folds, **THREE),
        fuse("mean", pred_probs, labels, folds),
    ):
        assert log_loss(fused.out_of_fold, labels) < best + 0.03
        right = (fused.out_of_fold.argmax(axis=1) == labels).mean()
        assert right >= (pred_probs[0].argmax(axis=1) == labels).mean() - 1.5 / rows**0.5 * 0.3


@pytest.mark.parametrize("kind", ["logistic", "mean"])
def test_a_held_out_label_does_not_change_its_own_prediction(kind: str) -> None:
    pred_probs, labels = make_classifiers(2, 120, 4)
    folds = stratified_folds(labels, folds=4, seed=0)

    changed = labels.copy()
    changed[7] = (labels[7] + 1) % 4
    settings: dict[str, Any] = ONE if kind == "logistic" else {}
    before, after = (fuse(kind, pred_probs, y, folds, **settings).out_of_fold for y in (labels, changed))
    np.testing.assert_array_equal(before[folds == folds[7]], after[folds == folds[7]])
    assert not np.array_equal(before[folds != folds[7]], after[folds != folds[7]])


def test_test_rows_are_predicted_by_a_refit_on_all_validation_rows() -> None:
    pred_probs, labels = make_classifiers(2, 120, 4)
    folds = stratified_folds(labels, folds=4, seed=0)
    fused = fuse("logistic", pred_probs, labels, folds, pred_probs[:, :9], **ONE)
    chosen = fused.metadata["chosen"]
    refit = fit_candidates(pred_probs, labels, [chosen.get("l2", np.inf)], [fused.metadata["clip_min"]])[0]
    np.testing.assert_allclose(fused.test, refit.predict(pred_probs[:, :9]), atol=1e-6)


def test_the_clip_min_is_taken_with_which_the_product_fits() -> None:
    pred_probs, labels = make_classifiers(2, 600, 5, strength=2)
    sharp = softmax(8 * np.log(pred_probs))  # what it says of its errors lies far below 1e-5
    random = np.random.default_rng(0)
    noisy = pred_probs.copy()
    noisy[random.random(noisy.shape) < 0.1] = 1e-9  # says nothing
    for given, expected in ((sharp, 1e-8), (noisy, 1e-5)):
        fits = fit_candidates(given, labels, [np.inf, 100.0], [1e-5, 1e-8])
        assert [fit.clip_min for fit in fits] == [expected, expected]
