"""The image stage: trains one image classifier and writes what it makes of the products."""

import dataclasses
import logging
from collections.abc import Callable
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
from components.image.progress import Kept, Progress
from components.image.training import FINAL, Examples, StageTraining
from components.modeling.checkpoint import Checkpoints, catch_sigterm, digest_of, fingerprint
from components.modeling.image.backbones import load_state, load_weights
from components.modeling.image.cache import ImageCache
from components.modeling.trained import Trained, write_trained

log = logging.getLogger(__name__)


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
    fitting = _Fitting(
        store, keys, examples, config, seed, checkpoints, start=digest_of(network.state_dict())
    )
    for number, stage in enumerate(stages, start=1):
        last = number == len(stages)
        if number > 1:
            network = _start(config, stage, examples.prior, network, seed)
        progress, pooled = fitting.run(network, stage, with_features=last and not fold_training)
        features = pooled if last else None
        kept = _merged(kept, progress.kept, config, last=last)
        curves += [{"stage": float(number), **curve} for curve in progress.curves]
    _write_model(network, products, config, model)
    metrics = {
        "training_seconds": sum(curve["seconds"] for curve in curves),
        "final_loss": curves[-1]["loss"],
    }
    return Trained(kept, features, metrics, curves, forget=fitting.clear)


class _Fitting:
    """What the stages of one training share: images, examples, checkpoints."""

    def __init__(
        self,
        store: ImageStore,
        keys: list[str],
        examples: Examples,
        config: ImageConfig,
        seed: int,
        folder: Path | None,
        *,
        start: str,
    ) -> None:
        self.store, self.keys, self.examples, self.config, self.seed = store, keys, examples, config, seed
        predict = {split: rows.tolist() for split, rows in examples.predict.items()}
        labels = examples.labels[examples.fit].tolist()
        # Where the images lie changes no byte of what comes out.
        settings = dataclasses.replace(config, cache="auto", checkpoint_minutes=0.0)
        identity = (
            dataclasses.asdict(settings),
            start,
            seed,
            store.metadata["files"],
            examples.fit.tolist(),
            labels,
            predict,
        )
        self.histories = {
            stage: Checkpoints(folder / fingerprint(identity, keys, stage.kind)[:16])
            for stage in config.stages()
            if folder
        }

    def run(
        self, network: PlainNetwork, stage: Stage, *, with_features: bool
    ) -> tuple[Progress, np.ndarray | None]:
        """Trains one stage; with `with_features` also returns (N, D) pooled features of all products."""
        with catch_sigterm() as termination:
            training = StageTraining(
                network,
                stage,
                self.config,
                self.examples,
                seed=self.seed,
                checkpoints=self.histories.get(stage),
                termination=termination,
            )
            features = None
            if not training.finished or with_features:
                features = self._to_the_end(training, with_features, termination.exit_if_requested)
            termination.exit_if_requested()  # the stage's end is saved
        return training.progress, features

    def _to_the_end(
        self, training: StageTraining, with_features: bool, pause: Callable[[], None]
    ) -> np.ndarray | None:
        with self._cache(training.stage, training.device, pause) as cache:
            training.run(cache)
            if not with_features:
                return None
            images, prior = self.examples.images, self.examples.prior
            return predict(training.network, training.stage, cache, images, prior, pause=pause)[1]

    def clear(self) -> None:
        """Deletes the checkpoints, once the training's outputs are written."""
        for history in self.histories.values():
            history.clear()

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
        load_weights(network.backbone, config.backbone, config.weights)
    else:
        state = {f"backbone.{key}": value for key, value in before.backbone.state_dict().items()}
        load_state(network.backbone, state, where="the first stage")
        network.head.load_state_dict(before.head.state_dict())
    if torch.cuda.is_available():
        torch.backends.cudnn.benchmark = True
        return network.to("cuda")
    return network


def _merged(kept: Kept, more: Kept, config: ImageConfig, *, last: bool) -> Kept:
    # The chosen checkpoint, the last stage's end, comes first, then the latest.
    if last:
        late = {name: more[name] for name in reversed(list(more)) if name != FINAL}
        return {FINAL: more[FINAL], **late, **kept}
    return {"stage1": more[FINAL]} if config.keep_stage1 else {}


def _write_model(network: PlainNetwork, products: Products, config: ImageConfig, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    with whole_file(folder / "model.safetensors") as temporary:
        save_file(tensors, temporary)
    write_json(folder / "config.json", {**dataclasses.asdict(config), "classes": list(products.classes)})
    write_manifest(folder, name=config.name)
