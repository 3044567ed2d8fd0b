"""The gate: the right decision on made pairs of models, and no product is scored by what saw it."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from sides import CLASSES, answers, make_pairs, make_side, probabilities

from components.core.artifacts import write_json
from components.core.errors import InputError
from components.lifecycle.comparison import (
    DUPLICATE,
    HELD_OUT,
    STORED,
    TRAIN_ONLY,
    TRAINED_ON,
    TWO_FOLDS,
    compare,
    read_side,
)
from components.lifecycle.config import GateConfig
from components.lifecycle.gate import GateDecision, decide

LABELS = np.random.default_rng(0).integers(0, len(CLASSES), 4000)
CHAMPION = answers(LABELS, 0.8, seed=1)
ONE_CLASS_WORSE = np.array([0.5, 0.88, 0.88, 0.88, 0.88, 0.88])


def decision(challenger: np.ndarray, champion: np.ndarray = CHAMPION, **config: float) -> GateDecision:
    """What the gate says of predictions of `LABELS`."""
    pairs = make_pairs(LABELS, champion, challenger)
    return decide(LABELS, challenger, pairs, GateConfig(**config))  # type: ignore[arg-type]


def failed(found: GateDecision) -> list[str]:
    return [check.name for check in found.checks if not check.holds]


@pytest.mark.parametrize(
    ("right", "margin", "refused"),
    [
        pytest.param(0.85, 0.01, [], id="better"),
        pytest.param(0.8, 0.03, [], id="equal, within a margin that chance does not leave"),
        pytest.param(0.8, 0.0, ["margin"], id="equal, and nothing may be lost"),
        pytest.param(0.74, 0.01, ["margin"], id="worse"),
        pytest.param(ONE_CLASS_WORSE, 0.01, ["classes"], id="as good, and worse in one class"),
    ],
)
def test_the_right_model_is_promoted(right: float | np.ndarray, margin: float, refused: list[str]):
    found = decision(answers(LABELS, right, seed=2), margin=margin)
    assert failed(found) == refused
    assert found.promote == (not refused)


def test_the_same_predictions_are_no_loss():
    found = decision(CHAMPION, margin=0.001)
    assert found.promote
    assert found.difference
    assert found.difference.interval == (0.0, 0.0)


def test_the_message_names_the_class_that_lost():
    found = decision(answers(LABELS, ONE_CLASS_WORSE, seed=2))
    assert found.why.startswith("Classes lost more than they may: a (−17")
    assert found.difference
    assert (found.difference.classes[0].code, found.difference.classes[0].support) == (
        "a",
        (LABELS == 0).sum(),
    )


def test_a_class_with_too_little_support_decides_nothing():
    found = decision(answers(LABELS, ONE_CLASS_WORSE, seed=2), class_support=3000)
    assert failed(found) == []


def test_a_model_of_permuted_labels_is_refused_whether_or_not_there_is_a_champion():
    permuted = np.random.default_rng(3).permutation(CHAMPION)
    assert failed(decision(permuted)) == ["chance", "margin", "classes"]
    first = decide(LABELS, permuted, None, GateConfig())
    assert failed(first) == ["chance"]
    assert "not above what chance can reach" in first.why


@pytest.mark.parametrize(
    ("counts", "passes"),
    [
        pytest.param([[94, 1], [1, 4]], True, id="a rare class, one mistake each way"),
        pytest.param([[4, 0], [0, 4]], True, id="eight products, no mistake"),
        pytest.param([[2, 2], [2, 2]], False, id="eight products, guessed"),
        pytest.param([[95, 0], [5, 0]], False, id="always the frequent class"),
        pytest.param([[90, 5], [5, 0]], False, id="guesses in the classes' shares"),
    ],
)
def test_chance_is_told_from_knowledge_by_both_margins(counts: list[list[int]], passes: bool):
    labels, predicted = (
        np.repeat(each.ravel(), np.ravel(counts)) for each in np.indices((len(counts), len(counts)))
    )
    assert decide(labels, predicted, None, GateConfig()).promote == passes


def test_a_champion_of_permuted_labels_is_replaced():
    assert decision(CHAMPION, champion=np.random.default_rng(3).permutation(CHAMPION)).promote


def test_the_first_model_ever_needs_the_floors_alone():
    first = decide(LABELS, CHAMPION, None, GateConfig(min_macro_f1=0.75, min_accuracy=0.75))
    assert first.promote
    assert first.why.endswith("There is no champion yet.")
    assert first.difference is None
    assert failed(decide(LABELS, CHAMPION, None, GateConfig(min_macro_f1=0.85))) == ["macro-F1"]
    assert failed(decide(LABELS, CHAMPION, None, GateConfig(min_accuracy=0.85))) == ["accuracy"]


def test_without_a_product_to_compare_on_the_champion_stays():
    none = np.zeros(0, np.int64)
    found = decide(LABELS, CHAMPION, make_pairs(none, none, none), GateConfig())
    assert failed(found) == ["products"]


def test_copies_of_one_product_are_no_evidence():
    few = np.repeat(LABELS[:40], 100)
    better, worse = np.repeat(answers(LABELS[:40], 0.9, 1), 100), np.repeat(answers(LABELS[:40], 0.8, 2), 100)
    pairs = make_pairs(few, worse, better)
    alone = decide(few, better, pairs, GateConfig()).difference
    pairs = type(pairs)(**{**vars(pairs), "groups": np.repeat(np.arange(40), 100)})
    together = decide(few, better, pairs, GateConfig()).difference
    assert alone
    assert together
    width = [found.interval[1] - found.interval[0] for found in (alone, together)]
    assert width[1] > 5 * width[0]


CHAMPIONS = [
    # id, code, split, group, fold, content
    ("t1", "a", "train", 1, None, "T1"),
    ("t2", "a", "train", 2, None, "T2"),
    ("v1", "a", "validation", 3, 0, "V1"),
    ("v2", "b", "validation", 4, 1, "V2"),
    ("v3", "b", "validation", 5, 1, "V3"),
    ("v4", "b", "validation", 6, 0, "V4"),
    ("gone", "b", "train", 7, None, "GONE"),
]
CHALLENGERS = [
    ("t2", "a", "train", 12, None, "T2"),
    ("v1", "a", "validation", 13, 5, "V1"),
    ("v2", "b", "validation", 14, 6, "V2 mended"),
    ("new", "a", "validation", 15, 7, "NEW"),
    ("t1", "a", "validation", 16, 7, "T1"),  # moved, by a person's hand, say
    ("like t2", "a", "validation", 12, 7, "T2 again"),
    ("like gone", "b", "validation", 17, 7, "GONE"),
    ("like v3", "b", "validation", 18, 7, "V3 again"),
    ("v3", "b", "validation", 18, 7, "V3"),
    ("like two", "b", "validation", 19, 7, "TWO"),
    ("v4", "b", "validation", 19, 7, "TWO"),
    ("other", "c", "validation", 20, 7, "OTHER"),
    ("like t1", "a", "validation", 16, 7, "T1 again"),
    ("v2 renamed", "b", "validation", 21, 7, "V2"),
    ("near v3", "b", "validation", 22, 7, "V3 once more"),
    ("v3 renamed", "b", "validation", 22, 7, "V3"),
]


def test_no_product_is_scored_by_what_saw_it():
    asked: dict[str, int] = {}

    def score(ids: np.ndarray, folds: np.ndarray) -> np.ndarray:
        asked.update(zip(ids.tolist(), folds.tolist(), strict=True))
        return probabilities(np.zeros(len(ids), np.int64), 2)

    champion, challenger = make_side(CHAMPIONS), make_side(CHALLENGERS, ("a", "b", "c"))
    pairs = compare(champion, challenger, score)
    # Stored where nothing changed, the fold that held it or a duplicate out where something did, else none.
    renamed = {"v2 renamed": 1, "near v3": 1, "v3 renamed": 1}
    assert asked == {"v2": 1, "new": -1, "like v3": 1, "v4": 0, "like two": 0, "other": -1, **renamed}
    assert set(pairs.ids) == {"v1", "v3", *asked}
    assert pairs.scored == {STORED: 2, HELD_OUT: 7, TRAIN_ONLY: 2}
    assert pairs.left_out == {TRAINED_ON: 1, DUPLICATE: 3}
    assert sum(pairs.scored.values()) + sum(pairs.left_out.values()) == len(challenger.validation)


def test_a_changed_product_whose_group_lies_in_several_folds_is_left_out():
    rows = [("v2", "b", "validation", 9, 1, "changed"), ("v4", "b", "validation", 9, 1, "changed too")]
    pairs = compare(make_side(CHAMPIONS), make_side(rows), lambda ids, folds: np.zeros((len(ids), 2)))
    assert pairs.left_out == {TWO_FOLDS: 2}
    assert len(pairs.ids) == 0


def test_sides_with_other_classes_are_compared_by_code():
    champion = make_side(
        [("1", "b", "validation", 1, 0, "1"), ("2", "x", "validation", 2, 0, "2")], ("b", "x")
    )
    rows = [("1", "b", "validation", 1, 0, "1"), ("2", "a", "validation", 2, 0, "2")]
    pairs = compare(champion, make_side(rows, ("a", "b")), never)
    assert pairs.classes == ("a", "b", "x")
    assert [pairs.labels.tolist(), pairs.challenger.tolist(), pairs.champion.tolist()] == [
        [1, 0],
        [1, 0],
        [1, 2],
    ]


def test_sides_without_a_common_class_are_not_compared():
    rows = [("1", "x", "validation", 1, 0, "1")]
    with pytest.raises(InputError, match=r"\(a, b\) and the challenger's \(x, y\) have none in common"):
        compare(make_side(CHAMPIONS), make_side(rows, ("x", "y")), never)


def never(ids: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Scores nothing: what is stored suffices."""
    raise AssertionError(f"asked for {ids}")


def test_a_side_is_what_its_package_says(tmp_path: Path):
    side = make_side(CHAMPIONS)
    write_json(tmp_path / "model.json", {"classes": ["a", "b"]})
    side.products.to_parquet(tmp_path / "products.parquet")
    save_file({"pred_probs": side.pred_probs}, tmp_path / "validation.safetensors")
    found = read_side(tmp_path)
    assert found.products.equals(side.products)
    assert (found.pred_probs == side.pred_probs).all()
    save_file({"pred_probs": side.pred_probs[1:]}, tmp_path / "validation.safetensors")
    with pytest.raises(InputError, match=r"validation.safetensors: shape \(3, 2\), expected \(4, 2\)"):
        read_side(tmp_path)
