"""What a step does with the paper's learning rates, and in float16."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from components.image.kinds.network import NetworkConfig
from components.image.network import build_network
from components.image.training import Examples, Samples, StageTraining
from components.modeling import precision
from components.modeling.image.augmentation import PIXEL, ImageBatch, uniforms
from components.modeling.termination import Termination

PRIOR = np.full(3, 1 / 3)


class Pixels:
    """An image cache of images that are there already, (N, H, W, PIXEL) uint8."""

    device = torch.device("cpu")

    def __init__(self, images: torch.Tensor) -> None:
        self.images = images

    def batches(self, batches):
        for rows in batches:
            yield ImageBatch(self.images, torch.from_numpy(rows))


def start(**changes) -> StageTraining:
    """A training of 24 products, 3 steps an epoch, that has not begun; the last stage's."""
    settings = {"backbone": "small_resnet", "weights": "scratch", "batch_size": 8, "dcl_epochs": 0}
    sizes = {"resize": (32, 32), "crop": (28, 28), "dcl_resize": (32, 32), "dcl_crop": (28, 28)}
    config = NetworkConfig(name="v", **{**settings, **sizes, **changes})
    stage = replace(config.stages()[-1], batch_size=8)
    rows = np.arange(24)
    torch.manual_seed(0)
    return StageTraining(
        build_network(config, stage, PRIOR),
        stage,
        config,
        Examples(rows, rows % 3, rows, {}, PRIOR),
        seed=0,
        checkpoints=None,
        termination=Termination(),
    )


def test_in_a_step_of_dcl_the_heads_learn_ten_times_faster_than_the_backbone():
    training = start(dcl_epochs=20)
    images = torch.randint(0, 255, (24, 32, 32, PIXEL), dtype=torch.uint8)
    rows, optimizer = np.arange(8), training.optimizer
    draws = uniforms(0, 0, rows, training.network.draws)
    training.loop.take_step(Samples(rows, ImageBatch(images, torch.from_numpy(rows)), draws))
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.01, 0.1])
    assert [group["momentum"] for group in optimizer.param_groups] == [0.9, 0.9]


@pytest.mark.parametrize("dcl_epochs", [0, 20], ids=["plain", "dcl"])
def test_steps_in_float16_learn_what_those_in_float32_learn(monkeypatch, dcl_epochs):
    # A CPU in place of a GPU before the A100.
    images = torch.randint(0, 255, (24, 32, 32, PIXEL), dtype=torch.uint8)
    losses = {}
    for dtype in (torch.float32, torch.float16):
        monkeypatch.setattr(precision, "product_type", lambda device, dtype=dtype: dtype)
        training = start(dcl_epochs=dcl_epochs)
        for rows in np.arange(24).reshape(3, 8):
            draws = uniforms(0, 0, rows, training.network.draws)
            training.loop.take_step(Samples(rows, ImageBatch(images, torch.from_numpy(rows)), draws))
        losses[dtype] = training.loop.losses
        assert training.scaler.is_enabled() == (dtype == torch.float16)
    assert losses[torch.float16] == pytest.approx(losses[torch.float32], abs=0.02)
    assert losses[torch.float16] != losses[torch.float32]
