"""The training loop: steps and epochs, resumed from the newest checkpoint.

What a step computes is the step's business, and what follows an epoch the callbacks'. Batches come from
(seed, epoch), what torch draws from (seed, step): a checkpoint holds no random state.
"""

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from components.core.errors import InputError
from components.modeling.checkpoint import Checkpoints
from components.modeling.processes import in_any, mean, process_count, process_rank
from components.modeling.termination import Termination

log = logging.getLogger(__name__)

READ_STEPS = {
    "cpu": 1,
    "cuda": 50,
}  # steps between two readings of losses: each makes the host wait for a GPU
QUICK_SECONDS = 1.0  # shorter epochs are no news: the last alone is logged


class Step(Protocol):
    """A step of an optimizer, and all tensors that it changes."""

    def __call__(self, batch: Any, learning_rate: float, /) -> Tensor:
        """Changes the weights; returns the batch's mean loss, (), which may still be on its way."""
        ...

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, tensors: dict[str, Tensor], /) -> None: ...


class Callback:
    """What is done beside the steps, and the tensors that it keeps."""

    def on_batch_end(self, loop: "TrainingLoop") -> None:
        """Follows every step."""

    def on_epoch_end(self, loop: "TrainingLoop", curve: dict[str, float]) -> None:
        """Follows the last step of an epoch; may add figures to its curve. A stop may repeat it."""

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Takes what `state_dict` gave."""


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how fast something is trained.

    Attributes:
        name: what is trained, for messages.
        epochs: passes over what is fitted.
        epoch_steps: steps of an epoch.
        learning_rate: step, counted from 0 -> learning rate; see `schedules`.
        seed: of the steps' draws; with None they go on from torch's generator, and nothing can be resumed.
        checkpoint_minutes: between two checkpoints.
    """

    name: str
    epochs: int
    epoch_steps: int
    learning_rate: Callable[[int], float]
    seed: int | None = None
    checkpoint_minutes: float = 10.0


