"""What the ensemble mixes up: counted as a whole confusion matrix would, in memory that is none."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from components.evaluate.evaluation import Evaluation
from components.evaluate.summary import reduced_confusion, worst_confusions
from components.modeling.metrics import confusion

CLASSES = 70


def drawn(classes: int, count: int = 3_000) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions, half of them right and many mistakes alike."""
    random = np.random.default_rng(1)
    labels = random.integers(0, classes, count)
    predicted = np.where(random.random(count) < 0.5, labels, labels * 7 % 11)
    predicted[:500], labels[:500] = 42, 17
    return labels, predicted


def evaluated(classes: int, *, flagged: float = 0.0) -> Evaluation:
    labels, predicted = drawn(classes)
    doubted = np.random.default_rng(2).random(len(labels)) < flagged
    best = {"ensemble": SimpleNamespace(predicted=predicted)}
    return SimpleNamespace(labels=labels, flagged=doubted, best=best)  # type: ignore[return-value]


@pytest.mark.parametrize("sure", [False, True])
def test_the_worst_confusions_are_the_largest_cells_beside_the_diagonal(sure: bool) -> None:
    found = evaluated(CLASSES, flagged=0.3)
    kept = ~found.flagged if sure else np.ones(len(found.labels), bool)
    counts = confusion(found.labels[kept], found.best["ensemble"].predicted[kept], CLASSES)
    np.fill_diagonal(counts, 0)
    cells = np.argsort(-counts, axis=None, kind="stable")[: np.count_nonzero(counts)]
    expected = [(*divmod(cell, CLASSES), int(counts.flat[cell])) for cell in cells.tolist()]
    assert expected[0][:2] == (17, 42)
    assert worst_confusions(found, 8, sure=sure) == expected[:8]
    assert worst_confusions(found, CLASSES**2, sure=sure) == expected


def test_where_all_is_right_there_are_no_confusions() -> None:
    right = SimpleNamespace(predicted=np.arange(5))
    found = SimpleNamespace(labels=np.arange(5), flagged=np.zeros(5, bool), best={"ensemble": right})
    assert worst_confusions(found, 8) == []  # type: ignore[arg-type]


def test_a_large_confusion_matrix_keeps_the_most_confused_classes_and_all_products() -> None:
    labels, predicted = drawn(CLASSES)
    whole = confusion(labels, predicted, CLASSES)
    names = [f"c{number:02d}" for number in range(CLASSES)]
    classes, merged = reduced_confusion(names, labels, predicted)
    assert len(classes) == 50
    assert classes[-1] == "other classes"
    mistakes = whole.sum(axis=0) + whole.sum(axis=1) - 2 * np.diag(whole)
    kept = np.sort(np.argsort(-mistakes, kind="stable")[:49])
    assert classes[:-1] == [names[label] for label in kept]
    rest = np.setdiff1d(np.arange(CLASSES), kept)
    np.testing.assert_array_equal(merged[:-1, :-1], whole[np.ix_(kept, kept)])
    np.testing.assert_array_equal(merged[:-1, -1], whole[np.ix_(kept, rest)].sum(axis=1))
    np.testing.assert_array_equal(merged[-1, :-1], whole[np.ix_(rest, kept)].sum(axis=0))
    assert merged.sum() == len(labels)


def test_thousands_of_classes_need_no_matrix_of_all_their_pairs() -> None:
    labels, predicted = drawn(3_000)
    found, names = evaluated(3_000), [f"c{number}" for number in range(3_000)]
    tracemalloc.start()
    worst_confusions(found, 8)
    reduced_confusion(names, labels, predicted)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**21  # all pairs would be 72 MB
