"""The level at which a prediction is answered: thresholds by level, and what they promise."""

import numpy as np
import pytest

from components.data.class_tree import ClassTree
from components.data.top_classes import PredProbs, top_classes
from components.modeling.acceptance import acceptance
from components.modeling.deepest_level import LevelChoice, level_choices
from components.modeling.label_noise import LabeledPredictions

# Three departments of three classes, and a class at the top.
TREE = ClassTree((*((f"D{top}", f"C{each}") for top in range(3) for each in range(3)), ("Alone",)))
TARGET = 0.9


def calibrated(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, C) probabilities, surer of the department than of the class, and labels drawn from them."""
    random = np.random.default_rng(seed)
    alpha = np.full(4, 0.05)
    tops = random.dirichlet(alpha, count)
    within = random.dirichlet(np.full(3, 0.3), (count, 3))
    pred_probs = np.concatenate([(tops[:, :3, None] * within).reshape(count, 9), tops[:, 3:]], axis=1)
    drawn = (pred_probs.cumsum(axis=1) < random.random((count, 1))).sum(axis=1)
    return pred_probs.astype(np.float32), np.minimum(drawn, 9)


def choices(pred_probs: PredProbs, labels: np.ndarray, target: float = TARGET) -> list[LevelChoice]:
    groups = np.arange(len(labels))
    known = LabeledPredictions.of(pred_probs, pred_probs, labels, groups, max_noise=0)
    return level_choices(TREE, pred_probs, pred_probs, labels, groups, classes=known, target=target)


def test_each_level_keeps_its_promise_for_what_no_deeper_one_answers() -> None:
    classes, top = choices(*calibrated(4000, seed=1))
    assert classes.chosen
    assert top.chosen
    assert [classes.depth, top.depth] == [2, 1]
    pred_probs, labels = calibrated(20_000, seed=2)
    sure = pred_probs.max(axis=1) >= classes.chosen.probability
    nodes, true = TREE.levels[0].summed(pred_probs), TREE.levels[0].node_of[labels]
    parents = ~sure & (nodes.max(axis=1) >= top.chosen.probability)
    assert (pred_probs.argmax(axis=1) == labels)[sure].mean() > TARGET
    assert (nodes.argmax(axis=1) == true)[parents].mean() > TARGET
    assert parents.mean() > 0.1
    for rows, choice in ((sure, classes), (parents, top)):
        assert choice.out_of_fold
        assert abs(rows.mean() - choice.out_of_fold.coverage) < 0.03


def test_the_deepest_level_is_that_of_auto_accept() -> None:
    pred_probs, labels = calibrated(1000, seed=3)
    known = LabeledPredictions.of(pred_probs, pred_probs, labels, np.arange(1000), max_noise=0)
    accepted = acceptance(known, labels, target=TARGET)
    found = choices(pred_probs, labels)[0]
    assert [found.chosen, found.out_of_fold] == [accepted.chosen, accepted.out_of_fold]


def test_of_classes_kept_in_part_the_levels_are_those_of_the_whole_matrix() -> None:
    pred_probs, labels = calibrated(1000, seed=3)
    kept = top_classes(pred_probs, 4)
    for found, expected in zip(choices(kept, labels), choices(kept.dense(), labels), strict=True):
        assert found.chosen
        assert found.chosen.coverage == pytest.approx(expected.chosen and expected.chosen.coverage, abs=0.005)


def test_a_level_that_never_reaches_the_target_answers_nothing_and_leaves_all_to_the_next() -> None:
    pred_probs, labels = calibrated(1000, seed=4)
    flat = np.full_like(pred_probs, 0.1)
    for top in range(3):  # classes of a department at random, departments as they are
        flat[:, 3 * top : 3 * top + 3] = pred_probs[:, 3 * top : 3 * top + 3].sum(axis=1, keepdims=True) / 3
    flat[:, 9] = 0.001
    kept = labels < 9
    classes, top = choices(flat[kept], labels[kept])
    assert classes.chosen is None
    assert classes.document()["probability"] is None
    assert top.chosen
    assert top.chosen.coverage > 0.5
