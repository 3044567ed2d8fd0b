"""The training loop on a line of four weights: what it calls, what it saves, where it stops."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from components.core.errors import InputError
from components.data import top_classes
from components.data.top_classes import TopClasses, in_form
from components.modeling import training
from components.modeling.callbacks import Average, BestEpoch, EpochEvaluation
from components.modeling.checkpoint import Checkpoints
from components.modeling.step import OptimizerStep
from components.modeling.termination import catch_sigterm
from components.modeling.training import Callback, TrainingLoop, TrainingPlan, shuffled_batches

ROWS = np.arange(12)
INPUTS = torch.randn(12, 4, generator=torch.Generator().manual_seed(1))


class Line:
    """Fits a line with dropout; 4 steps an epoch. `at` acts before the gradients of a step."""

    def __init__(
        self, folder: Path | None = None, *, at: Callable[[int], Any] = lambda _: None, **options: Any
    ) -> None:
        torch.manual_seed(0)
        self.model: Any = torch.nn.Sequential(torch.nn.Dropout(0.2), torch.nn.Linear(4, 1))
        self.at = at
        optimizer = torch.optim.AdamW(self.model.parameters())
        callbacks = options.pop("callbacks", lambda _: {})
        plan = {"epochs": 3, "epoch_steps": 4, "learning_rate": lambda step: 0.1 / (step + 1), "seed": 5}
        settings = {key: options.pop(key) for key in ("checkpoints", "termination") if key in options}
        if folder:
            settings["checkpoints"] = Checkpoints(lambda: folder)
        self.loop = TrainingLoop(
            OptimizerStep(self.model, optimizer, self.backward, max_grad_norm=1.0),
            TrainingPlan(**{"name": "the line", **plan, **options}),
            callbacks(self),
            **settings,
        )

    def backward(self, rows: np.ndarray) -> torch.Tensor:
        self.at(self.loop.steps)
        loss = (self.model(INPUTS[rows]) - INPUTS[rows].sum(1, keepdim=True)).square().mean()
        loss.backward()
        return loss

    def batches(self, epoch: int, first: int) -> list[np.ndarray]:
        return shuffled_batches(ROWS, 3, range(first, 4), seed=5, epoch=epoch)

    def run(self) -> "Line":
        self.loop.run(self.batches)
        return self

    def weights(self) -> list[float]:
        return torch.cat([parameter.detach().flatten() for parameter in self.model.parameters()]).tolist()


def everything(line: Line) -> dict[str, Callback]:
    """All callbacks; the model's own sums stand for predictions."""

    def predict(split: str) -> np.ndarray:
        line.loop.pause()
        net: Any = average.average.module
        scores = net[1](INPUTS).detach()
        return torch.cat([scores, -scores], dim=1).softmax(1).numpy()

    average = Average(line.model, 0.5)
    labels = {"validation": ROWS % 2, "test": ROWS}
    evaluation = EpochEvaluation(predict, labels, keeps=lambda _: True, newest=2, folds=ROWS % 3)
    return {"average": average, "evaluation": evaluation, "best": BestEpoch(average.average.module)}


def test_a_product_is_predicted_at_the_epoch_that_is_best_on_others():
    labels, folds = ROWS % 2, ROWS // 6
    epochs = []

    def predict(split: str) -> np.ndarray:
        right_on = len(epochs) % 2  # each epoch is right on one fold and wrong on the other
        epochs.append(split)
        return np.eye(2, dtype=np.float32)[np.where(folds == right_on, labels, 1 - labels)]

    evaluation = EpochEvaluation(
        predict, {"validation": labels}, keeps=lambda _: False, newest=1, folds=folds
    )
    loop: Any = None
    for epoch in range(1, 5):
        evaluation.on_epoch_end(loop, {"epoch": epoch})
    assert (evaluation.out_of_fold.argmax(axis=1) != labels).all()


def stop_at(step: int) -> Callable[[int], None]:
    def at(taken: int) -> None:
        if taken == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return at


