"""The training loop of one stage: SGD from the image cache, resumed from its newest checkpoint."""

import logging
import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from components.checkpoint import Checkpoints, Termination, flatten_optimizer, restore_optimizer
from components.errors import InputError
from components.image.augment import augment, uniforms
from components.image.cache import ImageCache
from components.image.config import ImageConfig, Stage
from components.image.judging import judge
from components.image.network import PlainNetwork
from components.metrics import macro_f1

log = logging.getLogger(__name__)

CHECK_EVERY = 20  # steps between looks at the loss: each look waits for a GPU
WARMUP = 0.2  # share of the steps in which "one_cycle" climbs
FINAL = "final"

Kept = dict[str, dict[str, np.ndarray]]  # checkpoint -> split -> (rows, C) probabilities


@dataclass(frozen=True)
class Examples:
    """What a stage fits and judges.

    Attributes:
        images: (N,) positions in the image cache, -1 for a product without an image.
        labels: (N,) labels, -1 where unlabelled.
        fit: row numbers with an image.
        predict: split -> row numbers.
        prior: (C,) class frequencies of the rows to fit, the judgement of a product without an image.
    """

    images: np.ndarray
    labels: np.ndarray
    fit: np.ndarray
    predict: dict[str, np.ndarray]
    prior: np.ndarray


@dataclass
class Progress:
    """How far a stage has come."""

    step: int = 0
    losses: list[float] = field(default_factory=list)  # of the epoch under way
    seconds: float = 0.0  # of the epoch under way
    curves: list[dict[str, float]] = field(default_factory=list)
    kept: Kept = field(default_factory=dict)


