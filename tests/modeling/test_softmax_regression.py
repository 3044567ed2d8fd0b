"""Multinomial logistic regression in a few passes, against scikit-learn's at its minimum."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression

from components.modeling.softmax_regression import SoftmaxRegression, fit_softmax

COLUMNS = 60


def rows_of(classes: int, count: int, seed: int = 0) -> tuple[csr_array, np.ndarray]:
    """Rows of length 1 with some of the columns, of which each class prefers a few."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    shares = random.dirichlet(np.full(COLUMNS, 0.2), classes)
    counts = np.array([random.multinomial(8, shares[label]) for label in labels], np.float32)
    return csr_array(counts / np.linalg.norm(counts, axis=1, keepdims=True)), labels


@pytest.mark.parametrize("classes", [2, 5])
def test_probabilities_are_those_of_the_minimum(classes: int):
    matrix, labels = rows_of(classes, 900)
    fit, rest = np.arange(600), np.arange(600, 900)
    found = fit_softmax(matrix[fit], labels[fit], l2=1.0, seed=0).predict(matrix[rest], classes)
    expected = LogisticRegression(C=1.0, tol=1e-6, max_iter=2000).fit(matrix[fit], labels[fit])
    assert np.abs(found - expected.predict_proba(matrix[rest])).mean() < 0.02


def test_a_stronger_penalty_gives_smaller_weights():
    matrix, labels = rows_of(5, 600)
    weak, strong = (fit_softmax(matrix, labels, l2=l2, seed=0).weights for l2 in (0.25, 25.0))
    assert np.square(strong).sum() < 0.2 * np.square(weak).sum()


def test_labels_that_were_not_seen_have_probability_zero():
    matrix, labels = rows_of(3, 300)
    found = fit_softmax(matrix, 2 * labels, l2=0.25, seed=0).predict(matrix, 7)
    assert found.shape == (300, 7)
    assert (found[:, [1, 3, 5, 6]] == 0).all()
    assert found.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_a_single_label_is_certain():
    matrix, labels = rows_of(3, 40)
    assert (fit_softmax(matrix, 0 * labels + 1, l2=0.25, seed=0).predict(matrix, 2)[:, 1] == 1).all()


def test_columns_that_no_row_has_stay_without_weight():
    matrix, labels = rows_of(3, 90)
    wide = csr_array((matrix.data, matrix.indices, matrix.indptr), shape=(90, COLUMNS + 5))
    assert (fit_softmax(wide, labels, l2=0.25, seed=0).weights[COLUMNS:] == 0).all()


def test_many_classes_of_few_rows_are_learned():
    matrix, labels = rows_of(200, 4000)
    predicted = fit_softmax(matrix, labels, l2=0.25, seed=0).predict(matrix, 200).argmax(axis=1)
    assert (predicted == labels).mean() > 0.8


def test_it_is_restored_from_its_tensors():
    matrix, labels = rows_of(4, 200)
    model = fit_softmax(matrix, labels, l2=0.25, seed=0)
    again = SoftmaxRegression.restored(model.tensors())
    assert np.array_equal(again.predict(matrix, 4), model.predict(matrix, 4))


def test_a_model_of_two_classes_by_scikit_learn_is_read_as_it_was():
    matrix, labels = rows_of(2, 200)
    older = LogisticRegression(C=4).fit(matrix, labels)
    tensors = {"labels": older.classes_, "coef": older.coef_, "intercept": older.intercept_}
    restored = SoftmaxRegression.restored({name: torch.from_numpy(value) for name, value in tensors.items()})
    assert restored.predict(matrix, 2) == pytest.approx(older.predict_proba(matrix), abs=1e-5)
