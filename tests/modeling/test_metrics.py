"""Macro-F1 and votes, against scikit-learn and against counts written out."""

from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support
from sklearn.metrics import log_loss as mean_log_loss

from components.modeling.metrics import confusion, f1_per_class, log_loss, macro_f1
from components.modeling.voting import majority_vote, voted_probabilities


def random_calls(classes: int, rows: int = 500, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, rows)
    return labels, np.where(random.random(rows) < 0.7, labels, random.integers(0, classes, rows))


@pytest.mark.parametrize("classes", [2, 7, 27])
def test_macro_f1_is_that_of_scikit_learn(classes: int) -> None:
    labels, predicted = random_calls(classes)
    assert macro_f1(labels, predicted, classes) == pytest.approx(
        f1_score(labels, predicted, average="macro"), abs=1e-12
    )


def test_a_class_that_neither_occurs_nor_is_called_does_not_count() -> None:
    labels, predicted = np.array([0, 0, 2, 2]), np.array([0, 2, 2, 2])
    assert macro_f1(labels, predicted, 9) == pytest.approx(f1_score(labels, predicted, average="macro"))


def test_a_class_that_is_called_but_never_occurs_counts_as_zero() -> None:
    labels, predicted = np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1])
    expected = f1_score(labels, predicted, average="macro")  # 6/7 and 0
    assert macro_f1(labels, predicted, 2) == pytest.approx(expected)


def test_log_loss_is_that_of_scikit_learn_and_counts_a_small_probability_as_the_least() -> None:
    labels = random_calls(5)[0]
    pred_probs = np.random.default_rng(1).dirichlet(np.ones(5), len(labels))
    assert log_loss(labels, pred_probs) == pytest.approx(mean_log_loss(labels, pred_probs))
    certain, wrong = np.array([[1.0, 0.0]]), np.array([1])
    assert log_loss(wrong, certain) == pytest.approx(-np.log(1e-12))
    assert log_loss(wrong, certain, least=1e-7) == pytest.approx(-np.log(1e-7))


def test_per_class_f1_and_confusion_are_those_of_scikit_learn() -> None:
    labels, predicted = random_calls(7)
    expected = precision_recall_fscore_support(labels, predicted)[2]
    np.testing.assert_allclose(f1_per_class(labels, predicted, 7), np.asarray(expected), atol=1e-12)
    np.testing.assert_array_equal(confusion(labels, predicted, 7), confusion_matrix(labels, predicted))


def test_macro_f1_of_no_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="no rows"):
        macro_f1(np.array([], np.int64), np.array([], np.int64), 3)


def vote_by_hand(pred_probs: np.ndarray) -> list[int]:
    winners = []
    for row in range(pred_probs.shape[1]):
        votes = Counter(int(classifier[row].argmax()) for classifier in pred_probs)
        most = max(votes.values())
        leaders = sorted(name for name, count in votes.items() if count == most)
        winners.append(
            max(leaders, key=lambda name: float(sum(classifier[row, name] for classifier in pred_probs)))
        )
    return winners


@pytest.mark.parametrize("classifiers", [1, 2, 5, 12])
def test_majority_vote_is_a_count_written_out(classifiers: int) -> None:
    pred_probs = np.random.default_rng(classifiers).dirichlet(np.ones(6), (classifiers, 400))
    winners, _ = majority_vote(pred_probs)
    assert winners.tolist() == vote_by_hand(pred_probs)


def test_ties_go_to_the_larger_summed_probability_among_the_leaders() -> None:
    pred_probs = np.array(
        [
            [[0.6, 0.4, 0.0], [0.9, 0.1, 0.0], [0.40, 0.35, 0.25]],
            [[0.3, 0.7, 0.0], [0.9, 0.1, 0.0], [0.25, 0.35, 0.40]],
        ]
    )
    winners, tied = majority_vote(pred_probs)
    # In the last row class 1 has the largest sum, but no vote: it cannot win.
    assert winners.tolist() == [1, 0, 0]
    assert tied.tolist() == [True, False, True]


def test_voted_probabilities_follow_the_vote_and_stay_probabilities() -> None:
    pred_probs = np.random.default_rng(3).dirichlet(np.ones(5), (7, 600))
    winners, _ = majority_vote(pred_probs)
    voted = voted_probabilities(pred_probs, winners)
    mean = pred_probs.mean(axis=0)
    agree = mean.argmax(axis=1) == winners
    assert not agree.all()
    np.testing.assert_array_equal(voted.argmax(axis=1), winners)
    np.testing.assert_allclose(voted.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(voted[agree], mean[agree], atol=1e-6)
