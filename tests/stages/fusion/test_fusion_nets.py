"""The fusion nets: all at once is one by one, and no net sees what it is predicted on."""

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from threadpoolctl import threadpool_limits

from components.core.errors import InputError
from components.fusion.decision_level.net_training import Schedule, macro_f1_of_folds, train_nets
from components.fusion.decision_level.nets import Net, TrainedNet
from components.modeling.cross_fitting import cross_fit, mixture_weights, stratified_folds

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from fusion_classifiers import make_classifiers

from benchmarks.fusion_nets import train_one

NETS = [
    Net("linear(a, c)", (0, 2), 0),
    Net("linear(b, c)", (1, 2), 0),
    Net("linear(all)", (0, 1, 2), 0),
    Net("mlp(a, c)", (0, 2), 6),
    Net("mlp(b, c)", (1, 2), 6),
]


def train(
    pred_probs: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    nets: list[Net],
    *,
    epochs: int = 12,
    device: str = "cpu",
) -> list[TrainedNet]:
    schedule = Schedule(epochs=epochs, batch_size=16)
    return train_nets(pred_probs, labels, folds, nets, schedule=schedule, seed=3, device=torch.device(device))


Classifiers = tuple[np.ndarray, np.ndarray, np.ndarray]  # pred_probs, labels, folds


@pytest.fixture(scope="module")
def classifiers() -> Classifiers:
    pred_probs, labels = make_classifiers(3, 157, 5)
    return pred_probs, labels, stratified_folds(labels, folds=4, seed=0)


@threadpool_limits.wrap(limits=1)
def test_nets_trained_together_equal_nets_trained_one_by_one(classifiers: Classifiers) -> None:
    pred_probs, labels, folds = classifiers
    together = train(pred_probs, labels, folds, NETS)
    for net, trained in zip(NETS, together, strict=True):
        for fold in range(4):
            epoch, weights = train_one(
                net,
                pred_probs,
                labels,
                folds,
                fold=fold,
                schedule=Schedule(epochs=12, batch_size=16),
                seed=3,
            )
            assert trained.epochs[fold] == epoch
            for ours, alone in zip(trained.layers, weights, strict=True):
                np.testing.assert_allclose(ours[fold], alone, atol=1e-9)


def test_sure_classifiers_do_not_part_nets_trained_together_from_nets_trained_alone() -> None:
    pred_probs, labels = make_classifiers(2, 300, 5, strength=6)
    pred_probs = pred_probs**4 / (pred_probs**4).sum(axis=2, keepdims=True)  # most rows: 1 and zeros
    folds = stratified_folds(labels, folds=4, seed=0)
    net, schedule = Net("linear", (0, 1), 0), Schedule(batch_size=16)
    trained = train(pred_probs, labels, folds, [net], epochs=40)[0]
    epoch, weights = train_one(net, pred_probs, labels, folds, fold=2, schedule=schedule, seed=3)
    assert trained.epochs[2] == epoch
    np.testing.assert_allclose(trained.layers[0][2], weights[0], atol=1e-9)


@pytest.mark.gpu
def test_epochs_replayed_on_a_gpu_equal_those_of_the_cpu(classifiers: Classifiers) -> None:
    ours, theirs = (train(*classifiers, NETS, device=device) for device in ("cuda", "cpu"))
    for on_gpu, on_cpu in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(on_gpu.macro_f1, on_cpu.macro_f1, atol=1e-11)
        np.testing.assert_array_equal(on_gpu.epochs, on_cpu.epochs)
        for layer, expected in zip(on_gpu.layers, on_cpu.layers, strict=True):
            np.testing.assert_allclose(layer, expected, atol=1e-9)


def test_a_net_does_not_depend_on_the_nets_beside_it(classifiers: Classifiers) -> None:
    together = train(*classifiers, NETS)[1]
    alone = train(*classifiers, [NETS[1]])[0]
    np.testing.assert_allclose(together.out_of_fold, alone.out_of_fold, atol=1e-7)
    np.testing.assert_array_equal(together.epochs, alone.epochs)


def test_a_held_out_label_does_not_change_its_own_prediction(classifiers: Classifiers) -> None:
    pred_probs, labels, folds = classifiers
    changed = labels.copy()
    changed[11] = (labels[11] + 1) % 5
    # With one epoch there is none to choose, so a label can act through training alone.
    before = train(pred_probs, labels, folds, NETS, epochs=1)
    after = train(pred_probs, changed, folds, NETS, epochs=1)
    same_fold = folds == folds[11]
    for ours, theirs in zip(before, after, strict=True):
        np.testing.assert_array_equal(ours.out_of_fold[same_fold], theirs.out_of_fold[same_fold])
        assert not np.array_equal(ours.out_of_fold[~same_fold], theirs.out_of_fold[~same_fold])


