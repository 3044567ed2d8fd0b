"""The trainings of an image network, one after the other (paper, section 3.2.2)."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor

from components.core.errors import InputError
from components.data.image_store import ImageStore
from components.data.products import Products, Task, image_rows
from components.data.top_classes import PredProbs
from components.image.kinds.network import NetworkConfig, TrainingStage
from components.image.network import PlainNetwork, build_network
from components.image.training import Examples, StageTraining
from components.modeling.callbacks import copied_weights
from components.modeling.checkpoint import Checkpoints, digest_of, fingerprint
from components.modeling.device import choose_device, device_name
from components.modeling.image.backbones import check_backbone, load_state
from components.modeling.image.cache import ImageCache
from components.modeling.image.pretrained import load_weights
from components.modeling.lease import remove_training, training_folder
from components.modeling.processes import interleaved, process_count, process_rank, train_together
from components.modeling.termination import Termination, catch_sigterm
from components.modeling.trained import Trained, TrainingSetup, write_model

FINAL = "final"
Kept = dict[str, dict[str, PredProbs]]  # checkpoint -> split -> (rows, C) probabilities


def train_network(
    products: Products, store: ImageStore, task: Task, config: NetworkConfig, setup: TrainingSetup
) -> Trained:
    """Trains the stages of an image network one after the other (paper, section 3.2.2).

    With several GPUs a process on each trains on its part of the same batches as one would.

    Raises:
        InputError: fewer than two products to train on have an image, the backbone, the images or the weights
            are wrong, or the loss is not a number.
        SystemExit: SIGTERM came; a checkpoint is saved, status 143.
    """
    label = f"image {config.name}"
    return train_together(_train, setup.gpus, label, products, store, task, config, setup)


def _train(
    products: Products, store: ImageStore, task: Task, config: NetworkConfig, setup: TrainingSetup
) -> Trained:
    check_backbone(config.backbone, [stage.crop for stage in config.stages()])
    keys, index = image_rows(products, np.union1d(task.fit, task.predicted(products)))
    fitting = _Fitting(store, keys, _examples(products, task, index), config, setup.seed, not task.of_fold)
    network = fitting.start(config.stages()[0], None)
    identity = fitting.identity(network)
    with training_folder(setup.checkpoints, identity) as folder, catch_sigterm() as termination:
        trained, networks = fitting.run(network, folder, termination)
        if process_rank() == 0:
            _write(setup.model, networks, config, fitting.examples.prior, products)
        delete = partial(remove_training, folder()) if folder else None
    return dataclasses.replace(trained, delete_checkpoints=delete)


@dataclass(frozen=True)
class _Fitting:
    """What the stages of one training share."""

    store: ImageStore
    keys: list[str]
    examples: Examples
    config: NetworkConfig
    seed: int
    with_features: bool

    def identity(self, network: PlainNetwork) -> str:
        """What the training depends on, its first network's weights among it."""
        examples = self.examples
        predict = {split: rows.tolist() for split, rows in examples.predict.items()}
        labels = examples.labels[examples.fit].tolist()
        # Where the images lie changes no byte of what comes out.
        settings = self.config.model_dump(exclude={"cache", "checkpoint_minutes"})
        data = (self.keys, self.store.metadata["files"], examples.fit.tolist(), labels, predict)
        start = digest_of(network.state_dict())
        return fingerprint(settings, self.seed, start, *data)

    def run(
        self, network: PlainNetwork, folder: Callable[[], Path] | None, termination: Termination
    ) -> tuple[Trained, "dict[str, _Kept]"]:
        """Trains all stages, from the newest checkpoints in `folder`; the networks are what predicts."""
        config, stages = self.config, self.config.stages()
        kept: Kept = {}
        networks: dict[str, _Kept] = {}
        curves: list[dict[str, float]] = []
        features = None
        for number, stage in enumerate(stages, start=1):
            last = number == len(stages)
            network = self.start(stage, network) if number > 1 else network
            training = self._stage(network, stage, folder, termination)
            with_features = last and self.with_features
            if with_features or not training.loop.finished:
                with self._cache(training, termination.leave_if_requested) as cache:
                    training.run(cache)
                    if with_features:
                        rows, pause = np.arange(len(self.examples.images)), termination.leave_if_requested
                        features = interleaved(training.predict(rows, pause=pause)[1])
            termination.leave_if_requested()  # the stage's end is saved
            kept = _merged(kept, training, config, last=last)
            networks |= _networks(training, config, last=last)
            curves += [{"stage": float(number), **curve} for curve in training.loop.curves]
        seconds = sum(curve["seconds"] for curve in curves)
        metrics = {"training_seconds": seconds, "final_loss": curves[-1]["loss"]}
        return Trained(kept, features, metrics, curves, device=device_name(training.device)), networks

    def start(self, stage: TrainingStage, before: PlainNetwork | None) -> PlainNetwork:
        """A stage's network on its device: with pretrained weights, or with those of the stage before."""
        torch.manual_seed(self.seed)
        network = build_network(self.config, stage, self.examples.prior)
        if before is None:
            load_weights(network.backbone, self.config.weights)
        else:
            state = {f"backbone.{key}": value for key, value in before.backbone.state_dict().items()}
            load_state(network.backbone, state, where="the first stage")
            network.head.load_state_dict(before.head.state_dict())
        torch.backends.cudnn.benchmark = True
        network = network.to(device := choose_device(self.config.accelerator))
        # Batch norm of a whole batch, whatever number of processes shares it; torch has it for GPUs alone.
        together = process_count() > 1 and device.type == "cuda"
        return convert_sync_batchnorm(network) if together else network  # type: ignore[return-value]

    def _stage(
        self,
        network: PlainNetwork,
        stage: TrainingStage,
        folder: Callable[[], Path] | None,
        termination: Termination,
    ) -> StageTraining:
        return StageTraining(
            network,
            stage,
            self.config,
            self.examples,
            seed=self.seed,
            checkpoints=Checkpoints(lambda: folder() / stage.kind) if folder else None,
            termination=termination,
        )

    def _cache(self, training: StageTraining, pause: Callable[[], None]) -> ImageCache:
        config = self.config
        return ImageCache(
            self.store,
            self.keys,
            training.stage.resize,
            fit=config.fit,
            place=config.cache,
            device=training.device,
            reserved=training.needed,
            pause=pause,
        )


