"""The image stage: trains one image classifier and writes what it makes of the products."""

import dataclasses
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from components.core.artifacts import whole_file, write_json, write_manifest
from components.core.errors import InputError
from components.data.image_store import ImageStore
from components.data.products import Products, Task, image_rows, read_products, training_task
from components.image.color_histogram import train_colors
from components.image.config import ColorConfig, ImageConfig, Stage, parse_image_config
from components.image.network import PlainNetwork, build_network
from components.image.predict import predict
from components.image.training import Examples, StageTraining
from components.modeling.checkpoint import Checkpoints, digest_of, fingerprint
from components.modeling.image.backbones import check_backbone, load_state
from components.modeling.image.cache import ImageCache
from components.modeling.image.pretrained import load_weights
from components.modeling.termination import catch_sigterm
from components.modeling.trained import Trained, write_trained

log = logging.getLogger(__name__)

FINAL = "final"
Kept = dict[str, dict[str, np.ndarray]]  # checkpoint -> split -> (rows, C) probabilities


def run_image(
    products: Path,
    images: Path,
    config: dict[str, Any],
    *,
    fold: int | None,
    seed: int,
    probabilities: Path,
    features: Path,
    model: Path,
    checkpoints: Path | None,
) -> dict[str, float]:
    """Trains one image configuration and writes its probabilities, pooled features and model.

    Args:
        products: the product table.
        images: the image store.
        config: the keys of `ImageConfig`, or with `kind` "colors" of `ColorConfig`.
        fold: train on the other folds and predict this one, as `out_of_fold`; None trains on train and
            predicts validation and test.
        checkpoints: a folder that outlives an attempt, from which a killed training goes on.

    Returns:
        Scalars for the pipelines UI.

    Raises:
        InputError: the configuration, the products, the images or the weights are wrong, or the loss
            is not a number.
    """
    settings = parse_image_config(config)
    if isinstance(settings, ImageConfig):
        check_backbone(settings.backbone, [stage.crop for stage in settings.stages()])
    catalog = read_products(products)
    task = training_task(catalog, fold=fold, cleaned=settings.cleaned)
    store = ImageStore(images)
    if isinstance(settings, ColorConfig):
        trained = train_colors(catalog, store, task, settings, seed=seed, model=model)
    else:
        trained = train_image(catalog, store, task, settings, seed=seed, model=model, checkpoints=checkpoints)
    metadata = {
        "config": dataclasses.asdict(settings),
        "seed": seed,
        "fold": fold,
        "products_without_image": int(np.count_nonzero(catalog.table["image"].isna())),
        "their_probabilities": "the class frequencies of the products trained on",
    }
    return write_trained(
        trained,
        catalog,
        task,
        name=settings.name,
        modality="image",
        metadata=metadata,
        probabilities=probabilities,
        features=features,
    )


def train_image(
    products: Products,
    store: ImageStore,
    task: Task,
    config: ImageConfig,
    *,
    seed: int,
    model: Path,
    checkpoints: Path | None,
) -> Trained:
    """Trains the stages of an image classifier one after the other (paper, section 3.2.2).

    Raises:
        InputError: no product to train on has an image, or see `run_image`.
    """
    fold_training = "out_of_fold" in task.predict
    predicted = [*task.predict.values()] if fold_training else [np.arange(len(products.table))]
    keys, index = image_rows(products, np.unique(np.concatenate([task.fit, *predicted])))
    examples = _examples(products, task, index)
    kept: Kept = {}
    curves: list[dict[str, float]] = []
    features, stages = None, config.stages()
    network = _start(config, stages[0], examples.prior, None, seed)
    fitting = _Fitting(store, keys, examples, config, seed)
    folder = checkpoints / fitting.identity(network)[:16] if checkpoints else None
    for number, stage in enumerate(stages, start=1):
        last = number == len(stages)
        if number > 1:
            network = _start(config, stage, examples.prior, network, seed)
        saves = Checkpoints(folder / stage.kind) if folder else None
        training, features = fitting.run(network, stage, saves, with_features=last and not fold_training)
        kept = _merged(kept, training, config, last=last)
        curves += [{"stage": float(number), **curve} for curve in training.loop.curves]
    _write_model(network, products, config, model)
    metrics = {
        "training_seconds": sum(curve["seconds"] for curve in curves),
        "final_loss": curves[-1]["loss"],
    }
    forget = partial(shutil.rmtree, folder, ignore_errors=True) if folder else None
    return Trained(kept, features, metrics, curves, forget=forget)


