"""The colour classifier: histograms of an image's colours and a small net on them.

It needs no weights and no GPU and trains in seconds. What tells products apart by colour alone a network
on pixels learns slowly, so it is a voter to put beside one, as TF-IDF is beside a transformer.
"""

import logging
import math
import time
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from components.artifacts import whole_file, write_json, write_manifest
from components.catalog import Products, Task
from components.errors import InputError
from components.image.config import GRID, ColourConfig
from components.image.judging import image_rows
from components.image_cache import ImageCache
from components.image_store import ImageStore
from components.trained import Trained

log = logging.getLogger(__name__)

WHITE_FROM = 240  # a pixel whose every channel is at least this is background
# Where the bins of CIELAB end, finer near grey: lightness, and both a and b.
LIGHTNESS = (20.0, 35.0, 50.0, 65.0, 80.0)
CHROMA = (-25.0, -10.0, -4.0, 4.0, 10.0, 25.0, 45.0)
LEVELS = 32  # of each channel, in the table from RGB to bins
CHUNK = 512  # images described at a time


def train_colours(
    products: Products, store: ImageStore, task: Task, config: ColourConfig, *, seed: int, model: Path
) -> Trained:
    """Trains on `task.fit` and judges `task.predict`; a product without an image gets the class frequencies.

    The pooled features are the hidden layer.

    Raises:
        InputError: fewer than two products to train on have an image, or one cannot be decoded.
    """
    start = time.perf_counter()
    keys, index = image_rows(products, np.arange(len(products.table)))
    fit = task.fit[index[task.fit] >= 0]
    if len(fit) < 2:
        raise InputError(f"{len(fit)} of {len(task.fit)} products to train on have an image; two are needed")
    described = _describe_all(store, keys, config)
    log.info("%s: colours of %s images counted", config.voter, f"{len(keys):,}")
    net, loss, probs, hidden = _train_and_judge(described, index, fit, products, config, seed)
    matrices = {split: probs[rows] for split, rows in task.predict.items()}
    if config.refit and "test" in task.predict:
        both = np.union1d(fit, task.predict["validation"])
        both = both[index[both] >= 0]
        net, _, probs, _ = _train_and_judge(described, index, both, products, config, seed)
        matrices["test"] = probs[task.predict["test"]]
    seconds = time.perf_counter() - start
    log.info("%s: trained on %s products in %.0f s", config.voter, f"{len(fit):,}", seconds)
    _save(model, net, products, config)
    features = None if "out_of_fold" in task.predict else hidden
    return Trained({"final": matrices}, features, {"training_seconds": seconds, "final_loss": loss})


def _train_and_judge(
    described: Tensor, index: np.ndarray, fit: np.ndarray, products: Products, config: ColourConfig, seed: int
) -> tuple["ColourNet", float, np.ndarray, np.ndarray]:
    # The net, its loss in the last epoch, and its judgement of all products.
    labels, classes = products.labels[fit], len(products.classes)
    net, loss = _fit(described[index[fit]], torch.from_numpy(labels), classes, config, seed)
    probs, hidden = _judge(net, described, index, np.bincount(labels, minlength=classes) / len(fit))
    return net, loss, probs, hidden


