"""Calibration: probabilities that mean what they say, the same classes, nothing claimed of few products."""

import numpy as np
import pytest

from components.core.errors import InputError
from components.modeling.calibration import FITS, Calibrator, calibrated, calibrator_of, fit_temperature
from components.modeling.metrics import log_loss
from components.modeling.reliability import calibration_error, chance_band


def sampled(
    rows: int, *, temperature: float = 1.0, noise: float = 0.0, classes: int = 5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are right but for a temperature, and labels, some of them wrong at random."""
    random = np.random.default_rng(seed)
    logits = 3 * random.normal(size=(rows, classes))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (random.random((rows, 1)) > honest.cumsum(axis=1)).sum(axis=1).clip(max=classes - 1)
    wrong = random.random(rows) < noise
    labels[wrong] = random.integers(classes, size=int(wrong.sum()))
    flat = np.exp(logits * temperature)
    return (flat / flat.sum(axis=1, keepdims=True)).astype(np.float32), labels


def test_a_temperature_is_found_again() -> None:
    pred_probs, labels = sampled(4000, temperature=0.4)
    assert fit_temperature(pred_probs, labels).temperature == pytest.approx(0.4, rel=0.05)


def test_the_kind_with_the_least_log_loss_out_of_fold_is_taken() -> None:
    pred_probs, labels = sampled(3000, temperature=0.3, noise=0.1)
    found = calibrated(pred_probs, labels, np.arange(3000))
    assert found.calibrator.kind == "temperature_and_floor"
    assert found.calibrator.floor == pytest.approx(0.1, abs=0.03)
    assert log_loss(labels, found.pred_probs) == min(found.log_loss.values()) < log_loss(labels, pred_probs)
    assert calibration_error(labels, found.pred_probs) < 0.03 < calibration_error(labels, pred_probs)


@pytest.mark.parametrize("kind", FITS)
def test_no_kind_changes_a_predicted_class(kind: str) -> None:
    pred_probs, labels = sampled(500, temperature=0.3)
    pred_probs[0] = 0.2
    pred_probs[1] = np.array([0, 0.5 - 3e-8, 0.5, 0, 0])
    pred_probs[2] = np.array([0, 0, 1, 0, 0])
    calibrator = FITS[kind](pred_probs, labels)
    after = calibrator(pred_probs)
    np.testing.assert_array_equal(after.argmax(axis=1), pred_probs.argmax(axis=1))
    np.testing.assert_allclose(after.sum(axis=1), 1, atol=1e-5)
    assert after.dtype == np.float32
    again = calibrator_of(calibrator.document(), where="model.json")
    np.testing.assert_array_equal(again(pred_probs), after)


def test_copies_of_a_product_are_never_on_both_sides() -> None:
    pred_probs, _ = sampled(60, temperature=0.3)
    copies = np.repeat(np.arange(60), 20)
    random = np.random.default_rng(0).integers(5, size=60)  # labels that nothing explains
    found = calibrated(pred_probs[copies], random[copies], copies)
    alone = calibrated(pred_probs, random, np.arange(60))
    assert log_loss(random[copies], found.pred_probs) == pytest.approx(
        alone.log_loss["temperature"], abs=0.15
    )


def test_no_mistake_on_few_products_makes_nobody_sure() -> None:
    pred_probs = np.tile(np.array([0.7, 0.2, 0.1], np.float32), (20, 1))
    calibrator = fit_temperature(pred_probs, np.zeros(20, int))
    assert 0.9 < calibrator(pred_probs).max() < 0.99


def test_too_few_products_for_two_folds_change_nothing() -> None:
    pred_probs, _ = sampled(3)
    found = calibrated(pred_probs, np.array([0, 1, 2]), np.arange(3))
    assert found.calibrator == Calibrator()
    assert found.pred_probs is pred_probs


def test_the_band_holds_95_of_100_calibrated_classifiers_and_counts_copies_once() -> None:
    inside = []
    for seed in range(60):
        pred_probs, labels = sampled(300, seed=seed)
        band = chance_band(pred_probs.max(axis=1), np.arange(300))
        inside.append(calibration_error(labels, pred_probs) <= band.error)
    assert np.mean(inside) > 0.88
    copies = chance_band(pred_probs.max(axis=1), np.arange(300) // 10)
    assert copies.error > 1.3 * band.error


def test_a_kind_of_a_later_release_is_refused() -> None:
    with pytest.raises(InputError, match=r"model.json: calibration 'spline'"):
        calibrator_of({"kind": "spline"}, where="model.json")