class StageTraining:
    """Trains `network` through one stage."""

    def __init__(
        self,
        network: PlainNetwork,
        stage: Stage,
        config: ImageConfig,
        examples: Examples,
        *,
        seed: int,
        checkpoints: Checkpoints | None,
    ) -> None:
        self.network, self.stage, self.config, self.examples = network, stage, config, examples
        self.seed, self.checkpoints = seed, checkpoints
        # The last, smaller batch is left out: batch norm of a few images is noise.
        self.epoch_steps = max(1, len(examples.fit) // stage.batch_size)
        self.epochs = max(stage.epochs, math.ceil(config.min_steps / self.epoch_steps))
        groups = [{"params": params, "factor": factor} for params, factor in network.parameter_groups()]
        device = next(network.parameters()).device
        self.optimizer = torch.optim.SGD(
            groups,
            lr=stage.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.schedule == "one_cycle",
            fused=device.type == "cuda",
        )
        compiled = config.compile and device.type == "cuda"
        self.loss = torch.compile(network) if compiled else network
        self.device = device
        self.progress = self._resume()

    @property
    def finished(self) -> bool:
        return self.progress.step == self.epochs * self.epoch_steps

    def run(self, cache: ImageCache, termination: Termination) -> None:
        """Trains to the end; with checkpoints, from and into them.

        Raises:
            InputError: the loss is not a number.
            SystemExit: status 143 after SIGTERM, once a checkpoint is saved.
        """
        self.network.train()
        saved = time.monotonic()
        for epoch in range(self.progress.step // self.epoch_steps, self.epochs):
            mark = time.perf_counter()
            pending: list[Tensor] = []
            batches = self._batches(epoch)[self.progress.step - epoch * self.epoch_steps :]
            images = cache.batches(self.examples.images[rows] for rows in batches)
            for rows, framed in zip(batches, images, strict=True):
                pending.append(self._step(cache, epoch, rows, framed))
                due = time.monotonic() - saved >= 60 * self.config.checkpoint_minutes
                ends = self.progress.step % self.epoch_steps == 0
                if len(pending) == CHECK_EVERY or due or ends or termination.requested:
                    self._note_losses(pending)
                if ends:
                    self.progress.seconds += time.perf_counter() - mark
                    self._end_epoch(epoch, cache)
                    mark = time.perf_counter()
                if due or termination.requested or self.finished:
                    self.progress.seconds += time.perf_counter() - mark
                    self._save()
                    saved, mark = time.monotonic(), time.perf_counter()
                    termination.exit_if_requested()

    def learning_rate(self, step: int) -> float:
        """The backbone's learning rate at a step, counted from 0."""
        peak, total = self.stage.learning_rate, self.epochs * self.epoch_steps
        if self.config.schedule == "steps":
            return peak * self.config.decay ** (step // self.epoch_steps // self.config.decay_epochs)
        climb = max(1, round(WARMUP * total))
        if step < climb:
            return peak * (step + 1) / climb
        return peak * 0.5 * (1 + math.cos(math.pi * (step + 1 - climb) / (total + 1 - climb)))

    def _batches(self, epoch: int) -> list[np.ndarray]:
        # (rows of the product table) of every step of an epoch, from (seed, epoch) alone.
        order = np.random.default_rng([self.seed, epoch]).permutation(self.examples.fit)
        size = min(self.stage.batch_size, len(order))
        return [order[i * size : (i + 1) * size] for i in range(self.epoch_steps)]

    def _step(self, cache: ImageCache, epoch: int, rows: np.ndarray, framed: Tensor) -> Tensor:
        config, images = self.config, self.examples.images[rows]
        torch.manual_seed(hash((self.seed, self.progress.step)) % 2**63)  # dropout, stochastic depth
        draws = uniforms(self.seed, epoch, rows, self.network.draws).to(self.device)
        content = cache.content[images].to(self.device) if config.crops == "keep_content" else None
        pixels = augment(
            framed,
            draws,
            crop=self.stage.crop,
            rotation=config.rotation,
            flip=config.flip,
            padding=config.padding,
            content=content,
        )
        labels = torch.from_numpy(self.examples.labels[rows]).to(self.device)
        rate = self.learning_rate(self.progress.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            loss = self.loss(pixels, draws, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.progress.step += 1
        return loss.detach()

    def _note_losses(self, pending: list[Tensor]) -> None:
        losses = torch.stack(pending).tolist()
        for number, loss in enumerate(losses):
            if not math.isfinite(loss):
                step = self.progress.step - len(losses) + number
                raise InputError(
                    f"voter {self.config.voter}: the loss is {loss} at step {step + 1} of the {self.stage.kind} "
                    f"stage, learning rate {self.learning_rate(step):.3g}: lower the learning rate"
                )
        self.progress.losses += losses
        pending.clear()

    def _end_epoch(self, epoch: int, cache: ImageCache) -> None:
        progress, examples = self.progress, self.examples
        kept = epoch + 1 >= self.epochs - self.config.late_checkpoints
        splits = [split for split in examples.predict if kept or split == "validation"]
        probs = {split: self._judge(cache, examples.predict[split]) for split in splits}
        if kept:
            name = FINAL if epoch + 1 == self.epochs else f"epoch-{epoch + 1}"
            progress.kept[name] = probs
        curve = {
            "epoch": epoch + 1,
            "loss": float(np.mean(progress.losses)),
            "learning_rate": self.learning_rate(progress.step - 1),
            "seconds": round(progress.seconds, 2),
        }
        if "validation" in probs:
            truth = examples.labels[examples.predict["validation"]]
            curve["macro_f1"] = macro_f1(truth, probs["validation"].argmax(1), len(examples.prior))
        progress.curves.append(curve)
        progress.losses, progress.seconds = [], 0.0
        log.info(
            "%s %s epoch %d of %d: loss %.4f%s, %.1f s",
            *(self.config.voter, self.stage.kind, epoch + 1, self.epochs, curve["loss"]),
            f", validation macro-F1 {curve['macro_f1']:.4f}" if "macro_f1" in curve else "",
            curve["seconds"],
        )

    def _judge(self, cache: ImageCache, rows: np.ndarray) -> np.ndarray:
        return judge(self.network, self.stage, cache, self.examples.images[rows], self.examples.prior)[0]

    def _save(self) -> None:
        if self.checkpoints is None:
            return
        progress = self.progress
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= flatten_optimizer(self.optimizer)
        tensors |= {
            f"kept.{name}.{split}": torch.from_numpy(probs)
            for name, splits in progress.kept.items()
            for split, probs in splits.items()
        }
        state = {name: getattr(progress, name) for name in ("losses", "seconds", "curves")}
        self.checkpoints.save(progress.step, tensors, state)

    def _resume(self) -> Progress:
        found = self.checkpoints.load() if self.checkpoints else None
        if found is None:
            return Progress()
        step, tensors, state = found
        log.info("%s %s: goes on from step %d", self.config.voter, self.stage.kind, step)
        self.network.load_state_dict(_under("network.", tensors))
        restore_optimizer(self.optimizer, tensors)
        kept: Kept = {}
        for key, probs in _under("kept.", tensors).items():
            name, split = key.split(".")
            kept.setdefault(name, {})[split] = probs.numpy()
        return Progress(step, **state, kept=kept)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