def test_macro_f1_of_many_nets_and_folds_is_scikit_learns_of_each() -> None:
    random = np.random.default_rng(0)
    labels, folds, predicted = (
        random.integers(0, most, size) for most, size in ((5, 90), (3, 90), (5, (2, 90)))
    )
    predicted[predicted == 4] = 0
    labels[(labels == 4) & (folds == 1)] = 0  # a class that a fold lacks
    got = macro_f1_of_folds(*(torch.from_numpy(each) for each in (labels, predicted, folds)), classes=5)
    for net, fold in product(range(2), range(3)):
        rows = folds == fold
        expected = f1_score(labels[rows], predicted[net, rows], average="macro")
        assert got[net, fold].item() == pytest.approx(expected, abs=1e-12)


def test_choosing_epochs_does_not_flatter_the_validation_figure() -> None:
    pred_probs, _ = make_classifiers(2, 400, 4)
    random_labels = np.random.default_rng(5).permutation(np.arange(400) % 4)
    folds = stratified_folds(random_labels, folds=8, seed=0)
    net = train(pred_probs, random_labels, folds, [Net("linear", (0, 1), 0)], epochs=30)[0]
    honest = (net.out_of_fold.argmax(axis=1) == random_labels).mean()
    assert honest < 0.3  # by chance 0.25
    assert net.macro_f1.max(axis=0).mean() > honest


def test_every_row_is_predicted_and_probabilities_sum_to_one(classifiers: Classifiers) -> None:
    for net in train(*classifiers, NETS):
        np.testing.assert_allclose(net.out_of_fold.sum(axis=1), 1, atol=1e-5)


def test_votes_on_new_rows_are_those_of_every_fold(classifiers: Classifiers) -> None:
    net = train(*classifiers, [NETS[3]])[0]
    votes = net.predict(classifiers[0][[0, 2]][:, :9])
    assert votes.shape == (4, 9, 5)
    hidden = np.maximum(
        np.concatenate([classifiers[0][0, 4], classifiers[0][2, 4], [1]])
        @ net.layers[0][1].T.astype(np.float64),
        0,
    )
    logits = np.append(hidden, 1) @ net.layers[1][1].T
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(votes[1, 4], expected, atol=1e-6)


def test_a_class_smaller_than_the_folds_is_fused_all_the_same() -> None:
    pred_probs, labels = make_classifiers(2, 60, 4)
    labels[labels == 3] = 0
    labels[:2] = 3
    folds = stratified_folds(labels, folds=8, seed=0)
    net = train(pred_probs, labels, folds, [Net("linear", (0, 1), 0)])[0]
    assert np.isfinite(net.out_of_fold).all()


def test_folds_spread_classes_and_keep_groups_together() -> None:
    random = np.random.default_rng(0)
    groups = random.integers(0, 300, 600)
    labels = groups % 5
    folds = stratified_folds(labels, folds=6, seed=1, groups=groups)
    assert all(len(np.unique(folds[groups == group])) == 1 for group in np.unique(groups))
    counts = np.array([np.bincount(folds[labels == label], minlength=6) for label in range(5)])
    assert (counts.min(axis=1) >= 0.6 * counts.mean(axis=1)).all()
    np.testing.assert_array_equal(folds, stratified_folds(labels, folds=6, seed=1, groups=groups))


@pytest.mark.parametrize("folds", [1, 9])
def test_impossible_folds_are_refused_with_the_sizes(folds: int) -> None:
    with pytest.raises(InputError, match=f"{folds} folds cannot be made of 16 rows"):
        stratified_folds(np.arange(16) % 2, folds=folds, seed=0)


def test_cross_fitting_fits_without_the_rows_it_predicts() -> None:
    folds = np.array([0, 1, 2, 0, 1, 2])
    predicted, learned = cross_fit(
        lambda rows: rows, lambda seen, rows: np.array([[row, *seen] for row in rows]), folds
    )
    assert [seen.tolist() for seen in learned] == [[1, 2, 4, 5], [0, 2, 3, 5], [0, 1, 3, 4]]
    for row, (itself, *seen) in enumerate(predicted.tolist()):
        assert itself == row
        assert row not in seen


def test_mixture_weights_are_those_of_the_least_log_loss() -> None:
    pred_probs, labels = make_classifiers(2, 300, 4)
    pred_probs[1] = 0.7 * pred_probs[1] + 0.3 / 4
    weights = mixture_weights(pred_probs, labels)
    grid = np.linspace(0, 1, 201)
    likelihoods = pred_probs[:, np.arange(300), labels]
    losses = [-np.log(w * likelihoods[0] + (1 - w) * likelihoods[1]).sum() for w in grid]
    assert weights.sum() == pytest.approx(1)
    assert -np.log(weights @ likelihoods).sum() == pytest.approx(min(losses), rel=0.005)
