"""Intervals hold what they are about as often as they say, and are no wider than that needs."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from benchmarks.coverage import Population, measure
from components.evaluate.scores import score
from components.modeling.intervals import Posterior, effective_units, interval, wilson


@pytest.mark.parametrize(
    ("population", "samples"),
    [
        (Population(200, 27), 200),
        (Population(200, 27, recall=0.95, copies=True), 200),
        (Population(3450, 59), 100),
    ],
    ids=["few-products", "few-and-copies", "many-products"],
)
def test_the_interval_of_macro_f1_covers_the_populations_and_is_not_much_too_wide(population, samples):
    found = measure(population, samples, draws=200)
    assert found.covered >= 0.93
    assert found.width <= 1.5 * found.shortest


def widths(labels: np.ndarray, predicted: np.ndarray, groups: np.ndarray) -> float:
    low, high = score(labels, predicted, Posterior(labels, groups, 3, seed=0)).interval
    return high - low


def test_no_interval_is_zero_wide_because_no_mistake_was_seen():
    labels = np.arange(9) % 3
    scored = score(labels, labels, Posterior(labels, np.arange(9), 3, seed=0))
    low, high = scored.interval
    assert low < 0.9
    assert high == scored.macro_f1 == 1
    assert scored.accuracy_interval[0] == pytest.approx(0.70, abs=0.01)
    many = np.arange(9000) % 3
    assert 0 < widths(many, many, np.arange(9000)) < 0.005


def test_copies_of_a_product_are_the_evidence_of_one():
    random = np.random.default_rng(0)
    labels = random.integers(3, size=60)
    predicted = np.where(random.random(60) < 0.7, labels, (labels + 1) % 3)
    alone = widths(labels, predicted, np.arange(60))
    copied = widths(np.tile(labels, 10), np.tile(predicted, 10), np.tile(np.arange(60), 10))
    assert copied == pytest.approx(alone, rel=0.15)
    assert copied > 2 * widths(np.tile(labels, 10), np.tile(predicted, 10), np.arange(600))
    assert effective_units(np.tile(np.arange(60), 10)) == pytest.approx(60)


def test_with_many_products_the_draws_lie_around_scikit_learns_macro_f1():
    random = np.random.default_rng(3)
    labels = random.integers(5, size=20_000)
    predicted = np.where(random.random(20_000) < 0.8, labels, random.integers(5, size=20_000))
    draws = Posterior(labels, np.arange(20_000), 5, seed=9).macro_f1(predicted)
    assert draws.mean() == pytest.approx(f1_score(labels, predicted, average="macro"), abs=0.001)


def test_differences_of_two_classifiers_are_paired():
    random = np.random.default_rng(1)
    labels = random.integers(4, size=300)
    first = np.where(random.random(300) < 0.7, labels, random.integers(4, size=300))
    second = np.where(random.random(300) < 0.98, first, labels)  # nearly the same mistakes
    posterior = Posterior(labels, np.arange(300), 4, seed=0)
    one, other = posterior.macro_f1(first), posterior.macro_f1(second)
    assert np.std(other - one) < 0.3 * np.std(one)


def test_a_class_that_is_predicted_but_has_no_product_counts_for_the_others_alone():
    labels, predicted = np.repeat([0, 1], 50), np.r_[np.full(40, 0), np.full(10, 2), np.full(50, 1)]
    low, high = interval(Posterior(labels, np.arange(100), 3, seed=0).macro_f1(predicted))
    assert low < (2 * 40 / 90 + 1) / 2 < high


def test_wilsons_interval_is_that_of_the_literature():
    low, high = wilson(np.array([0.0, 0.5, 1.0]), np.array([10, 10, 10]))
    assert low == pytest.approx([0, 0.2366, 0.7225], abs=1e-4)
    assert high == pytest.approx([0.2775, 0.7634, 1], abs=1e-4)
    assert wilson(0.0, 0) == (0, 1)
