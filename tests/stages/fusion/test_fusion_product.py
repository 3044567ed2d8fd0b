"""The product of ratios to the class frequencies: Bayes' rule where classifiers are independent."""

import numpy as np
import pytest
from fusion_classifiers import fuse, make_classifiers

from components.data.stacks import Stack
from components.fusion.decision_level.product import fit_product
from components.modeling.cross_fitting import stratified_folds
from components.modeling.metrics import macro_f1

FREQUENCIES = np.array([0.9, 0.06, 0.04])


def independent_classifiers(rows: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Exact posteriors of two classifiers that see independent Gaussians, (2, rows, 3), and the labels."""
    random = np.random.default_rng(seed)
    labels = random.choice(3, rows, p=FREQUENCIES)
    places = np.array([[0.0, 0.0], [1.5, 0.0], [0.0, 1.5]])
    seen = places[labels] + random.normal(size=(2, rows, 2))
    likelihoods = np.exp(-0.5 * np.square(seen[:, :, None] - places).sum(axis=3))
    posteriors = FREQUENCIES * likelihoods
    return (posteriors / posteriors.sum(axis=2, keepdims=True)).astype(np.float32), labels


def test_independent_calibrated_classifiers_get_exponents_of_one_and_bayes_rule() -> None:
    pred_probs, labels = independent_classifiers(40_000)
    fit = fit_product(Stack.of(pred_probs, labels))
    assert fit.exponents == pytest.approx([1, 1], abs=0.05)
    bayes = pred_probs[0].astype(float) * pred_probs[1] / FREQUENCIES
    bayes /= bayes.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fit.predict(pred_probs), bayes, atol=0.05)


def test_rare_classes_are_found_that_a_product_without_frequencies_misses() -> None:
    pred_probs, labels = independent_classifiers(4000)
    folds = stratified_folds(labels, folds=4, seed=0)
    ours = fuse("product", pred_probs, labels, folds, pred_probs)
    plain = (pred_probs[0] * pred_probs[1]).argmax(axis=1)
    best = max(macro_f1(labels, one.argmax(axis=1), 3) for one in pred_probs)
    fused = macro_f1(labels, ours.out_of_fold.argmax(axis=1), 3)
    assert fused > max(best, macro_f1(labels, plain, 3)) + 0.02
    assert ours.test.shape == pred_probs.shape[1:]


def test_a_classifier_that_knows_nothing_gets_no_say() -> None:
    pred_probs, labels = make_classifiers(2, 600, 4)
    pred_probs[1] = make_classifiers(1, 600, 4, strength=0, seed=8)[0][0]
    assert abs(fit_product(Stack.of(pred_probs, labels)).exponents[1]) < 0.1


def test_few_rows_do_less_harm_than_to_a_stacked_regression() -> None:
    pred_probs, labels = independent_classifiers(60, seed=3)
    fresh, truth = independent_classifiers(4000, seed=4)
    folds = stratified_folds(labels, folds=2, seed=0)
    product = fuse("product", pred_probs, labels, folds, fresh).test
    stacked = fuse("logistic", pred_probs, labels, folds, fresh, l2=[10.0]).test
    assert macro_f1(truth, product.argmax(axis=1), 3) > macro_f1(truth, stacked.argmax(axis=1), 3)


def test_a_held_out_label_does_not_change_its_own_prediction() -> None:
    pred_probs, labels = make_classifiers(2, 120, 4)
    folds = stratified_folds(labels, folds=4, seed=0)
    changed = labels.copy()
    changed[7] = (labels[7] + 1) % 4
    before, after = (fuse("product", pred_probs, y, folds).out_of_fold for y in (labels, changed))
    np.testing.assert_array_equal(before[folds == folds[7]], after[folds == folds[7]])
    assert not np.array_equal(before[folds != folds[7]], after[folds != folds[7]])
