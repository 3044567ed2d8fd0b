"""The network of each stage: what it makes of a batch of pixels, in training and in predicting."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from components.image.dcl import (
    DCLHeads,
    cut_and_destroy,
    dcl_loss,
    destroy,
    location_targets,
    neighbor_blocks,
    shuffled_blocks,
)
from components.image.kinds.network import NetworkConfig, TrainingStage
from components.modeling.image.augmentation import UNIFORMS, normalize
from components.modeling.image.backbones import Backbone

RAREST = 1e-6  # the frequency of a class without a product to fit
HEADS_FASTER = 10.0  # the heads' learning rate over the backbone's in DCL: Chen et al.'s code


class PlainNetwork(nn.Module):
    """Backbone and one linear layer on its pooled features; cross-entropy.

    Args:
        prior: (C,) class frequencies of the products to fit.
        of_hub: see `Backbone`.

    Attributes:
        draws: how many uniforms a sample's step takes.
        copies: how many images of a sample a step sees.
    """

    copies = 1

    def __init__(
        self,
        config: NetworkConfig,
        stage: TrainingStage,
        prior: np.ndarray,
        of_hub: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.draws = UNIFORMS
        self.backbone = Backbone(config.backbone, stage.crop, of_hub)
        self.head = nn.Linear(self.backbone.width, len(prior))
        # Logit adjustment, Menon et al., ICLR 2021, https://arxiv.org/abs/2007.07314, equation 10.
        offsets = config.logit_adjustment_tau * torch.from_numpy(np.log(np.maximum(prior, RAREST))).float()
        self.offsets: Tensor
        self.register_buffer("offsets", offsets, persistent=False)

    def forward(self, pixels: Tensor, draws: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch: pixels (B, H, W, PIXEL) uint8, draws (B, self.draws), labels (B,)."""
        _, pooled = self.features(pixels)
        logits = self.head(pooled).float() + self.offsets
        return functional.cross_entropy(logits, labels, label_smoothing=self.config.label_smoothing)

    def predict(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (B, C) and pooled features (B, W) of pixels (B, H, W, PIXEL) uint8, float32."""
        _, pooled = self.features(pixels)
        return self.class_logits(pooled).float(), pooled.float()

    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Feature map (B, D, h, w) and pooled features (B, W) of pixels (B, H, W, PIXEL) uint8."""
        return self.backbone(normalize(pixels, self.backbone.mean, self.backbone.std))

    def class_logits(self, pooled: Tensor) -> Tensor:
        """(B, W) to (B, C), at test time."""
        return self.head(pooled)

    def parameter_groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """Parameters, and what their learning rate is multiplied by."""
        return [(list(self.parameters()), 1.0)]


class DCLNetwork(PlainNetwork):
    """The same with destruction and construction learning: a batch is [originals, destroyed].

    `forward` takes pixels (2B, H, W, PIXEL) with the originals in the first half, and writes the second.
    """

    copies = 2

    def __init__(
        self,
        config: NetworkConfig,
        stage: TrainingStage,
        prior: np.ndarray,
        of_hub: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(config, stage, prior, of_hub)
        self.draws = UNIFORMS + 2 * config.dcl_blocks**2
        self.dcl = DCLHeads(
            self.backbone.width, self.backbone.map_width, len(prior), config.dcl_blocks, config.dcl_swap
        )

    def forward(self, pixels: Tensor, draws: Tensor, labels: Tensor) -> Tensor:
        targets = self.destroy(pixels, draws[:, UNIFORMS:])
        features, pooled = self.features(pixels)
        return dcl_loss(
            self.head(pooled) + self.offsets,
            self.dcl.swap(pooled),
            self.dcl.locations(features),
            labels,
            self.dcl.swap_targets(labels),
            targets,
            gamma=self.config.dcl_gamma,
            label_smoothing=self.config.label_smoothing,
        )

    def destroy(self, pixels: Tensor, draws: Tensor) -> Tensor:
        """Destroys the first half of the pixels into the second; gives location targets, (2B, N * N)."""
        config, blocks = self.config, self.config.dcl_blocks
        originals, destroyed = pixels.chunk(2)
        if config.dcl_shuffle == "sort":
            source = shuffled_blocks(draws, blocks, config.dcl_range)
            destroy(originals, source, blocks, out=destroyed)
        else:
            source = neighbor_blocks(draws, blocks)
            destroyed.copy_(cut_and_destroy(originals, source, blocks))
        straight = torch.arange(blocks * blocks, device=pixels.device).expand_as(source)
        return location_targets(torch.cat([straight, source]), blocks)

    def class_logits(self, pooled: Tensor) -> Tensor:
        return self.dcl.class_logits(self.head(pooled), pooled)

    def parameter_groups(self) -> list[tuple[list[nn.Parameter], float]]:
        heads = [*self.head.parameters(), *self.dcl.parameters()]
        return [(list(self.backbone.parameters()), 1.0), (heads, HEADS_FASTER)]


def build_network(
    config: NetworkConfig, stage: TrainingStage, prior: np.ndarray, of_hub: Mapping[str, Any] | None = None
) -> PlainNetwork:
    """The network of a stage with random weights, in channels-last memory.

    Args:
        prior: (C,) class frequencies of the products to fit.
        of_hub: see `Backbone`.
    """
    kind = DCLNetwork if stage.kind == "dcl" else PlainNetwork
    return kind(config, stage, prior, of_hub).to(memory_format=torch.channels_last)  # pyright: ignore