def describe(images: Tensor) -> Tensor:
    """What colours images have, and where: (B, H, W, 3) uint8 -> (B, D) float32.

    Square roots of the shares of each colour (so that Euclidean distance is Hellinger's) in the whole, its
    upper, middle and lower third and its centre, background left out; and the share of every cell of a
    grid that is not background.
    """
    height, width = images.shape[1:3]
    table, bins = _bin_of_colour()
    red, green, blue = (images // (256 // LEVELS)).long().unbind(3)
    colour = table[(red * LEVELS + green) * LEVELS + blue]
    shown = (images < WHITE_FROM).any(dim=3)
    third, quarter = height // 3, (height // 4, width // 4)
    whole = slice(None)
    regions = [(whole, whole), *((slice(i * third, (i + 1) * third), whole) for i in range(3))]
    regions.append((slice(quarter[0], -quarter[0]), slice(quarter[1], -quarter[1])))
    parts = [_shares(colour[:, y, x], shown[:, y, x], bins).sqrt() for y, x in regions]
    cells = functional.adaptive_avg_pool2d(shown[:, None].float(), GRID)
    return torch.cat([*parts, cells.flatten(1)], dim=1)


def _shares(colour: Tensor, shown: Tensor, bins: int) -> Tensor:
    # (B, h, w) bins and masks to (B, bins): each bin's share of what is shown.
    images = torch.arange(len(colour))[:, None, None] * bins
    counts = torch.bincount((colour + images)[shown], minlength=len(colour) * bins)
    counts = counts.view(len(colour), bins).float()
    return counts / counts.sum(dim=1, keepdim=True).clamp(min=1)


@cache
def _bin_of_colour() -> tuple[Tensor, int]:
    # The bin of every coarse RGB colour, (LEVELS ** 3,) int64, and how many bins some colour falls into.
    steps = (np.arange(LEVELS) + 0.5) / LEVELS
    rgb = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lightness, a, b = _to_lab(rgb).T
    sides = np.digitize(lightness, LIGHTNESS), np.digitize(a, CHROMA), np.digitize(b, CHROMA)
    size = len(CHROMA) + 1
    found, table = np.unique((sides[0] * size + sides[1]) * size + sides[2], return_inverse=True)
    return torch.from_numpy(table.ravel().astype(np.int64)), len(found)


def _to_lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB in 0..1, (N, 3) -> CIELAB under D65, (N, 3) (IEC 61966-2-1; CIE 15)."""
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = linear @ np.array(to_xyz).T / (0.9505, 1.0, 1.089)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def _describe_all(store: ImageStore, keys: list[str], config: ColourConfig) -> Tensor:
    cpu = torch.device("cpu")
    chunks = np.array_split(np.arange(len(keys)), math.ceil(len(keys) / CHUNK))
    with ImageCache(store, keys, config.size, fit="stretch", place="stream", device=cpu) as cache:
        described = [describe(batch.images[..., :3].contiguous()) for batch in cache.batches(chunks)]
    return torch.cat(described)


class ColourNet(nn.Module):
    """Standardised descriptions, one hidden layer with dropout, one linear layer."""

    mean: Tensor
    scale: Tensor

    def __init__(self, described: Tensor, classes: int, config: ColourConfig) -> None:
        super().__init__()
        self.register_buffer("mean", described.mean(dim=0))
        # Colours that hardly occur vary little: they are not blown up to the size of the others.
        self.register_buffer("scale", 1 / (described.std(dim=0) + 0.02))
        self.hidden = nn.Linear(described.shape[1], config.hidden)
        self.head = nn.Linear(config.hidden, classes)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, described: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D) to logits (B, C) and hidden activations (B, hidden)."""
        hidden = self.hidden((described - self.mean) * self.scale).relu()
        return self.head(self.dropout(hidden)), hidden


def _fit(
    described: Tensor, labels: Tensor, classes: int, config: ColourConfig, seed: int
) -> tuple[ColourNet, float]:
    torch.manual_seed(seed)
    net = ColourNet(described, classes, config).train()
    size = min(config.batch_size, len(labels))
    epoch_steps = len(labels) // size
    epochs = max(config.epochs, math.ceil(config.min_steps / epoch_steps))
    optimizer = torch.optim.AdamW(
        net.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=epochs * epoch_steps, pct_start=0.2
    )
    random = np.random.default_rng(seed)
    losses = []
    for _ in range(epochs):
        order = torch.from_numpy(random.permutation(len(labels)))
        losses = []
        for rows in order[: epoch_steps * size].split(size):
            loss = functional.cross_entropy(net(described[rows])[0], labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    return net, float(np.mean(losses))


@torch.no_grad()
def _judge(
    net: ColourNet, described: Tensor, index: np.ndarray, prior: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    # Probabilities (N, C) and hidden activations (N, hidden) of products whose images are at `index`.
    judged = [net.eval()(part) for part in described.split(CHUNK)]
    probs = torch.cat([logits.softmax(dim=1) for logits, _ in judged]).numpy()[index]
    hidden = torch.cat([activations for _, activations in judged]).numpy()[index]
    probs[index < 0], hidden[index < 0] = prior, 0
    return probs, hidden


def _save(folder: Path, net: ColourNet, products: Products, config: ColourConfig) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / "model.safetensors") as temporary:
        save_file(net.state_dict(), temporary)
    write_json(folder / "config.json", {**asdict(config), "classes": list(products.classes)})
    write_manifest(folder, voter=config.voter)
