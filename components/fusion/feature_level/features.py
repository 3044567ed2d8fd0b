"""Feature-level fusion, step by step on exported features: the baseline that lost (paper, section 3.3.1)."""

from typing import assert_never

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from components.fusion.config import ProjectedConfig
from components.fusion.kinds.attention import AttentionConfig
from components.fusion.kinds.concat import ConcatConfig
from components.fusion.kinds.sum import SumConfig

WEIGHT_DECAY = 0.01  # AdamW's, of the joint classifier and of backbones that are trained on
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


def train_feature_level(
    text: np.ndarray,
    image: np.ndarray,
    labels: np.ndarray,
    fit: np.ndarray,
    config: Pooled,
    *,
    classes: int,
    seed: int,
    device: torch.device,
) -> np.ndarray:
    """Trains one classifier on the features of both modalities, and predicts every product.

    The last epoch is taken: none is chosen on validation.

    Args:
        text: (N, D_text) features.
        image: (N, D_image) features.
        labels: (N,) classes, any where not fitted.
        fit: row numbers to train on.

    Returns:
        (N, C) float32 class probabilities.
    """
    torch.manual_seed(seed)
    texts, images = (_standardized(values, fit).to(device) for values in (text, image))
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
    return _predict(model, texts, images)


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


def _standardized(values: np.ndarray, fit: np.ndarray) -> Tensor:
    """Zero mean and unit variance on the rows fitted; a feature that never varies there becomes 0."""
    mean, deviation = values[fit].mean(axis=0, dtype=np.float64), values[fit].std(axis=0, dtype=np.float64)
    scale = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0)
    return torch.from_numpy(((values - mean) * scale).astype(np.float32))
