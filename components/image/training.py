"""The training loop of one stage: SGD from the image cache, resumed from its newest checkpoint."""

import logging
import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from components.image.config import ImageConfig, Stage
from components.image.network import PlainNetwork
from components.image.predict import predict
from components.image.progress import Progress
from components.modeling.checkpoint import Checkpoints, Termination, flatten_optimizer, restore_optimizer
from components.modeling.image.augmentation import PIXEL, Batch, Scratch, augment, uniforms
from components.modeling.image.cache import ImageCache
from components.modeling.losses import CHECK_STEPS, read_losses
from components.modeling.metrics import macro_f1

log = logging.getLogger(__name__)

WARMUP = 0.2  # share of the steps in which "one_cycle" climbs
FINAL = "final"
NETWORK = "network."  # before the names of weights in a checkpoint


@dataclass(frozen=True)
class Examples:
    """What a stage fits and predicts.

    Attributes:
        images: (N,) positions in the image cache, -1 for a product without an image.
        labels: (N,) labels, -1 where unlabeled.
        fit: row numbers with an image.
        predict: split -> row numbers.
        prior: (C,) class frequencies of the rows to fit, the evaluation of a product without an image.
    """

    images: np.ndarray
    labels: np.ndarray
    fit: np.ndarray
    predict: dict[str, np.ndarray]
    prior: np.ndarray


