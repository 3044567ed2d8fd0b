"""What can be switched on past the paper: each does what it says, and nothing while it is off."""

import numpy as np
import pytest
import torch
from text_catalog import small_config, text_products

from components.data.products import training_task
from components.modeling import precision
from components.modeling.termination import Termination
from components.modeling.text.tokens import tokenize
from components.text.encoder import prepare_encoder
from components.text.step import batch_loss, class_weights, make_optimizer
from components.text.training import Training


def start(**changes) -> Training:
    """A training that has not begun, without dropout."""
    products, config = text_products(), small_config(dropout=0.0, **changes)
    task = training_task(products, fold=None, cleaned=False)
    model, tokenizer = prepare_encoder(products, task.fit, config, seed=1)
    table = products.table
    tokens = tokenize(
        tokenizer, table["title"].tolist(), table["description"].tolist(), max_tokens=config.max_tokens
    )
    return begun(products, model, tokens, task, config)


def begun(products, model, tokens, task, config) -> Training:
    groups, termination = products.table["group"].to_numpy(), Termination()
    settings = {"groups": groups, "seed": 1, "checkpoints": None, "termination": termination}
    return Training(model, tokens, products.labels, task, config, **settings)


def weights_after(training: Training, steps: int) -> list[dict[str, torch.Tensor]]:
    """The weights after each of some steps."""
    history = []
    for step in range(steps):
        training.loop.take_step(np.arange(step * 6, step * 6 + 12))
        history.append({name: weight.clone() for name, weight in training.model.state_dict().items()})
    return history


def test_biases_and_norms_do_not_decay():
    optimizer = make_optimizer(start().model, small_config(weight_decay=0.3))
    for group in optimizer.param_groups:
        assert all((weight.ndim > 1) == (group["weight_decay"] == 0.3) for weight in group["params"])


def test_label_smoothing_is_the_usual_one_and_off_means_plain_cross_entropy():
    logits, labels = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3
    for smoothing in (0.0, 0.1):
        usual = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)(logits, labels)
        ours = batch_loss(logits, labels, torch.ones(3), torch.tensor(8.0), smoothing)
        torch.testing.assert_close(ours, usual)
    plain, smoothed = start(epochs=1), start(epochs=1, label_smoothing=0.2)
    for training in (plain, smoothed):
        training.run()
    assert plain.loop.curves[0]["loss"] != smoothed.loop.curves[0]["loss"]


def test_class_weights_are_inverse_frequencies_and_rare_classes_count_as_much():
    labels = np.array([0] * 6 + [1] * 3 + [3])
    assert class_weights(labels, 4, balanced=False).tolist() == [1, 1, 1, 1]
    weights = class_weights(labels, 4, balanced=True)
    np.testing.assert_allclose(weights, [10 / 24, 10 / 12, 0, 10 / 4])
    logits = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    target = torch.from_numpy(labels)
    usual = torch.nn.CrossEntropyLoss(weight=weights)(logits, target)
    torch.testing.assert_close(batch_loss(logits, target, weights, weights[target].sum(), 0.0), usual)


def test_weighted_passes_add_up_to_the_weighted_batch():
    once, split = (start(class_weights=True, accumulation=parts) for parts in (1, 3))
    for training in (once, split):
        training.loop.steps = 10  # past the first step, whose rate is 0
        training.loop.take_step(np.array([0, 1, 3, 4, 6, 9, 12, 15]))
    for name, weight in once.model.state_dict().items():
        torch.testing.assert_close(split.model.state_dict()[name], weight, atol=2e-4, rtol=0)
    assert split.loop.losses == pytest.approx(once.loop.losses, abs=1e-5)


def test_the_average_follows_the_weights_and_predicts():
    training = start(ema=0.8)
    history = weights_after(training, 3)
    expected = history[0]
    for weights in history[1:]:
        expected = {name: 0.8 * value + 0.2 * weights[name] for name, value in expected.items()}
    assert training.predicted is not training.model
    for name, value in training.predicted.state_dict().items():
        torch.testing.assert_close(value, expected[name])
    without = start()
    assert without.predicted is without.model


def test_lower_layers_learn_more_slowly():
    training = start(layer_decay=0.5)
    names = {weight: name for name, weight in training.model.named_parameters()}
    scales = {
        names[weight]: group["scale"]
        for group in training.step.optimizer.param_groups
        for weight in group["params"]
    }
    assert scales["classifier.out_proj.weight"] == 1
    assert scales["roberta.encoder.layer.1.output.dense.weight"] == 0.5
    assert scales["roberta.encoder.layer.0.output.dense.weight"] == 0.25
    assert scales["roberta.embeddings.word_embeddings.weight"] == 0.125
    training.loop.steps = 5
    training.loop.take_step(np.arange(12))
    rates = {group["scale"]: group["lr"] for group in training.step.optimizer.param_groups}
    assert rates[0.125] == pytest.approx(rates[1.0] / 8)


def test_without_layer_decay_every_layer_learns_alike():
    assert {group["scale"] for group in start().step.optimizer.param_groups} == {1.0}


def test_clipping_bounds_a_step_and_can_be_switched_off():
    norms = {}
    for limit in (1e-3, 0.0):
        training = start(max_grad_norm=limit)
        seen = []
        training.step.optimizer.register_step_pre_hook(
            lambda optimizer, *_, seen=seen: seen.append(
                sum(float(w.grad.norm()) ** 2 for g in optimizer.param_groups for w in g["params"]) ** 0.5
            )
        )
        training.loop.take_step(np.arange(12))
        norms[limit] = seen[0]
    assert norms[1e-3] == pytest.approx(1e-3, rel=1e-2)
    assert norms[0.0] > 5e-3


def test_every_epoch_has_its_own_order_and_every_step_its_own_dropout():
    products, config = text_products(), small_config(epochs=2)
    task = training_task(products, fold=None, cleaned=False)
    model, tokenizer = prepare_encoder(products, task.fit, config, seed=1)
    tokens = tokenize(tokenizer, products.table["title"].tolist(), [""] * 102, max_tokens=32)
    training = begun(products, model, tokens, task, config)
    seen = []
    take_step = training.loop.take_step
    training.loop.take_step = lambda batch: (seen.append(batch), take_step(batch))[1]
    training.run()
    first, second = np.concatenate(seen[:6]), np.concatenate(seen[6:])
    assert sorted(first) == sorted(second) == sorted(task.fit)
    assert first.tolist() != second.tolist()


def test_a_training_in_float16_learns_what_one_in_float32_learns(monkeypatch):
    # A CPU in place of a GPU before the A100.
    plain = start(epochs=1, batch_size=6)
    plain.run()
    monkeypatch.setattr(precision, "product_type", lambda device: torch.float16)
    scaled = start(epochs=1, batch_size=6)
    scaled.run()
    kept = scaled.step.state_dict()
    assert kept["scaler.scale"] >= 1
    assert scaled.loop.curves[0]["loss"] == pytest.approx(plain.loop.curves[0]["loss"], abs=2e-3)
    assert scaled.loop.curves[0]["loss"] != plain.loop.curves[0]["loss"]
