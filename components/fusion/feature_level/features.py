"""Feature-level fusion, step by step on exported features: the baseline that lost (paper, section 3.3.1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from components.data.features import Features
from components.data.image_store import ImageStore
from components.fusion.config import ProjectedConfig
from components.fusion.kinds.attention import AttentionConfig
from components.fusion.kinds.concat import ConcatConfig
from components.fusion.kinds.sum import SumConfig
from components.modeling.trained import Predicted

WEIGHT_DECAY = 0.01  # AdamW's, of the joint classifier and of backbones that are trained on
MODALITIES = ("text", "image")
MODEL = "model."  # before the names of the classifier's weights among a model's
Pooled = ConcatConfig | SumConfig | AttentionConfig


class Concat(nn.Module):
    """Both modalities' features side by side, and a linear classifier."""

    def __init__(self, text: int, image: int, classes: int, config: ConcatConfig) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(text + image, classes)

    def forward(self, text: Tensor, image: Tensor) -> Tensor:
        """(B, D_text), (B, D_image) -> logits (B, C)."""
        return self.classifier(self.dropout(torch.cat([text, image], dim=1)))


class Sum(nn.Module):
    """Both modalities projected to one size and summed, and a linear classifier."""

    def __init__(self, text: int, image: int, classes: int, config: ProjectedConfig) -> None:
        super().__init__()
        self.text, self.image = nn.Linear(text, config.size), nn.Linear(image, config.size)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.size, classes)

    def forward(self, text: Tensor, image: Tensor) -> Tensor:
        """(B, D_text), (B, D_image) -> logits (B, C)."""
        return self.classifier(self.dropout((self.text(text) + self.image(image)).relu()))


class Attention(nn.Module):
    """Both modalities projected to one size and averaged with weights that the product itself decides."""

    def __init__(self, text: int, image: int, classes: int, config: ProjectedConfig) -> None:
        super().__init__()
        self.text, self.image = nn.Linear(text, config.size), nn.Linear(image, config.size)
        self.score = nn.Sequential(nn.Linear(config.size, config.size), nn.Tanh(), nn.Linear(config.size, 1))
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.size, classes)

    def forward(self, text: Tensor, image: Tensor) -> Tensor:
        """(B, D_text), (B, D_image) -> logits (B, C)."""
        modalities = torch.stack([self.text(text), self.image(image)], dim=1).relu()  # B, 2, size
        attention = self.score(modalities).softmax(dim=1)  # B, 2, 1
        return self.classifier(self.dropout((attention * modalities).sum(dim=1)))


@dataclass(frozen=True)
class Scale:
    """Zero mean and unit variance on the rows fitted; a feature that never varies there becomes 0.

    Attributes:
        mean, scale: (D,) float64.
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "Scale":
        """That of the rows fitted, (n, D)."""
        mean, deviation = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
        return cls(mean, np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0))

    def __call__(self, values: np.ndarray) -> Tensor:
        """(N, D) standardized, float32."""
        return torch.from_numpy(((values - self.mean) * self.scale).astype(np.float32))


@dataclass(frozen=True)
class StepByStep:
    """A fitted classifier on the features of two classifiers.

    Attributes:
        inputs: their names, the text classifier's first.
        scales: by which the features of each are standardized.
    """

    inputs: tuple[str, str]
    scales: tuple[Scale, Scale]
    model: nn.Module

    def predict(
        self, table: pd.DataFrame, store: ImageStore, features: Mapping[str, np.ndarray]
    ) -> Predicted:
        """Probabilities of N products by their pooled features, (N, D) by the name of a classifier."""
        return Predicted(self.of_features(*(features[name] for name in self.inputs)))

    def of_features(self, text: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Features (N, D_text) and (N, D_image) to probabilities (N, C) float32."""
        device = next(self.model.parameters()).device
        texts, images = self.scales[0](text).to(device), self.scales[1](image).to(device)
        return _predict(self.model, texts, images)

    def tensors(self) -> dict[str, Tensor]:
        """What `load_step_by_step` reads, by name."""
        arrays = {
            f"{modality}_{name}": torch.from_numpy(array)
            for modality, scale in zip(MODALITIES, self.scales, strict=True)
            for name, array in vars(scale).items()
        }
        return {**arrays, **{f"{MODEL}{name}": tensor for name, tensor in self.model.state_dict().items()}}


def load_step_by_step(
    settings: Mapping[str, Any], tensors: Mapping[str, Tensor], config: Pooled, device: torch.device
) -> StepByStep:
    """The classifier whose settings and tensors lie in a model folder."""
    text, image = (
        Scale(tensors[f"{modality}_mean"].numpy(), tensors[f"{modality}_scale"].numpy())
        for modality in MODALITIES
    )
    model = make_model(len(text.mean), len(image.mean), len(settings["classes"]), config)
    model.load_state_dict(
        {name.removeprefix(MODEL): value for name, value in tensors.items() if name.startswith(MODEL)}
    )
    first, second = settings["inputs"]
    return StepByStep((first, second), (text, image), model.to(device))


def train_feature_level(
    text: Features,
    image: Features,
    labels: np.ndarray,
    fit: np.ndarray,
    config: Pooled,
    *,
    classes: int,
    seed: int,
    device: torch.device,
) -> StepByStep:
    """Trains one classifier on the features of both modalities.

    The last epoch is taken: none is chosen on validation.

    Args:
        text: those of the text classifier, of all N products; `image` likewise.
        labels: (N,) classes, any where not fitted.
        fit: row numbers to train on.
    """
    torch.manual_seed(seed)
    scales = Scale.of(text.values[fit]), Scale.of(image.values[fit])
    texts, images = scales[0](text.values).to(device), scales[1](image.values).to(device)
    targets, rows = torch.from_numpy(labels).to(device), torch.from_numpy(fit).to(device)
    model = make_model(texts.shape[1], images.shape[1], classes, config).to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=WEIGHT_DECAY, fused=True
    )
    random = np.random.default_rng(seed)
    model.train()
    for _ in range(config.epochs):
        order = torch.from_numpy(random.permutation(len(fit))).to(device)
        for batch in rows[order].split(config.batch_size):
            loss = cross_entropy(model(texts[batch], images[batch]), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return StepByStep((text.name, image.name), scales, model)


def make_model(text: int, image: int, classes: int, config: Pooled) -> nn.Module:
    """The classifier of a configuration, for features of `text` and `image` dimensions."""
    match config:
        case ConcatConfig():
            return Concat(text, image, classes, config)
        case SumConfig():
            return Sum(text, image, classes, config)
        case AttentionConfig():
            return Attention(text, image, classes, config)
        case _:
            assert_never(config)


@torch.no_grad()
def _predict(model: nn.Module, texts: Tensor, images: Tensor) -> np.ndarray:
    model.eval()
    batches = zip(texts.split(4096), images.split(4096), strict=True)
    return torch.cat([model(text, image).softmax(dim=1) for text, image in batches]).cpu().numpy()
