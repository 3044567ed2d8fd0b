"""The color classifier: histograms of an image's colors and a small net on them.

It needs no weights and no GPU and trains in seconds. What tells products apart by color alone a network
on pixels learns slowly, so it is a classifier to put beside one, as TF-IDF is beside a transformer.
"""

import logging
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from components.core.artifacts import whole_file, write_json, write_manifest
from components.core.errors import InputError
from components.data.image_store import ImageStore
from components.data.products import Products, Task, image_rows
from components.image.kinds.color_histogram import GPU_IMAGES, ColorHistogramConfig
from components.modeling.device import choose_device, device_name
from components.modeling.image.color_histogram import CHUNK, describe_all
from components.modeling.one_cycle import OneCycle, train_one_cycle
from components.modeling.trained import Trained, TrainingSetup

log = logging.getLogger(__name__)

BATCH_SIZE, WEIGHT_DECAY = 64, 0.05


def train_color_histogram(
    products: Products, store: ImageStore, task: Task, config: ColorHistogramConfig, setup: TrainingSetup
) -> Trained:
    """Trains on `task.fit` and predicts `task.predict`; without an image, the class frequencies.

    The pooled features are the hidden layer.

    Raises:
        InputError: fewer than two products to train on have an image, or one cannot be decoded.
    """
    start = time.perf_counter()
    keys, index = image_rows(products, np.arange(len(products.table)))
    fit = task.fit[index[task.fit] >= 0]
    if len(fit) < 2:
        raise InputError(f"{len(fit)} of {len(task.fit)} products to train on have an image; two are needed")
    described = describe_all(store, keys)
    log.info("%s: colors of %s images counted", config.name, f"{len(keys):,}")
    device = choose_device(config.accelerator, enough=len(fit) >= GPU_IMAGES)
    described = described.to(device)
    net, loss, probs, hidden = _train_and_predict(described, index, fit, products, config, setup.seed)
    matrices = {split: probs[rows] for split, rows in task.predict.items()}
    if config.refit and "test" in task.predict:
        both = np.union1d(fit, task.predict["validation"])
        both = both[index[both] >= 0]
        net, _, probs, _ = _train_and_predict(described, index, both, products, config, setup.seed)
        matrices["test"] = probs[task.predict["test"]]
    seconds = time.perf_counter() - start
    log.info("%s: trained on %s products in %.0f s", config.name, f"{len(fit):,}", seconds)
    _save(setup.model, net, products, config)
    features = None if task.of_fold else hidden
    metrics = {"training_seconds": seconds, "final_loss": loss}
    return Trained({"final": matrices}, features, metrics, device=device_name(device))


def _train_and_predict(
    described: Tensor,
    index: np.ndarray,
    fit: np.ndarray,
    products: Products,
    config: ColorHistogramConfig,
    seed: int,
) -> tuple["ColorNet", float, np.ndarray, np.ndarray]:
    # The net, its loss in the last epoch, and its evaluation of all products.
    labels, classes = products.labels[fit], len(products.classes)
    targets = torch.from_numpy(labels).to(described.device)
    net, loss = _fit(described[torch.from_numpy(index[fit])], targets, classes, config, seed)
    probs, hidden = _predict(net, described, index, np.bincount(labels, minlength=classes) / len(fit))
    return net, loss, probs, hidden


class ColorNet(nn.Module):
    """Standardized descriptions, one hidden layer with dropout, one linear layer."""

    mean: Tensor
    scale: Tensor

    def __init__(self, described: Tensor, classes: int, config: ColorHistogramConfig) -> None:
        super().__init__()
        self.register_buffer("mean", described.mean(dim=0))
        # Colors that hardly occur vary little: they are not blown up to the size of the others.
        self.register_buffer("scale", 1 / (described.std(dim=0) + 0.02))
        self.hidden = nn.Linear(described.shape[1], config.hidden)
        self.head = nn.Linear(config.hidden, classes)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, described: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D) to logits (B, C) and hidden activations (B, hidden)."""
        hidden = self.hidden((described - self.mean) * self.scale).relu()
        return self.head(self.dropout(hidden)), hidden


def _fit(
    described: Tensor, labels: Tensor, classes: int, config: ColorHistogramConfig, seed: int
) -> tuple[ColorNet, float]:
    torch.manual_seed(seed)
    net = ColorNet(described, classes, config).to(described.device)

    def loss_of(rows: np.ndarray) -> Tensor:
        batch = torch.from_numpy(rows)
        return functional.cross_entropy(net(described[batch])[0], labels[batch])

    name = f"classifier {config.name}"
    cycle = OneCycle(config.epochs, config.min_steps, BATCH_SIZE, config.learning_rate, WEIGHT_DECAY)
    return net, train_one_cycle(net, np.arange(len(labels)), loss_of, cycle, name=name, seed=seed)


@torch.no_grad()
def _predict(
    net: ColorNet, described: Tensor, index: np.ndarray, prior: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    # Probabilities (N, C) and hidden activations (N, hidden) of products whose images are at `index`.
    predicted = [net.eval()(part) for part in described.split(CHUNK)]
    probs = torch.cat([logits.softmax(dim=1) for logits, _ in predicted]).cpu().numpy()[index]
    hidden = torch.cat([activations for _, activations in predicted]).cpu().numpy()[index]
    probs[index < 0], hidden[index < 0] = prior, 0
    return probs, hidden


def _save(folder: Path, net: ColorNet, products: Products, config: ColorHistogramConfig) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / "model.safetensors") as temporary:
        save_file(net.state_dict(), temporary)
    write_json(folder / "config.json", {**config.model_dump(), "classes": list(products.classes)})
    write_manifest(folder, name=config.name)
