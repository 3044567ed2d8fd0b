"""The training loop of the transformer text classifier: steps, epochs, checkpoints."""

import logging
import time
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import PreTrainedModel

from components.data.products import Task
from components.modeling.checkpoint import Checkpoints, Termination, flatten_optimizer, restore_optimizer
from components.modeling.losses import CHECK_STEPS, read_losses
from components.modeling.metrics import macro_f1
from components.modeling.text.encoder import head
from components.modeling.text.packing import make_batch, split_batch
from components.modeling.text.tokens import Tokens
from components.text.config import TransformerConfig
from components.text.encoder import weights_of
from components.text.optimization import (
    batch_loss,
    class_weights,
    learning_rate,
    make_optimizer,
    set_learning_rate,
)
from components.text.predict import predict
from components.text.processes import Group

log = logging.getLogger(__name__)


class Training:
    """One training, from its start or its newest checkpoint to its end.

    Batch order comes from (seed, epoch) and dropout from (seed, step, rank): a checkpoint holds no random
    state. In a group every process takes its share of each batch and holds the same weights; all take the
    same decisions, and rank 0 alone writes.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokens: Tokens,
        labels: np.ndarray,
        task: Task,
        config: TransformerConfig,
        *,
        seed: int,
        store: Checkpoints | None,
        termination: Termination,
        group: Group = Group(),  # noqa: B008
    ) -> None:
        self.model, self.tokens, self.labels, self.task, self.config = model, tokens, labels, task, config
        self.seed, self.store, self.termination, self.group = seed, store, termination, group
        self.device = model.device
        self.classifier = group.parallel(model)
        self.optimizer = make_optimizer(model, config)
        average = get_ema_multi_avg_fn(config.ema)
        self.ema = AveragedModel(model, multi_avg_fn=average) if config.ema else None
        self.class_weights = class_weights(
            labels[task.fit], head(model).out_features, balanced=config.class_weights
        ).to(self.device)
        self.epoch_steps = -(-len(task.fit) // config.batch_size)
        self.step = 0
        self.resumed_at: int | None = None  # the step that this epoch went on from after a stop
        self.losses: list[float] = []  # of this epoch's steps
        self.unread: list[Tensor] = []  # the newest losses, still on the device
        self.curves: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}
        self.best_epoch = 0
        self.late: dict[int, dict[str, np.ndarray]] = {}  # epoch -> split -> probabilities
        self.saved_at = time.monotonic()

    @property
    def predicted(self) -> PreTrainedModel:
        """The model that is evaluated: the averaged one where weights are averaged."""
        return self.ema.module if self.ema else self.model  # type: ignore[return-value]

    def run(self) -> None:
        """Trains to the end.

        Raises:
            InputError: a loss is not a number; names the step and the learning rate.
            SystemExit: SIGTERM came; a checkpoint is saved, status 143.
        """
        self._resume()
        while len(self.curves) < self.config.epochs and not self._patience_is_over():
            started = time.monotonic()
            self._train_epoch(len(self.curves))
            self._end_epoch(len(self.curves) + 1, started)

    def _train_epoch(self, epoch: int) -> None:
        order = np.random.default_rng([self.seed, epoch]).permutation(self.task.fit)
        size = self.config.batch_size
        self.model.train()
        for number in range(self.step - epoch * self.epoch_steps, self.epoch_steps):
            self.take_step(order[number * size : (number + 1) * size])
            self._save_if_due()

    def take_step(self, rows: np.ndarray) -> None:
        set_learning_rate(self.optimizer, self._rate(self.step))
        draws = np.random.SeedSequence([self.seed, self.step, self.group.rank])
        torch.manual_seed(int(draws.generate_state(1)[0]))
        self.unread.append(self._backward(rows))
        if self.config.max_grad_norm:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema:
            self.ema.update_parameters(self.model)
        self.step += 1
        if len(self.unread) >= CHECK_STEPS[self.device.type]:
            self.read_losses()

    def _rate(self, step: int) -> float:
        return learning_rate(step, self.config.epochs * self.epoch_steps, self.config)

    def _backward(self, rows: np.ndarray) -> Tensor:
        """Gradients of the batch's mean loss, pass by pass; returns that loss, of this process's share."""
        whole = self.class_weights[torch.from_numpy(self.labels[rows])].sum()
        total = torch.zeros((), device=self.device)
        passes = split_batch(self.model, self.tokens, self._share(rows), self.config.accumulation)
        # The group takes a mean of what must be a sum; a process without a text adds nothing.
        factor = self.group.size if self.group.rank < len(rows) else 0
        for part in passes:
            self._leave_between()
            batch = make_batch(self.model, self.tokens, part, self.device)
            labels = torch.from_numpy(self.labels[batch.rows]).to(self.device)
            last = part is passes[-1]
            with nullcontext() if last else self.group.without_exchange(self.classifier):
                with torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda"):
                    outputs = self.classifier(batch)
                loss = batch_loss(outputs, labels, self.class_weights, whole, self.config.label_smoothing)
                (loss * factor).backward()
            total += loss.detach() * factor
        return total

    def _share(self, rows: np.ndarray) -> np.ndarray:
        """This process's rows of a batch, as long as any other's; its shortest where there are too few."""
        rows = rows[np.argsort(self.tokens.lengths[rows], kind="stable")]
        return rows[self.group.rank :: self.group.size] if self.group.rank < len(rows) else rows[:1]

    def read_losses(self) -> None:
        self.losses += read_losses(
            self.unread,
            step=self.step,
            epoch_steps=self.epoch_steps,
            learning_rate=self._rate,
            training=f"classifier {self.config.name}",
            reduce=self.group.mean,
        )

    def _end_epoch(self, epoch: int, started: float) -> None:
        self.read_losses()
        curve = {
            "epoch": epoch,
            "loss": float(np.mean(self.losses)),
            "learning_rate": self._rate(self.step - 1),
        }
        found = {}
        if "validation" in self.task.predict:
            found["validation"] = self._predict("validation")
            curve |= self._score(found["validation"], self.labels[self.task.predict["validation"]])
        self._keep_late(epoch, found)
        curve["seconds"] = time.monotonic() - started
        if self.resumed_at is not None:
            curve["resumed_at_step"] = self.resumed_at
            self.resumed_at = None
        self.curves.append(curve)
        self.losses = []
        if found and curve["macro_f1"] > max((past["macro_f1"] for past in self.curves[:-1]), default=-1):
            self.best, self.best_epoch = weights_of(self.predicted), epoch
        log.info("epoch %d of %d: %s", epoch, self.config.epochs, _in_words(curve))

    def _score(self, pred_probs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        loss = -np.log(np.maximum(pred_probs[np.arange(len(labels)), labels], 1e-12)).mean()
        score = macro_f1(labels, pred_probs.argmax(axis=1), pred_probs.shape[1])
        return {"validation_loss": float(loss), "macro_f1": score}

    def _keep_late(self, epoch: int, found: dict[str, np.ndarray]) -> None:
        """Keeps what the newest epochs say of every split; one more than asked, as one may be the best."""
        count = self.config.late_checkpoints
        could_be_last = self.config.patience is not None or epoch >= self.config.epochs - count
        if count and could_be_last:
            others = {split: self._predict(split) for split in self.task.predict if split not in found}
            everything = {**found, **others}
            self.late[epoch] = {split: everything[split] for split in self.task.predict}
            self.late = dict(sorted(self.late.items())[-count - 1 :])

    def _predict(self, split: str) -> np.ndarray:
        rows = self.task.predict[split][self.group.rank :: self.group.size]
        return self.group.interleaved(
            predict(self.predicted, self.tokens, rows, between=self._leave_between)[0]
        )

    def _patience_is_over(self) -> bool:
        patience = self.config.patience
        return patience is not None and bool(self.best) and len(self.curves) - self.best_epoch >= patience

    def _save_if_due(self) -> None:
        overdue = time.monotonic() - self.saved_at >= 60 * self.config.checkpoint_minutes
        leaving, due = self.group.any(self.termination.requested, overdue)
        if leaving or due:
            self.save()
        if leaving:
            self.termination.leave()

    def _leave_between(self) -> None:
        # Between two passes the processes of a group are not at the same place: they leave after the step.
        if self.group.size == 1 and self.termination.requested:
            self.save()
            self.termination.leave()

    def save(self) -> None:
        """Writes a checkpoint of this very moment; any moment between two passes will do."""
        self.read_losses()
        self.saved_at = time.monotonic()
        if self.store is None or self.group.rank > 0:
            return
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= flatten_optimizer(self.optimizer)
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        if self.ema:
            tensors |= {f"ema.{name}": tensor for name, tensor in self.ema.state_dict().items()}
        for epoch, splits in self.late.items():
            tensors |= {f"late.{epoch}.{split}": torch.from_numpy(found) for split, found in splits.items()}
        state = {"losses": self.losses, "curves": self.curves, "best_epoch": self.best_epoch}
        self.store.save(self.step, tensors, state)

    def _resume(self) -> None:
        loaded = self.store.load() if self.store else None
        if loaded is None:
            return
        self.step, tensors, state = loaded
        self.resumed_at = self.step
        self.losses, self.curves = state["losses"], state["curves"]
        self.best_epoch = state["best_epoch"]
        self.model.load_state_dict(_below("model.", tensors))
        restore_optimizer(self.optimizer, tensors)
        self.best = _below("best.", tensors)
        if self.ema:
            self.ema.load_state_dict(_below("ema.", tensors))
        for name, tensor in _below("late.", tensors).items():
            epoch, split = name.split(".")
            self.late.setdefault(int(epoch), {})[split] = tensor.numpy()
        log.info("resumed at step %d of %d", self.step, self.config.epochs * self.epoch_steps)


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _in_words(curve: dict[str, float]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {value:.4g}" for name, value in curve.items() if name != "epoch"
    )
