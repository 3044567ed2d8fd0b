"""The linear probe: scikit-learn's optimum, its penalty chosen out of fold, classes that are not there."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from components.modeling.linear_probe import fit_probe
from components.modeling.metrics import log_loss

RANDOM = np.random.default_rng(0)


def blobs(count: int, classes: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(count) % classes
    centers = np.eye(classes, 12)[labels]
    return (centers + noise * RANDOM.normal(size=centers.shape) + 5).astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 3])
def test_it_is_scikit_learns_on_centered_features_of_one_scale(classes):
    features, labels = blobs(300, classes, 0.5)
    probe = fit_probe(features, labels, classes, l2=[0.1], groups=np.arange(300), seed=0)
    scaled = (features - features.mean(axis=0)) / np.sqrt(features.var(axis=0).sum())
    strength = 0.1 if classes > 2 else 0.05  # of two classes scikit-learn has one column of weights, not two
    expected = (
        LogisticRegression(C=1 / strength, tol=1e-6, max_iter=1000).fit(scaled, labels).predict_proba(scaled)
    )
    assert np.abs(probe.predict(features) - expected).max() < 0.005
    assert probe.log_losses == {}


def test_the_penalty_with_the_least_out_of_fold_log_loss_is_taken():
    features, labels = blobs(400, 4, 0.8)
    l2 = [100.0, 0.1, 0.0001]
    probe = fit_probe(features, labels, 4, l2=l2, groups=np.arange(400), seed=0)
    best = min(l2, key=probe.log_losses.__getitem__)
    alone = fit_probe(features, labels, 4, l2=[best], groups=np.arange(400), seed=0)
    assert np.array_equal(probe.weights, alone.weights)
    assert best == 0.1
    fresh, truth = blobs(4000, 4, 0.8)
    held_out = log_loss(truth, probe.predict(fresh))
    assert probe.log_losses[best] == pytest.approx(held_out, rel=0.15)


def test_a_group_is_never_on_both_sides_of_a_fold():
    features, labels = blobs(60, 3, 3.0)
    twins, twice = np.repeat(features, 2, axis=0), np.repeat(labels, 2)
    weak = [0.0001, 0.00001]
    apart = fit_probe(twins, twice, 3, l2=weak, groups=np.repeat(np.arange(60), 2), seed=0)
    leaking = fit_probe(twins, twice, 3, l2=weak, groups=np.arange(120), seed=0)
    assert min(leaking.log_losses.values()) < 0.75 * min(apart.log_losses.values())


def test_classes_that_it_has_not_seen_get_nothing_and_one_class_gets_all():
    features, labels = blobs(90, 3, 0.3)
    probe = fit_probe(features, labels * 2, 6, l2=[0.1], groups=np.arange(90), seed=0)
    pred_probs = probe.predict(features)
    assert np.array_equal(pred_probs[:, [1, 3, 5]], np.zeros((90, 3)))
    np.testing.assert_allclose(pred_probs.sum(axis=1), 1, atol=1e-5)
    one = fit_probe(features[:5], np.full(5, 2), 3, l2=[0.1, 1.0], groups=np.arange(5), seed=0)
    assert one.predict(features)[:, 2].tolist() == [1.0] * 90


def test_its_tensors_are_all_that_predicting_takes():
    features, labels = blobs(60, 3, 0.3)
    probe = fit_probe(features, labels, 3, l2=[0.1], groups=np.arange(60), seed=0)
    kept = {name: tensor.numpy() for name, tensor in probe.tensors().items()}
    logits = (features - kept["center"]) / kept["spread"] @ kept["weights"] + kept["bias"]
    assert np.array_equal(logits.argmax(axis=1), probe.predict(features).argmax(axis=1))
