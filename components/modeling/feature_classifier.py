"""Classifiers on features that are computed once: logistic regression, or the light net."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from components.core.errors import InputError
from components.data.products import Products, Task
from components.data.top_classes import PredProbs, in_blocks
from components.modeling.device import choose_device
from components.modeling.feature_config import GPU_ROWS, FeatureClassifierConfig
from components.modeling.light_net import LightNet, fit_light_net
from components.modeling.linear_probe import LinearProbe, fit_probe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeatureClassifier:
    """A fitted classifier of features.

    Attributes:
        model: what was fitted.
        prior: (C,) the probabilities of a product without features: the class frequencies.
    """

    model: LinearProbe | LightNet
    prior: np.ndarray

    def predict(self, features: np.ndarray, known: np.ndarray) -> PredProbs:
        """Probabilities (N, C) float32 of features (N, D); `known` (N,) tells who has any."""
        rows, classes = len(features), len(self.prior)
        return in_blocks(lambda part: self._whole(features[part], known[part]), rows, classes)

    def _whole(self, features: np.ndarray, known: np.ndarray) -> np.ndarray:
        probs = np.tile(self.prior.astype(np.float32), (len(features), 1))
        if known.any():
            probs[known] = self.model.predict(features[known])
        return probs

    @property
    def metrics(self) -> dict[str, float]:
        """How the fitting went, for the pipelines UI."""
        if isinstance(self.model, LightNet):
            return {"final_loss": self.model.loss}
        if not self.model.log_losses:  # one strength, or too few products to choose
            return {}
        loss, l2 = min((loss, l2) for l2, loss in self.model.log_losses.items())
        return {"l2": l2, "out_of_fold_log_loss": loss}

    def tensors(self) -> dict[str, torch.Tensor]:
        """What `predict` reads, by name."""
        found = self.model.tensors() if isinstance(self.model, LinearProbe) else self.model.state_dict()
        return {**found, "prior": torch.from_numpy(self.prior)}

    @classmethod
    def restored(cls, tensors: Mapping[str, torch.Tensor], device: torch.device) -> "FeatureClassifier":
        """The classifier whose `tensors` these are; a light net predicts on the device."""
        own = {name: tensor for name, tensor in tensors.items() if name != "prior"}
        model = LinearProbe.restored(own) if "spread" in own else LightNet.restored(own).to(device)
        return cls(model, tensors["prior"].numpy())


def train_on_features(
    features: np.ndarray,
    known: np.ndarray,
    products: Products,
    task: Task,
    fit: Callable[[np.ndarray, np.ndarray], LinearProbe | LightNet],
    *,
    refit: bool,
    name: str,
) -> tuple[dict[str, PredProbs], list[FeatureClassifier]]:
    """Trains on `task.fit` and predicts `task.predict`.

    Args:
        features: (N, D) float32 of all products.
        known: (N,) bool, who has features; the others get the class frequencies.
        fit: features (n, D) and row numbers (n,) of the products to learn from -> what was learned.
        refit: train a second time, on validation too, and predict the test split by that.
        name: what is trained, for messages.

    Returns:
        Split -> (rows of the split, C) probabilities, and the classifiers: the second is the refitted one.

    Raises:
        InputError: fewer than two products to train on have features.
    """
    start = time.perf_counter()

    def trained(rows: np.ndarray) -> FeatureClassifier:
        rows = rows[known[rows]]
        if len(rows) < 2:
            raise InputError(
                f"{name}: {len(rows)} of {len(task.fit)} products to train on have an image; two are needed"
            )
        counts = np.bincount(products.labels[rows], minlength=len(products.classes))
        return FeatureClassifier(fit(features[rows], rows), counts / len(rows))

    classifiers = [trained(task.fit)]
    predicted = {
        split: classifiers[0].predict(features[rows], known[rows]) for split, rows in task.predict.items()
    }
    if refit and len(both := task.refit):
        classifiers.append(trained(both))
    if len(classifiers) > 1 and "test" in task.predict:
        rows = task.predict["test"]
        predicted["test"] = classifiers[1].predict(features[rows], known[rows])
    log.info("%s: trained on %s products in %.0f s", name, f"{len(task.fit):,}", time.perf_counter() - start)
    return predicted, classifiers


def feature_fit(
    products: Products, config: FeatureClassifierConfig, *, name: str, seed: int
) -> Callable[[np.ndarray, np.ndarray], LinearProbe | LightNet]:
    """What `train_on_features` fits with, as a configuration says."""
    labels, classes = products.labels, len(products.classes)
    groups = products.table["group"].to_numpy()

    def fit(features: np.ndarray, rows: np.ndarray) -> LinearProbe | LightNet:
        if config.classifier == "mlp":
            device = choose_device(config.accelerator, enough=len(rows) >= GPU_ROWS)
            return fit_light_net(features, labels[rows], classes, config, name=name, seed=seed, device=device)
        return fit_probe(features, labels[rows], classes, l2=config.l2, groups=groups[rows], seed=seed)

    return fit
