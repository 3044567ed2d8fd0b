"""The image stage: trains one image classifier and writes what it makes of the products."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from components.artifacts import whole_file, write_json, write_manifest
from components.catalog import Products, Task, read_products, training_task
from components.checkpoint import Checkpoints, catch_sigterm, fingerprint
from components.config import parse_config
from components.errors import InputError
from components.image.backbones import load_state, load_weights
from components.image.cache import ImageCache
from components.image.config import ImageConfig, Stage
from components.image.judging import image_rows, judge
from components.image.network import PlainNetwork, build_network
from components.image.training import FINAL, Examples, Kept, StageTraining
from components.image_store import ImageStore
from components.trained import Trained, write_trained

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
        config: the keys of `ImageConfig`.
        fold: train on the other folds and judge this one, as `out_of_fold`; None trains on train and
            judges validation and test.
        checkpoints: a folder that outlives an attempt, from which a killed training goes on.

    Returns:
        Scalars for the pipelines UI.

    Raises:
        InputError: the configuration, the products, the images or the weights are wrong, or the loss
            is not a number.
    """
    settings = parse_config(ImageConfig, config, where="image configuration")
    catalog = read_products(products)
    task = training_task(catalog, fold=fold, cleaned=settings.cleaned)
    store = ImageStore(images)
    trained = train_image(catalog, store, task, settings, seed=seed, model=model, checkpoints=checkpoints)
    without = int(catalog.table["image"].isna().sum())
    facts = {
        "config": dataclasses.asdict(settings),
        "seed": seed,
        "fold": fold,
        "products_without_image": without,
        "their_probabilities": "the class frequencies of the products trained on",
    }
    return write_trained(
        trained,
        catalog,
        task,
        voter=settings.voter,
        modality="image",
        facts=facts,
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
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    fold_training = "out_of_fold" in task.predict
    judged = [*task.predict.values()] if fold_training else [np.arange(len(products.table))]
    keys, index = image_rows(products, np.unique(np.concatenate([task.fit, *judged])))
    examples = _examples(products, task, index)
    identity = (dataclasses.asdict(config), seed, store.facts, keys, examples.fit.tolist())
    identity += (examples.labels[examples.fit].tolist(), {k: v.tolist() for k, v in task.predict.items()})

    network: PlainNetwork | None = None
    kept: Kept = {}
    curves: list[dict[str, float]] = []
    features = None
    histories = []
    with catch_sigterm() as termination:
        for stage in config.stages():
            last = stage == config.stages()[-1]
            history = Checkpoints(checkpoints, fingerprint(identity, stage.kind)) if checkpoints else None
            histories.append(history)
            network = _start(config, stage, products, network, model).to(device)
            training = StageTraining(network, stage, config, examples, seed=seed, checkpoints=history)
            if last or not training.finished:
                with _cache(store, keys, stage, config, device) as cache:
                    training.run(cache, termination)
                    if last and not fold_training:
                        features = judge(network, stage, cache, index, examples.prior)[1]
            kept = _add_kept(kept, training.progress.kept, config, last=last)
            curves += [{**curve, "stage": float(len(histories))} for curve in training.progress.curves]
    assert network is not None
    _write_model(network, products, config, model)
    for history in histories:
        if history:
            history.clear()
    seconds = sum(curve["seconds"] for curve in curves)
    metrics = {"training_seconds": seconds, "final_loss": curves[-1]["loss"]}
    return Trained(kept, features, metrics, curves)


def _examples(products: Products, task: Task, index: np.ndarray) -> Examples:
    labels = products.labels
    fit = task.fit[index[task.fit] >= 0]
    if len(fit) < 2:
        raise InputError(f"{len(fit)} of {len(task.fit)} products to train on have an image; two are needed")
    counts = np.bincount(labels[fit], minlength=len(products.classes))
    return Examples(index, labels, fit, task.predict, counts / counts.sum())


def _start(
    config: ImageConfig, stage: Stage, products: Products, before: PlainNetwork | None, folder: Path
) -> PlainNetwork:
    network = build_network(config, stage, len(products.classes))
    if before is None:
        load_weights(network.backbone, config.backbone, config.weights, folder.parent)
    else:
        load_state(network.backbone, _prefixed(before), where="the first stage")
        network.head.load_state_dict(before.head.state_dict())
    return network


def _prefixed(network: PlainNetwork) -> dict[str, torch.Tensor]:
    return {f"backbone.{key}": value for key, value in network.backbone.state_dict().items()}


def _cache(
    store: ImageStore, keys: list[str], stage: Stage, config: ImageConfig, device: torch.device
) -> ImageCache:
    return ImageCache(store, keys, stage.resize, fit=config.fit, place=config.cache, device=device)


def _add_kept(kept: Kept, more: Kept, config: ImageConfig, *, last: bool) -> Kept:
    # The chosen checkpoint, the last stage's end, comes first.
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
    write_manifest(folder, voter=config.voter)