class TrainingLoop:
    """One training, from its start or its newest checkpoint to its end.

    Processes that train together run a loop each: all take the same decisions, and process 0 alone writes.

    Attributes:
        steps: steps taken.
        curves: one mapping an epoch that has ended: "epoch", "loss", "learning_rate", "seconds", ...
    """

    def __init__(
        self,
        step: Step,
        plan: TrainingPlan,
        callbacks: Mapping[str, Callback] | None = None,
        *,
        checkpoints: Checkpoints | None = None,
        termination: Termination | None = None,
    ) -> None:
        self.step, self.plan, self.callbacks = step, plan, callbacks or {}
        self.checkpoints, self.termination = checkpoints, termination or Termination()
        self.steps = 0
        self.curves: list[dict[str, float]] = []
        self.losses: list[float] = []  # of the epoch under way
        self.unread: list[Tensor] = []  # the newest ones, still on the device
        self.seconds = 0.0  # that the epoch under way took before this attempt
        self.resumed_at: int | None = None  # the step at which the epoch under way was resumed
        self.saved_at = self.continued_at = time.monotonic()
        self._resume()

    @property
    def finished(self) -> bool:
        return len(self.curves) == self.plan.epochs

    def run(self, batches: Callable[[int, int], Iterable[Any]]) -> None:
        """Trains to the end.

        Args:
            batches: (epoch, first) -> the epoch's batches from number `first` on.

        Raises:
            InputError: a loss is not a number; names the step and the learning rate.
            SystemExit: SIGTERM came; a checkpoint is saved, status 143.
        """
        while not self.finished:
            epoch = len(self.curves)
            for batch in batches(epoch, self.steps - epoch * self.plan.epoch_steps):
                self.take_step(batch)
                self._save_if_due()
            self._end_epoch(epoch + 1)
        self.save()

    def take_step(self, batch: Any) -> None:
        if self.plan.seed is not None:
            draws = np.random.SeedSequence([self.plan.seed, self.steps, process_rank()])
            torch.manual_seed(int(draws.generate_state(1)[0]))
        loss = self.step(batch, self.plan.learning_rate(self.steps))
        self.steps += 1
        self.unread.append(loss)
        for callback in self.callbacks.values():
            callback.on_batch_end(self)
        if len(self.unread) >= READ_STEPS[loss.device.type]:
            self.read_losses()

    def read_losses(self) -> None:
        if not self.unread:
            return
        values = mean(torch.stack(self.unread)).tolist()
        self.unread.clear()
        for step, value in enumerate(values, start=self.steps - len(values)):
            if not math.isfinite(value):
                raise InputError(
                    f"{self.plan.name}: the loss is {value} at step {step} (epoch "
                    f"{step // self.plan.epoch_steps + 1}) with learning rate "
                    f"{self.plan.learning_rate(step):.3g}: lower learning_rate, or lengthen a warm-up"
                )
        self.losses += values

    def pause(self) -> None:
        """To be called between the parts of something long: saves and leaves where SIGTERM has come.

        Of several processes none does anything: they are at different places, and leave after the step.
        """
        if process_count() == 1 and self.termination.requested:
            self.save()
            self.termination.leave()

    def save(self) -> None:
        """Writes a checkpoint of this moment; any moment but within a step's update will do."""
        self.read_losses()
        self.saved_at = time.monotonic()
        # An epoch's end is a number of its own: predicting it may be what a kill interrupts.
        number = self.steps + len(self.curves)
        if self.checkpoints is None or process_rank() > 0 or not number:
            return
        parts = {"step": self.step, **self.callbacks}
        tensors = {f"{part}.{key}": t for part, one in parts.items() for key, t in one.state_dict().items()}
        state = {name: getattr(self, name) for name in ("steps", "losses", "curves")}
        self.checkpoints.save(number, tensors, {**state, "seconds": self._seconds()})

    def _resume(self) -> None:
        found = self.checkpoints.load() if self.checkpoints else None
        if found is None:
            return
        _, tensors, state = found
        for part, one in {"step": self.step, **self.callbacks}.items():
            prefix = f"{part}."
            one.load_state_dict(
                {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
            )
        for name, value in state.items():
            setattr(self, name, value)
        self.resumed_at = self.steps
        total = self.plan.epochs * self.plan.epoch_steps
        log.info("%s: goes on from step %d of %d", self.plan.name, self.steps, total)

    def _end_epoch(self, epoch: int) -> None:
        self.read_losses()
        rate = self.plan.learning_rate(self.steps - 1)
        curve = {"epoch": epoch, "loss": float(np.mean(self.losses)), "learning_rate": rate}
        for callback in self.callbacks.values():
            callback.on_epoch_end(self, curve)
        curve["seconds"] = self._seconds()
        if self.resumed_at is not None:
            curve["resumed_at_step"] = self.resumed_at
        self.curves.append(curve)
        self.losses, self.seconds, self.resumed_at = [], 0.0, None
        self.continued_at = time.monotonic()
        figures = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in curve.items())
        level = logging.INFO if self.finished or curve["seconds"] > QUICK_SECONDS else logging.DEBUG
        log.log(level, "%s, of %d epochs: %s", self.plan.name, self.plan.epochs, figures)

    def _seconds(self) -> float:
        return round(self.seconds + time.monotonic() - self.continued_at, 2)

    def _save_if_due(self) -> None:
        overdue = time.monotonic() - self.saved_at >= 60 * self.plan.checkpoint_minutes
        leaving, due = in_any(self.termination.requested, overdue)
        if leaving or due:
            self.save()
        if leaving:
            self.termination.leave()


def shuffled_batches(
    rows: np.ndarray, size: int, numbers: Iterable[int], *, seed: int, epoch: int
) -> list[np.ndarray]:
    """Some of an epoch's batches: those of `numbers`, when `rows` are shuffled and cut after every `size`."""
    order = np.random.default_rng([seed, epoch]).permutation(rows)
    return [order[number * size : (number + 1) * size] for number in numbers]
