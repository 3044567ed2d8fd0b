"""Auto-accept: the promise holds on other products, label noise or not, and nothing is promised of few."""

import re

import numpy as np
import pytest

from components.modeling.acceptance import Acceptance, acceptance, curve_of
from components.modeling.calibration import calibrated
from components.modeling.label_noise import LabeledPredictions
from components.reports.acceptance import accepted_sentence
from components.reports.page import target_percent

CLASSES = 8
COUNTS = {"products": 100, "accepted": 80, "checked": 2}


def catalog(rows: int, *, noise: float = 0.0, copies: int = 1, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Probabilities that are too flat, labels of which some are wrong at random, true classes, groups."""
    random = np.random.default_rng(seed)
    logits = random.gumbel(size=(rows, CLASSES)) * 2
    logits[np.arange(rows), random.integers(CLASSES, size=rows)] += 8 * random.random(rows)
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    true = (random.random((rows, 1)) > honest.cumsum(axis=1)).sum(axis=1).clip(max=CLASSES - 1)
    flat = np.exp(0.5 * logits)
    voted = (flat / flat.sum(axis=1, keepdims=True)).astype(np.float32)
    labels = np.where(random.random(rows) < noise, random.integers(CLASSES, size=rows), true)
    at = np.repeat(np.arange(rows), copies)
    return voted[at], labels[at], true[at], at


def chosen(
    voted: np.ndarray, labels: np.ndarray, groups: np.ndarray, target: float, max_noise: float = 0.02
) -> Acceptance:
    pred_probs = calibrated(voted, labels, groups).pred_probs
    known = LabeledPredictions.of(voted, pred_probs, labels, groups, max_noise=max_noise)
    return acceptance(known, labels, target=target)


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_what_is_accepted_is_right_as_often_as_promised_on_true_classes(noise: float) -> None:
    kept = []
    for seed in range(2):
        voted, labels, true, groups = catalog(2000, noise=noise, seed=seed)
        found = chosen(voted, labels, groups, 0.95)
        assert found.chosen is not None
        accepted = calibrated(voted, labels, groups).pred_probs.max(axis=1) >= found.chosen.probability
        kept.append((voted.argmax(axis=1) == true)[accepted].mean())
        assert found.estimated == pytest.approx(noise * (1 - 1 / CLASSES), abs=0.02)
    assert min(kept) >= 0.95


def test_with_wrong_labels_the_accuracy_as_labeled_is_less_than_the_corrected() -> None:
    voted, labels, _, groups = catalog(2500, noise=0.05)
    found = chosen(voted, labels, groups, 0.95, max_noise=0.05).chosen
    assert found is not None
    assert found.accuracy < 0.95 < found.corrected_low <= found.corrected <= found.corrected_high
    said = accepted_sentence(COUNTS, chosen(voted, labels, groups, 0.95, max_noise=0.05).document())
    assert "At 95 % accuracy" in said
    assert re.search(
        r"% are right as labeled \(9\d\.\d % if, as the run assumes, \d\.\d % of these labels", said
    )


def test_a_target_is_written_as_it_was_asked_for() -> None:
    assert [target_percent(target) for target in (0.97, 0.995, 0.9999)] == ["97", "99.5", "99.99"]


def test_confident_mistakes_cost_a_promise_no_more_than_the_noise_it_may_take_away() -> None:
    voted, labels, _, groups = catalog(2000)
    mistaken = np.random.default_rng(0).random(len(voted)) < 0.04
    voted[mistaken] = np.roll(voted[mistaken], 1, axis=1)  # as sure as ever, of another class
    right = voted.argmax(axis=1) == labels
    sure = calibrated(voted, labels, groups).pred_probs.max(axis=1)
    found = chosen(voted, labels, groups, 0.9, max_noise=0.01)
    assert found.estimated > 0.02 > found.noise == 0.01
    assert found.chosen is not None
    assert found.chosen.corrected - found.chosen.accuracy < 0.01
    assert right[sure >= found.chosen.probability].mean() >= 0.89


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rows", [2, 5, 10])
def test_a_handful_of_products_warns_of_nothing_and_reports_nothing_accepted(rows: int) -> None:
    voted, labels, _, groups = catalog(rows)
    found = chosen(voted, labels, groups, 0.97)
    assert (found.chosen, found.out_of_fold) == (None, None)


def test_few_products_support_no_high_target_and_the_highest_is_named() -> None:
    voted, labels, _, groups = catalog(60)
    found = chosen(voted, labels, groups, 0.99)
    assert found.chosen is None
    assert found.out_of_fold is None
    assert found.document()["probability"] is None
    assert 0.5 < found.highest.corrected_low < 0.99


def test_products_that_are_all_right_do_not_prove_that_none_is_ever_wrong() -> None:
    sure = np.tile(np.array([0.9, 0.1], np.float32), (50, 1))
    known = LabeledPredictions.of(sure, sure, np.zeros(50, int), np.arange(50), max_noise=0.02)
    assert 0.9 < curve_of(known)[-1].corrected_low < 0.97


def test_copies_are_the_evidence_of_one_product() -> None:
    found = []
    for copies in (1, 10):
        voted, labels, _, groups = catalog(100, copies=copies)
        found.append(chosen(voted, labels, groups, 0.8).highest.corrected_low)
    assert found[0] == pytest.approx(found[1], abs=0.03)
