"""A small residual network for a laptop, registered with timm under its name."""

from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock
from torch import Tensor, nn

SMALL = "small_resnet"
default_cfgs = generate_default_cfgs({SMALL: {"classifier": "head"}})  # where timm looks for it


class SmallResNet(nn.Module):
    """A residual network (He et al. 2015, basic blocks) for small images on a CPU.

    The stem goes to a quarter of the resolution in one convolution, since early full-size layers
    are what costs time on a CPU. (B, 3, H, W) to (B, 192, H / 16, W / 16).
    """

    widths = (48, 96, 192)
    num_features = head_hidden_size = widths[-1]

    def __init__(self, num_classes: int = 0, in_chans: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_chans, self.widths[0], 7, stride=4, padding=3, bias=False),
            nn.BatchNorm2d(self.widths[0]),
        )
        channels = (self.widths[0], *self.widths)
        self.blocks = nn.Sequential(
            *(_block(channels[i], channels[i + 1], stride) for i, stride in enumerate((1, 2, 2)))
        )
        self.reset_classifier(num_classes)

    def reset_classifier(self, num_classes: int) -> None:
        """Puts a new classifier of so many classes in its place, or with 0 none."""
        self.num_classes = num_classes
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def forward_features(self, images: Tensor) -> Tensor:
        """The feature map, (B, 192, h, w)."""
        return self.blocks(torch.relu(self.stem(images)))

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits of a feature map, or before the classifier the mean over places, (B, 192)."""
        pooled = features.mean(dim=(2, 3))
        return pooled if pre_logits else self.head(pooled)

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(images))


@register_model
def small_resnet(pretrained: bool = False, **options: Any) -> SmallResNet:
    """Builds the network for `timm.create_model`."""
    return build_model_with_cfg(SmallResNet, SMALL, pretrained, **options)


def _block(inputs: int, outputs: int, stride: int) -> BasicBlock:
    shortcut = None
    if stride > 1 or inputs != outputs:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    return BasicBlock(inputs, outputs, stride, shortcut)