@pytest.mark.parametrize("step", [0, 2, 3, 4, 11])
def test_stopped_after_any_step_it_ends_with_the_same_weights_curves_and_predictions(
    tmp_path: Path, step: int
):
    whole = Line(callbacks=everything).run()
    with catch_sigterm() as termination:
        stopped = Line(tmp_path, at=stop_at(step), callbacks=everything, termination=termination)
        with pytest.raises(SystemExit) as ended:
            stopped.run()
    assert ended.value.code == 143
    resumed = Line(tmp_path, callbacks=everything)
    assert resumed.loop.steps == step + 1
    resumed.run()
    assert resumed.weights() == whole.weights()
    assert resumed.loop.curves[step // 4].pop("resumed_at_step") == step + 1
    for curve, expected in zip(resumed.loop.curves, whole.loop.curves, strict=True):
        assert {**curve, "seconds": 0} == {**expected, "seconds": 0}
    parts, expected = (line.loop.callbacks for line in (resumed, whole))
    for name in expected:
        assert set(parts[name].state_dict()) == set(expected[name].state_dict())
        for key, tensor in expected[name].state_dict().items():
            assert torch.equal(parts[name].state_dict()[key], tensor), (name, key)


def test_a_finished_training_is_not_trained_again(tmp_path: Path):
    whole = Line(tmp_path).run()
    again = Line(tmp_path, at=lambda _: pytest.fail("a step of a finished training"))
    assert again.loop.finished
    assert again.run().weights() == whole.weights()


def test_a_loss_that_is_no_number_names_step_epoch_and_rate_and_is_not_saved(tmp_path: Path):
    line = Line(tmp_path, at=lambda step: line.model[1].weight.data.mul_(np.nan if step == 6 else 1))
    with pytest.raises(InputError, match=r"the line: the loss is nan at step 6 \(epoch 2\) .* rate 0\.0143"):
        line.run()
    assert not list(tmp_path.iterdir())


def test_losses_stay_on_the_device_for_as_many_steps_as_it_says(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(training.READ_STEPS, "cpu", 3)
    line = Line(at=lambda _: unread.append(len(line.loop.unread)))
    unread: list[int] = []
    losses = Line().run().loop.curves
    assert [curve["loss"] for curve in line.run().loop.curves] == [curve["loss"] for curve in losses]
    assert unread == [0, 1, 2, 0] * 3  # an epoch's end reads them too


def test_sigterm_in_the_middle_of_a_step_leaves_the_step_untaken(tmp_path: Path):
    def at(step: int) -> None:
        if step == 5:
            termination.requested = True
            stopped.loop.pause()

    with catch_sigterm() as termination:
        stopped = Line(tmp_path, at=at, termination=termination)
        with pytest.raises(SystemExit):
            stopped.run()
    assert Line(tmp_path).loop.steps == 5
    assert Line(tmp_path).run().weights() == Line().run().weights()


def test_a_checkpoint_is_saved_whenever_its_time_has_come(tmp_path: Path):
    steps: list[list[str]] = []
    Line(
        tmp_path,
        at=lambda _: steps.append(sorted(path.name for path in tmp_path.iterdir())),
        checkpoint_minutes=0.0,
    ).run()
    # An epoch's end has a number of its own, and nobody saves before the next step.
    assert [saved[-1:] for saved in steps[:6]] == [[], *([f"step-{n:09d}"] for n in (1, 2, 3, 4, 6))]


def test_every_step_has_its_own_draws_and_every_epoch_its_own_order():
    line = Line(epochs=2, at=lambda _: draws.append(torch.rand(1).item()))
    draws: list[float] = []
    line.run()
    assert len(set(draws)) == 8
    orders = [np.concatenate(line.batches(epoch, 0)) for epoch in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) == ROWS.tolist()
    assert orders[0].tolist() != orders[1].tolist()
    assert [rows.tolist() for rows in line.batches(0, 2)] == [
        rows.tolist() for rows in line.batches(0, 0)[2:]
    ]


class Scores(Callback):
    """Gives every epoch a macro-F1."""

    def __init__(self, *scores: float) -> None:
        self.scores = scores

    def on_epoch_end(self, loop: TrainingLoop, curve: dict[str, float]) -> None:
        curve["macro_f1"] = self.scores[int(curve["epoch"]) - 1]


def test_the_weights_of_the_best_epoch_are_kept_and_the_training_goes_on(tmp_path: Path):
    def callbacks(line: Line) -> dict[str, Callback]:
        return {"scores": Scores(0.1, 0.5, 0.5, 0.4), "best": BestEpoch(line.model)}

    line = Line(tmp_path, epochs=4, callbacks=callbacks).run()
    assert len(line.loop.curves) == 4
    assert line.loop.callbacks["best"].state_dict()["1.weight"].tolist() != line.model[1].weight.tolist()


def test_a_checkpoint_has_what_is_kept_of_many_classes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(top_classes, "MANY_CLASSES", 4)
    monkeypatch.setattr(top_classes, "KEPT", 3)
    labels, random = ROWS % 5, np.random.default_rng(0)

    def evaluation() -> EpochEvaluation:
        return EpochEvaluation(
            lambda _: in_form(random.dirichlet(np.ones(5), len(ROWS)).astype(np.float32)),
            {"validation": labels, "test": labels},
            keeps=lambda _: True,
            newest=2,
            folds=ROWS % 3,
        )

    before, after, loop = evaluation(), evaluation(), cast(TrainingLoop, None)
    for epoch in range(1, 4):
        before.on_epoch_end(loop, {"epoch": epoch})
    after.load_state_dict(load(save(before.state_dict())))
    assert list(after.kept) == [2, 3]
    assert after.scores == before.scores
    pairs = [
        (after.kept[epoch][split], before.kept[epoch][split]) for epoch in (2, 3) for split in before.labels
    ]
    for found, expected in [*pairs, (after.out_of_fold, before.out_of_fold)]:
        assert isinstance(found, TopClasses)
        assert isinstance(expected, TopClasses)
        np.testing.assert_array_equal(found.kept, expected.kept)
        np.testing.assert_array_equal(found, expected)
