"""Matrices over many classes: of each row the largest probabilities, and what the others have together."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.core.errors import InputError
from components.data import top_classes
from components.data.probabilities import (
    Classifier,
    Probabilities,
    check_probabilities,
    read_classifier,
    read_matrix,
    write_classifier,
    write_matrix,
)
from components.data.stacks import Stack
from components.data.top_classes import TopClasses, concatenated, in_form, opened
from components.fusion.classifiers import stacked
from components.modeling.metrics import log_loss
from components.modeling.reliability import calibration

CLASSES = tuple(f"c{number:03d}" for number in range(140))
IDS = np.array([f"p{row}" for row in range(30)], dtype=object)


@pytest.fixture
def whole() -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.full(len(CLASSES), 0.05), len(IDS)).astype(np.float32)


def test_the_largest_probabilities_stay_as_they_are_and_the_others_are_their_mean(whole: np.ndarray) -> None:
    top = top_classes.top_classes(whole, 10)
    dense, order = top.dense(), np.argsort(-whole, axis=1, kind="stable")
    np.testing.assert_array_equal(top.kept, order[:, :10])
    kept, others = (np.take_along_axis(dense, part, 1) for part in (order[:, :10], order[:, 10:]))
    np.testing.assert_array_equal(kept, np.take_along_axis(whole, order[:, :10], 1))
    expected = np.take_along_axis(whole, order[:, 10:], 1).mean(axis=1)
    np.testing.assert_allclose(others, np.repeat(expected[:, None], 130, 1), atol=1e-7)
    np.testing.assert_array_equal(top.argmax(axis=1), whole.argmax(axis=1))
    np.testing.assert_array_equal(top.max(axis=1), whole.max(axis=1))


def test_of_equal_probabilities_the_lowest_class_comes_first() -> None:
    even = np.full((2, 140), 1 / 140, np.float32)
    even[1, [7, 90]] = 0.2
    found = top_classes.top_classes(even / even.sum(axis=1, keepdims=True))
    assert found.argmax(axis=1)[1] == 7
    assert found.kept[1, :2].tolist() == [7, 90]


def test_many_classes_are_written_in_part_and_few_are_not(tmp_path: Path, whole: np.ndarray) -> None:
    few = Probabilities(IDS, CLASSES[:100], np.full((len(IDS), 100), 0.01, np.float32))
    write_classifier(tmp_path / "few", Classifier("few", "text", {"best": {"test": few}}))
    assert (tmp_path / "few" / "best" / "test.npz").exists()
    matrix = Probabilities(IDS, CLASSES, whole)
    write_classifier(tmp_path / "many", Classifier("many", "text", {"best": {"test": matrix}}))
    table = pq.read_table(tmp_path / "many" / "best" / "test.parquet")
    assert table.schema.field("probabilities").type.list_size == top_classes.KEPT
    assert table["rest"].to_numpy().max() < 1
    found = read_classifier(tmp_path / "many", classes=CLASSES).chosen("test", IDS[::-1])
    assert isinstance(found, TopClasses)
    np.testing.assert_array_equal(found.argmax(axis=1), whole[::-1].argmax(axis=1))
    np.testing.assert_allclose(found.dense(), top_classes.top_classes(whole[::-1]).dense(), atol=1e-8)
    with pytest.raises(InputError, match=r"its classes are \[c000.*expected \[c139"):
        read_classifier(tmp_path / "many", classes=CLASSES[::-1])


@pytest.mark.parametrize(
    "column, value, message",
    [
        (0, np.nan, r"row 1 \(product 'p1'\) is not a number"),
        (0, 1.5, r"row 1 \(product 'p1'\) is not within 0 and 1"),
        (-1, 0.01, r"row 1 \(product 'p1'\) does not sum to 1"),
    ],
    ids=["nan", "above-1", "sum"],
)
def test_a_broken_row_is_named(whole: np.ndarray, column: int, value: float, message: str) -> None:
    top = top_classes.top_classes(whole)
    top.values[1, column] = value
    with pytest.raises(InputError, match=message):
        check_probabilities(Probabilities(IDS, CLASSES, top), where="here")


def test_a_row_that_names_a_class_twice_is_refused_with_the_file(tmp_path: Path, whole: np.ndarray) -> None:
    top = top_classes.top_classes(whole)
    top.kept[3, 1] = top.kept[3, 0]
    path = tmp_path / "test.parquet"
    write_matrix(path, Probabilities(IDS, CLASSES, top))
    with pytest.raises(InputError, match=r"test.parquet .*a row names a class twice"):
        read_matrix(path, name="tfidf")


def test_matrices_side_by_side_have_the_classes_that_are_most_probable_to_all(whole: np.ndarray) -> None:
    tops = [top_classes.top_classes(each, 60) for each in (whole, whole[::-1], np.roll(whole, 3, axis=1))]
    stack, matrices = Stack.of(tops), [top.dense() for top in tops]
    assert stack.kept is not None
    order = np.argsort(-np.sum(matrices, axis=0), axis=1, kind="stable")[:, :60]
    np.testing.assert_array_equal(np.sort(stack.kept, axis=1), np.sort(order, axis=1))
    for values, matrix in zip(stack.values, matrices, strict=True):
        taken = np.take_along_axis(matrix, stack.kept.astype(np.int64), 1)
        np.testing.assert_allclose(values[:, :-1], taken, atol=1e-6)
        np.testing.assert_allclose(values @ np.append(np.ones(60), 80), 1, atol=1e-5)


def test_figures_of_both_forms_are_the_same(whole: np.ndarray) -> None:
    labels = np.random.default_rng(1).integers(0, 140, len(IDS))
    top = top_classes.top_classes(whole, 139)
    assert log_loss(labels, top) == pytest.approx(log_loss(labels, whole), abs=1e-5)
    assert calibration(labels, top).error == calibration(labels, whole).error
    values, columns, counts = opened(concatenated([top[:10], top[10:]]), labels)
    assert counts is not None
    np.testing.assert_allclose(values[np.arange(30), columns], whole[np.arange(30), labels], atol=1e-12)


def test_few_classes_are_whole_in_every_form(whole: np.ndarray) -> None:
    few = whole[:, :20] / whole[:, :20].sum(axis=1, keepdims=True)
    kept = in_form(top_classes.top_classes(few, 19))
    assert isinstance(kept, np.ndarray)
    np.testing.assert_allclose(kept, few, atol=1e-6)
    assert isinstance(in_form(top_classes.top_classes(whole)), TopClasses)
    both = stacked([few, top_classes.top_classes(few, 19)])
    assert isinstance(both, np.ndarray)
    assert both.shape == (2, *few.shape)


def test_a_matrix_over_many_classes_is_made_a_block_at_a_time(
    whole: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top_classes, "BATCH", 4)
    monkeypatch.setattr(top_classes, "CELLS", 9 * len(CLASSES))
    asked: list[int] = []

    def make(rows: slice) -> np.ndarray:
        asked.append(len(whole[rows]))
        return whole[rows]

    found = top_classes.in_blocks(make, *whole.shape)
    assert asked == [8, 8, 8, 6]
    assert isinstance(found, TopClasses)
    expected = top_classes.top_classes(whole)
    np.testing.assert_array_equal(found.kept, expected.kept)
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(np.asarray(found), expected.dense())
    few = top_classes.in_blocks(lambda rows: whole[rows, :100], len(whole), 100)
    np.testing.assert_array_equal(few, whole[:, :100])


def test_the_leading_classes_of_both_forms_are_the_same(whole: np.ndarray) -> None:
    classes, values = top_classes.leading(whole, 3)
    in_part = top_classes.top_classes(whole)
    shuffled = TopClasses(in_part.kept[:, ::-1], np.roll(in_part.values[:, ::-1], -1, axis=1), len(CLASSES))
    for found in (in_part, shuffled):
        np.testing.assert_array_equal(top_classes.leading(found, 3)[0], classes)
        np.testing.assert_array_equal(top_classes.leading(found, 3)[1], values)
    assert top_classes.leading(whole[:, :2], 3)[0].shape == (len(whole), 2)


def test_some_rows_are_replaced(whole: np.ndarray) -> None:
    rows, others = np.arange(len(whole)) % 3 == 0, whole[::-1][:10]
    expected = whole.copy()
    expected[rows] = others
    np.testing.assert_array_equal(top_classes.replaced(whole, rows, others), expected)
    cut = top_classes.top_classes
    found = top_classes.replaced(cut(whole), rows, cut(others))
    np.testing.assert_array_equal(np.asarray(found), cut(expected).dense())
