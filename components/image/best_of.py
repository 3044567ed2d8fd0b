"""Several image classifiers are trained, and the best on validation is taken."""

import dataclasses
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.core.errors import InputError
from components.data.image_store import ImageStore
from components.data.products import Products, Task
from components.data.top_classes import PredProbs, concatenated
from components.image.config import IMAGE_KINDS
from components.image.kinds.best_of import BestOfConfig
from components.modeling.cross_fitting import choice_folds, cross_fitted_choice
from components.modeling.metrics import LEAST_CHOOSING, log_loss, macro_f1
from components.modeling.trained import Trained, TrainingSetup

log = logging.getLogger(__name__)


def train_best_of(
    products: Products, store: ImageStore, task: Task, config: BestOfConfig, setup: TrainingSetup
) -> Trained:
    """Trains every candidate on `task.fit` and takes the one with the least log-loss on validation.

    Validation chooses, since out-of-fold log-loss on train takes a second training of every network, in two
    halves. What the choice would flatter is cross-fitted: a validation product is predicted by the
    candidate with the least log-loss on other validation products. The metrics have every candidate's
    log-loss and macro-F1.

    Raises:
        InputError: no validation products to choose by, or see the candidates' trainings.
    """
    if task.of_fold or "validation" not in task.predict:
        raise InputError(f"{config.name}: no validation products by which the best candidate may be chosen")
    labels, trained = products.labels[task.predict["validation"]], {}
    setup.model.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=setup.model.parent) as folder:
        for candidate in config.parsed():
            # Under the name by which the run knows the one that is taken.
            named = candidate.model_copy(update={"name": config.name, "cleaned": config.cleaned})
            own = dataclasses.replace(setup, model=Path(folder) / candidate.name)
            trained[candidate.name] = IMAGE_KINDS.of(named).load_fit()(products, store, task, named, own)
        losses = {name: _loss(labels, _validation(each)) for name, each in trained.items()}
        best = min(losses, key=losses.__getitem__)
        shutil.copytree(Path(folder) / best, setup.model, dirs_exist_ok=True)
    log.info("%s takes %s: log-loss on validation %.4f", config.name, best, losses[best])
    metrics = {f"log_loss_{name}": loss for name, loss in losses.items()}
    for name, each in trained.items():
        metrics[f"macro_f1_{name}"] = macro_f1(labels, _validation(each).argmax(1), len(products.classes))

    def delete_checkpoints() -> None:
        for each in trained.values():
            if each.delete_checkpoints is not None:
                each.delete_checkpoints()

    taken: Trained = trained[best]
    metrics |= taken.metrics
    (checkpoint, splits), *others = taken.matrices.items()
    groups = products.table["group"].to_numpy()[task.predict["validation"]]
    chosen = {**splits, "validation": _cross_fitted(list(trained.values()), labels, groups)}
    return dataclasses.replace(
        taken,
        matrices={checkpoint: chosen, **dict(others)},
        metrics=metrics,
        delete_checkpoints=delete_checkpoints,
    )


def _cross_fitted(candidates: list[Trained], labels: np.ndarray, groups: np.ndarray) -> PredProbs:
    """(N, C) every validation row by the candidate with the least log-loss on the rows of other folds."""
    pred_probs = [_validation(each) for each in candidates]
    choice = cross_fitted_choice(
        lambda rows: [-_loss(labels[rows], one[rows]) for one in pred_probs], choice_folds(labels, groups)
    )
    return concatenated(pred_probs)[choice * len(labels) + np.arange(len(labels))]


def _loss(labels: np.ndarray, pred_probs: PredProbs) -> float:
    return log_loss(labels, pred_probs, least=LEAST_CHOOSING)


def load_best_of(folder: Path, *, device: torch.device) -> Any:
    """Reads the candidate that was taken: its files lie there as its own kind left them."""
    return IMAGE_KINDS.load(folder, check=False, device=device)


def _validation(trained: Trained) -> PredProbs:
    return next(iter(trained.matrices.values()))["validation"]
