"""The training of one stage of an image classifier: SGD from the image cache, in the training loop."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.parallel import DistributedDataParallel

from components.data.top_classes import PredProbs
from components.image.compiling import Compilation
from components.image.kinds.network import NetworkConfig, TrainingStage
from components.image.network import PlainNetwork
from components.image.predict import predict
from components.modeling import schedules
from components.modeling.callbacks import EpochEvaluation, LateWeights
from components.modeling.checkpoint import Checkpoints
from components.modeling.image.augmentation import PIXEL, Buffers, ImageBatch, augment, uniforms
from components.modeling.image.cache import ImageCache
from components.modeling.memory import MemoryLimit, StepMemory, estimate_memory
from components.modeling.precision import autocast, loss_scaler
from components.modeling.processes import interleaved, process_count, process_rank, share
from components.modeling.step import OptimizerStep
from components.modeling.termination import Termination
from components.modeling.training import TrainingLoop, TrainingPlan, shuffled_batches


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


@dataclass(frozen=True)
class Samples:
    """A batch, or this process's share of one.

    Attributes:
        rows: of the product table.
        images: theirs, from the cache.
        draws: uniforms of (seed, epoch, row).
        weight: of their mean loss: the weighted losses of all processes have the batch's mean loss as mean.
    """

    rows: np.ndarray
    images: ImageBatch
    draws: Tensor
    weight: float = 1.0


class StageTraining:
    """One stage's training, from its start or its newest checkpoint to its end.

    Of processes that train together each takes its share of each batch and holds the same weights.

    Attributes:
        loop: steps, epochs and their curves.
        evaluation: the probabilities of the last epochs.
        late: the weights of those before the last, in the last stage.
    """

    def __init__(
        self,
        network: PlainNetwork,
        stage: TrainingStage,
        config: NetworkConfig,
        examples: Examples,
        *,
        seed: int,
        checkpoints: Checkpoints | None,
        termination: Termination,
    ) -> None:
        self.network, self.stage, self.config, self.examples = network, stage, config, examples
        self.seed, self.device = seed, next(network.parameters()).device
        self.loss = DistributedDataParallel(network) if process_count() > 1 else network
        self.buffers = Buffers()
        self.pixels = torch.empty(0)  # of the newest batch: the next one is written over it
        self.cache: ImageCache
        self.optimizer, plan = self._optimizer(), self._plan()
        self.scaler, self.limit = loss_scaler(self.device), self._limit()
        self.needed = self.limit.check(self._memory)  # bytes that the image cache leaves to the steps
        self.evaluation = EpochEvaluation(
            self._predict,
            {split: examples.labels[rows] for split, rows in examples.predict.items()},
            keeps=lambda epoch: epoch >= plan.epochs - config.late_checkpoints,
            newest=config.late_checkpoints + 1,
        )
        late = config.late_checkpoints if stage == config.stages()[-1] else 0
        self.late = LateWeights(
            network, keeps=lambda epoch: plan.epochs - late <= epoch < plan.epochs, newest=late
        )
        self.loop = TrainingLoop(
            OptimizerStep(network, self.optimizer, self.backward, scaler=self.scaler, limit=self.limit),
            plan,
            {"evaluation": self.evaluation, "late": self.late, **self._compilation(plan)},
            checkpoints=checkpoints,
            termination=termination,
        )

    def run(self, cache: ImageCache) -> None:
        """Trains to the end; see `TrainingLoop.run`."""
        self.cache = cache
        self.loop.run(self._batches)

    def predict(self, rows: np.ndarray, *, pause: Callable[[], None]) -> tuple[PredProbs, np.ndarray]:
        """This process's share of the probabilities and pooled features of some products; see `predict`."""
        images = self.examples.images[rows[process_rank() :: process_count()]]
        return predict(self.network, self.stage, self.cache, images, self.examples.prior, pause=pause)

    def _compilation(self, plan: TrainingPlan) -> dict[str, Compilation]:
        compilation = Compilation(self.network, plan.epochs * plan.epoch_steps, plan.name)
        if self.device.type == "cpu" or self.config.compile == "off":
            return {}
        if self.config.compile == "on":
            compilation.compile()
            return {}
        # Batch norm over several processes would cut what is compiled into pieces at each layer.
        return {"compilation": compilation} if process_count() == 1 else {}

    def _plan(self) -> TrainingPlan:
        stage, config = self.stage, self.config
        # The last, smaller batch is left out: batch norm of a few images is noise.
        epoch_steps = max(1, len(self.examples.fit) // stage.batch_size)
        epochs = max(stage.epochs, math.ceil(config.min_steps / epoch_steps))

        def learning_rate(step: int) -> float:
            peak = stage.learning_rate
            if config.schedule == "one_cycle":
                return schedules.cosine(step, epochs * epoch_steps, peak=peak)
            decay, every = config.decay, config.decay_epochs
            return schedules.stepwise(step, epoch_steps, peak=peak, decay=decay, every=every)

        name = f"classifier {config.name}, {stage.kind} stage"
        minutes = config.checkpoint_minutes
        return TrainingPlan(
            name, epochs, epoch_steps, learning_rate, seed=self.seed, checkpoint_minutes=minutes
        )

    def _limit(self) -> MemoryLimit:
        size, (height, width) = self.stage.batch_size, self.stage.crop
        processes, key = process_count(), "dcl_batch_size" if self.stage.kind == "dcl" else "batch_size"
        images = "pairs of images" if self.network.copies == 2 else "images"
        return MemoryLimit(
            self.device,
            f"a batch of {size} {images} of {height}x{width}",
            -(-size // processes),
            lambda fits: f'set "{key}": {fits * processes}',
        )

    def _memory(self) -> StepMemory:
        network, device = self.network, self.device

        def forward(samples: int) -> Tensor:
            shape = (network.copies * samples, *self.stage.crop, PIXEL)
            pixels = torch.zeros(shape, dtype=torch.uint8, device=device)
            draws = torch.zeros(samples, network.draws, device=device)
            labels = torch.zeros(samples, dtype=torch.int64, device=device)
            # Batch norm writes its running means into these copies.
            state = {name: buffer.clone() for name, buffer in network.named_buffers()}
            with autocast(device):
                return functional_call(network, state, (pixels, draws, labels))

        return estimate_memory(network, forward, moments=1)

    def _optimizer(self) -> torch.optim.SGD:
        return torch.optim.SGD(
            [{"params": params, "scale": scale} for params, scale in self.network.parameter_groups()],
            lr=self.stage.learning_rate,
            momentum=self.config.momentum,
            weight_decay=self.config.weight_decay,
            nesterov=self.config.schedule == "one_cycle",
            fused=self.device.type == "cuda",
        )

    def _batches(self, epoch: int, first: int) -> Iterator[Samples]:
        fit, numbers = self.examples.fit, range(first, self.loop.plan.epoch_steps)
        batches = shuffled_batches(fit, self.stage.batch_size, numbers, seed=self.seed, epoch=epoch)
        shares = [share(rows) for rows in batches]
        images = self.cache.batches(self.examples.images[rows] for rows, _ in shares)
        for whole, (rows, counted), batch in zip(batches, shares, images, strict=True):
            weight = counted * process_count() / len(whole)
            yield Samples(rows, batch, uniforms(self.seed, epoch, rows, self.network.draws), weight)

    def backward(self, samples: Samples) -> Tensor:
        """Leaves the gradients of a batch's mean loss in the network; returns this process's part of it."""
        draws = samples.draws.to(self.device)
        pixels = self._augmented(samples, draws)
        labels = torch.from_numpy(self.examples.labels[samples.rows]).to(self.device)
        with autocast(self.device):
            loss = self.loss(pixels, draws, labels) * samples.weight
        self.scaler.scale(loss).backward()
        return loss

    def _augmented(self, samples: Samples, draws: Tensor) -> Tensor:
        config, rows = self.config, samples.rows
        shape = (self.network.copies * len(rows), *self.stage.crop, PIXEL)
        if self.pixels.shape != shape:
            self.pixels = torch.empty(shape, dtype=torch.uint8, device=self.device)
        augment(
            samples.images,
            draws,
            crop=self.stage.crop,
            rotation=config.rotation,
            flip=config.flip,
            padding=config.padding,
            buffers=self.buffers,
            out=self.pixels[: len(rows)],
        )
        return self.pixels

    def _predict(self, split: str) -> PredProbs:
        return interleaved(self.predict(self.examples.predict[split], pause=self.loop.pause)[0])