class StageTraining:
    """One stage's training, from its start or its newest checkpoint to its end.

    Order and augmentation come from (seed, epoch, sample), dropout from (seed, step): a checkpoint
    holds no random state.
    """

    def __init__(
        self,
        network: PlainNetwork,
        stage: Stage,
        config: ImageConfig,
        examples: Examples,
        *,
        seed: int,
        checkpoints: Checkpoints | None,
        termination: Termination,
    ) -> None:
        self.network, self.stage, self.config, self.examples = network, stage, config, examples
        self.seed, self.checkpoints, self.termination = seed, checkpoints, termination
        # The last, smaller batch is left out: batch norm of a few images is noise.
        self.epoch_steps = max(1, len(examples.fit) // stage.batch_size)
        self.epochs = max(stage.epochs, math.ceil(config.min_steps / self.epoch_steps))
        self.device = next(network.parameters()).device
        on_gpu = self.device.type == "cuda"
        self.optimizer = torch.optim.SGD(
            [{"params": params, "factor": factor} for params, factor in network.parameter_groups()],
            lr=stage.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.schedule == "one_cycle",
            fused=on_gpu,
        )
        self.loss = torch.compile(network) if config.compile and on_gpu else network
        self.scratch = Scratch()
        self.pixels = torch.empty(0)  # of the newest batch: the next one is written over it
        self.progress = Progress()
        self.resumed_step: int | None = None  # that this epoch went on from after a stop
        self.unread: list[Tensor] = []  # the newest losses, still on the device
        self.saved_at = self.resumed_at = time.monotonic()
        self._resume()

    @property
    def finished(self) -> bool:
        return len(self.progress.curves) == self.epochs

    def run(self, cache: ImageCache) -> None:
        """Trains to the end.

        Raises:
            InputError: a loss is not a number; names the step and the learning rate.
            SystemExit: SIGTERM came; a checkpoint is saved, status 143.
        """
        while not self.finished:
            self._train_epoch(len(self.progress.curves), cache)
            self._end_epoch(len(self.progress.curves) + 1, cache)
        self._save()

    def learning_rate(self, step: int) -> float:
        """The backbone's learning rate at a step, counted from 0."""
        peak, total = self.stage.learning_rate, self.epochs * self.epoch_steps
        if self.config.schedule == "steps":
            return peak * self.config.decay ** (step // self.epoch_steps // self.config.decay_epochs)
        climb = max(1, round(WARMUP * total))
        if step < climb:
            return peak * (step + 1) / climb
        return peak * 0.5 * (1 + math.cos(math.pi * (step + 1 - climb) / (total + 1 - climb)))

    def _train_epoch(self, epoch: int, cache: ImageCache) -> None:
        self.network.train()
        order = np.random.default_rng([self.seed, epoch]).permutation(self.examples.fit)
        size = min(self.stage.batch_size, len(order))
        steps = range(self.progress.step - epoch * self.epoch_steps, self.epoch_steps)
        batches = [order[number * size : (number + 1) * size] for number in steps]
        images = cache.batches(self.examples.images[rows] for rows in batches)
        for rows, batch in zip(batches, images, strict=True):
            self.take_step(rows, batch, cache)
            self._save_if_due()

    def take_step(self, rows: np.ndarray, batch: Batch, cache: ImageCache) -> None:
        """One optimizer step on a batch: rows of the product table and their images from the cache."""
        step = self.progress.step
        draws = uniforms(self.seed, step // self.epoch_steps, rows, self.network.draws).to(self.device)
        pixels = self._augmented(rows, batch, draws, cache)
        labels = torch.from_numpy(self.examples.labels[rows]).to(self.device)
        torch.manual_seed(int(np.random.SeedSequence([self.seed, step]).generate_state(1)[0]))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            loss = self.loss(pixels, draws, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(step) * group["factor"]
        self.optimizer.step()
        self.progress.step += 1
        self.unread.append(loss.detach())
        if len(self.unread) >= CHECK_STEPS[self.device.type]:
            self._read_losses()

    def _augmented(self, rows: np.ndarray, batch: Batch, draws: Tensor, cache: ImageCache) -> Tensor:
        config = self.config
        content = None
        if config.crops == "keep_content":
            content = cache.content[self.examples.images[rows]].to(self.device)
        shape = (self.network.copies * len(rows), *self.stage.crop, PIXEL)
        if self.pixels.shape != shape:
            self.pixels = torch.empty(shape, dtype=torch.uint8, device=self.device)
        augment(
            batch,
            draws,
            crop=self.stage.crop,
            rotation=config.rotation,
            flip=config.flip,
            padding=config.padding,
            content=content,
            scratch=self.scratch,
            out=self.pixels[: len(rows)],
        )
        return self.pixels

    def _read_losses(self) -> None:
        self.progress.losses += read_losses(
            self.unread,
            step=self.progress.step,
            epoch_steps=self.epoch_steps,
            learning_rate=self.learning_rate,
            training=f"classifier {self.config.name}, {self.stage.kind} stage",
        )

    def _end_epoch(self, epoch: int, cache: ImageCache) -> None:
        self._read_losses()
        progress, predict = self.progress, self.examples.predict
        keep = epoch >= self.epochs - self.config.late_checkpoints
        splits = [split for split in predict if keep or split == "validation"]
        probs = {split: self._predict(cache, predict[split]) for split in splits}
        curve = {
            "epoch": epoch,
            "loss": float(np.mean(progress.losses)),
            "learning_rate": self.learning_rate(progress.step - 1),
            "seconds": self._seconds(),
        }
        if "validation" in probs:
            truth = self.examples.labels[predict["validation"]]
            curve["macro_f1"] = macro_f1(truth, probs["validation"].argmax(1), len(self.examples.prior))
        if self.resumed_step is not None:
            curve["resumed_at_step"] = self.resumed_step
            self.resumed_step = None
        if keep:
            progress.kept[FINAL if epoch == self.epochs else f"epoch-{epoch}"] = probs
        progress.curves.append(curve)
        progress.losses, progress.seconds, self.resumed_at = [], 0.0, time.monotonic()
        self._report(curve)

    def _predict(self, cache: ImageCache, rows: np.ndarray) -> np.ndarray:
        images, prior = self.examples.images[rows], self.examples.prior
        return predict(self.network, self.stage, cache, images, prior, pause=self._leave_if_asked)[0]

    def _report(self, curve: dict[str, float]) -> None:
        score = f", validation macro-F1 {curve['macro_f1']:.4f}" if "macro_f1" in curve else ""
        log.info(
            "%s, %s stage, epoch %d of %d: loss %.4f%s, %.1f s",
            *(self.config.name, self.stage.kind, curve["epoch"], self.epochs),
            *(curve["loss"], score, curve["seconds"]),
        )

    def _seconds(self) -> float:
        return round(self.progress.seconds + time.monotonic() - self.resumed_at, 2)

    def _save_if_due(self) -> None:
        self._leave_if_asked()
        if time.monotonic() - self.saved_at >= 60 * self.config.checkpoint_minutes:
            self._save()

    def _leave_if_asked(self) -> None:
        if self.termination.requested:
            self._save()
            self.termination.exit_if_requested()

    def _save(self) -> None:
        self.saved_at = time.monotonic()
        if self.checkpoints is None:
            return
        self._read_losses()
        tensors = {f"{NETWORK}{name}": value for name, value in self.network.state_dict().items()}
        tensors |= flatten_optimizer(self.optimizer) | self.progress.tensors()
        # An epoch's end is a step of its own: predicting it may be what a kill interrupts.
        number = self.progress.step + len(self.progress.curves)
        self.checkpoints.save(number, tensors, {**self.progress.state(), "seconds": self._seconds()})

    def _resume(self) -> None:
        found = self.checkpoints.load() if self.checkpoints else None
        if found is None:
            return
        _, tensors, state = found
        self.network.load_state_dict(
            {key.removeprefix(NETWORK): value for key, value in tensors.items() if key.startswith(NETWORK)}
        )
        restore_optimizer(self.optimizer, tensors)
        self.progress = Progress.restored(tensors, state)
        self.resumed_step = self.progress.step
        log.info("%s, %s stage: goes on from step %d", self.config.name, self.stage.kind, self.progress.step)