@dataclass(frozen=True)
class _Fitting:
    """What the stages of one training share."""

    store: ImageStore
    keys: list[str]
    examples: Examples
    config: ImageConfig
    seed: int

    def identity(self, network: PlainNetwork) -> str:
        """What the training depends on, its first network's weights among it."""
        examples = self.examples
        predict = {split: rows.tolist() for split, rows in examples.predict.items()}
        labels = examples.labels[examples.fit].tolist()
        # Where the images lie changes no byte of what comes out.
        settings = dataclasses.replace(self.config, cache="auto", checkpoint_minutes=0.0)
        data = (self.keys, self.store.metadata["files"], examples.fit.tolist(), labels, predict)
        start = digest_of(network.state_dict())
        return fingerprint(dataclasses.asdict(settings), self.seed, start, *data)

    def run(
        self, network: PlainNetwork, stage: Stage, checkpoints: Checkpoints | None, *, with_features: bool
    ) -> tuple[StageTraining, np.ndarray | None]:
        """Trains one stage; with `with_features` also returns (N, D) pooled features of all products."""
        config, examples, features = self.config, self.examples, None
        with catch_sigterm() as termination:
            training = StageTraining(
                network,
                stage,
                config,
                examples,
                seed=self.seed,
                checkpoints=checkpoints,
                termination=termination,
            )
            leave = termination.leave_if_requested
            if with_features or not training.loop.finished:
                with self._cache(stage, training.device, leave) as cache:
                    training.run(cache)
                    if with_features:
                        images = examples.images
                        features = predict(network, stage, cache, images, examples.prior, pause=leave)[1]
            leave()  # the stage's end is saved
        return training, features

    def _cache(self, stage: Stage, device: torch.device, pause: Callable[[], None]) -> ImageCache:
        config = self.config
        return ImageCache(
            self.store,
            self.keys,
            stage.resize,
            fit=config.fit,
            place=config.cache,
            device=device,
            boxes=config.crops == "keep_content",
            pause=pause,
        )


def _examples(products: Products, task: Task, index: np.ndarray) -> Examples:
    labels = products.labels
    fit = task.fit[index[task.fit] >= 0]
    if len(fit) < 2:
        raise InputError(f"{len(fit)} of {len(task.fit)} products to train on have an image; two are needed")
    counts = np.bincount(labels[fit], minlength=len(products.classes))
    return Examples(index, labels, fit, task.predict, counts / counts.sum())


def _start(
    config: ImageConfig,
    stage: Stage,
    prior: np.ndarray,
    before: PlainNetwork | None,
    seed: int,
) -> PlainNetwork:
    # A stage's network on its device: with pretrained weights, or with those of the stage before.
    torch.manual_seed(seed)
    network = build_network(config, stage, prior)
    if before is None:
        load_weights(network.backbone, config.weights)
    else:
        state = {f"backbone.{key}": value for key, value in before.backbone.state_dict().items()}
        load_state(network.backbone, state, where="the first stage")
        network.head.load_state_dict(before.head.state_dict())
    if torch.cuda.is_available():
        torch.backends.cudnn.benchmark = True
        return network.to("cuda")
    return network


def _merged(kept: Kept, training: StageTraining, config: ImageConfig, *, last: bool) -> Kept:
    # The chosen checkpoint, the last stage's end, comes first, then the latest.
    (_, final), *late = sorted(training.evaluation.kept.items(), reverse=True)
    if last:
        return {FINAL: final, **{f"epoch-{epoch}": probs for epoch, probs in late}, **kept}
    return {"stage1": final} if config.keep_stage1 else {}


def _write_model(network: PlainNetwork, products: Products, config: ImageConfig, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    with whole_file(folder / "model.safetensors") as temporary:
        save_file(tensors, temporary)
    write_json(folder / "config.json", {**dataclasses.asdict(config), "classes": list(products.classes)})
    write_manifest(folder, name=config.name)