def _examples(products: Products, task: Task, index: np.ndarray) -> Examples:
    labels = products.labels
    fit = task.fit[index[task.fit] >= 0]
    if len(fit) < 2:
        raise InputError(f"{len(fit)} of {len(task.fit)} products to train on have an image; two are needed")
    counts = np.bincount(labels[fit], minlength=len(products.classes))
    return Examples(index, labels, fit, task.predict, counts / counts.sum())


def _merged(kept: Kept, training: StageTraining, config: NetworkConfig, *, last: bool) -> Kept:
    # The chosen checkpoint, the last stage's end, comes first, then the latest.
    (_, final), *late = sorted(training.evaluation.kept.items(), reverse=True)
    if last:
        return {FINAL: final, **{f"epoch-{epoch}": probs for epoch, probs in late}, **kept}
    return {"stage1": final} if config.keep_stage1 else {}


@dataclass(frozen=True)
class _Kept:
    """A network that predicts: its stage, what the hub says of its backbone, and its weights."""

    stage: TrainingStage
    of_hub: Mapping[str, Any] | None
    weights: dict[str, Tensor]


def _networks(training: StageTraining, config: NetworkConfig, *, last: bool) -> dict[str, _Kept]:
    network = training.network
    kept = partial(_Kept, training.stage, network.backbone.of_hub)
    if last:
        networks = {f"epoch-{epoch}": kept(weights) for epoch, weights in training.late.kept.items()}
        return {**networks, FINAL: kept(network.state_dict())}
    return {"stage1": kept(copied_weights(network))} if config.keep_stage1 else {}


def _write(
    folder: Path, networks: dict[str, _Kept], config: NetworkConfig, prior: np.ndarray, products: Products
) -> None:
    # The chosen one comes last: its folder's manifest lists the others' files.
    for checkpoint, kept in sorted(networks.items(), key=lambda item: item[0] == FINAL):
        part = folder if checkpoint == FINAL else folder / checkpoint
        made_of = {"checkpoint": checkpoint, "stage": kept.stage.kind, "of_hub": kept.of_hub}
        tensors = {**kept.weights, "prior": torch.from_numpy(prior)}
        write_model(part, tensors, products.classes, {**config.model_dump(), **made_of})
