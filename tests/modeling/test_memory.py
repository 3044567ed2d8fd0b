"""What is said of a device's memory before a training, and when it runs out. A number stands in for a GPU's.

No GPU was at hand on which the estimate could be compared with what a training took.
"""

import re
from typing import Any

import numpy as np
import pytest
import torch
from encoder_families import CPU, family, some_tokens

from components.core.errors import InputError
from components.image.kinds.network import NetworkConfig
from components.image.network import build_network
from components.image.training import Examples, StageTraining
from components.modeling import memory
from components.modeling.image import cache
from components.modeling.memory import MemoryLimit, StepMemory, estimate_memory
from components.modeling.step import OptimizerStep
from components.modeling.termination import Termination
from components.text.kinds.transformer import TransformerConfig
from components.text.step import Gradients, make_step

LABELS = np.arange(200) % 5
PRIOR = np.full(3, 1 / 3)


def text_step(**changes: Any) -> OptimizerStep:
    config = TransformerConfig(name="x", **{"batch_size": 64, **changes})
    tokens = some_tokens(200)
    return make_step(family("deberta-v2"), tokens, LABELS, torch.ones(5), config, lambda: None)


def image_training(**changes: Any) -> StageTraining:
    settings = {"backbone": "small_resnet", "weights": "scratch", "batch_size": 16, "dcl_batch_size": 16}
    sizes = {"resize": (32, 32), "crop": (28, 28), "dcl_resize": (32, 32), "dcl_crop": (28, 28)}
    config = NetworkConfig(name="v", **{**settings, **sizes, **changes})
    stage, rows = config.stages()[-1], np.arange(24)
    network = build_network(config, stage, PRIOR)
    examples = Examples(rows, rows % 3, rows, {}, PRIOR)
    rest: dict[str, Any] = {"seed": 0, "checkpoints": None, "termination": Termination()}
    return StageTraining(network, stage, config, examples, **rest)


def free(patch: pytest.MonkeyPatch, megabytes: float) -> None:
    patch.setattr(memory, "free_memory", lambda device: megabytes * 2**20)


def said(make: Any) -> str:
    with pytest.raises(InputError) as error:
        make()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", ["camembert", "deberta-v2"])
def test_what_a_pass_keeps_grows_as_estimated_with_its_texts(name):
    model, config = family(name).train(), TransformerConfig(name="x")
    gradients = Gradients(model, some_tokens(200), LABELS, torch.ones(5), config, lambda: None)
    estimate = gradients.memory()
    weights = sum(weight.numel() for weight in model.parameters())
    assert estimate.fixed >= 3 * 4 * weights  # a gradient and AdamW's two moments
    longest, whole = int(gradients.tokens.lengths.argmax()), torch.ones(())

    def forward(texts: int) -> torch.Tensor:
        # `estimate_memory` passes two and four: here four times as many.
        return gradients._loss(gradients.classifier, np.full(4 * texts, longest), whole)

    larger = estimate_memory(model, forward, moments=2)
    assert larger.sample == pytest.approx(4 * estimate.sample, rel=0.02)
    assert larger.fixed == pytest.approx(estimate.fixed, rel=0.02)


def test_texts_that_will_not_fit_are_refused_with_the_accumulation_that_does(monkeypatch):
    free(monkeypatch, 40)
    line = said(text_step)
    assert line.startswith(
        "a batch of 64 texts of up to 128 tokens in 1 pass does not fit into the GPU's 0.0 GiB"
    )
    accumulation = int(re.findall(r'set "accumulation": (\d+)$', line)[0])
    assert 1 < accumulation < 64
    text_step(accumulation=accumulation)
    assert "passes does not fit" in said(lambda: text_step(accumulation=accumulation // 2))


def test_a_network_too_large_for_one_sample_is_refused_without_a_number(monkeypatch):
    free(monkeypatch, 0.5)
    assert said(text_step).endswith("use a smaller network or a larger GPU")


@pytest.mark.parametrize(
    ("key", "epochs", "what"), [("batch_size", 0, "16 images of 28x28"), ("dcl_batch_size", 5, "16 pairs of")]
)
def test_images_that_will_not_fit_are_refused_with_the_batch_that_does(monkeypatch, key, epochs, what):
    free(monkeypatch, 7.5)
    line = said(lambda: image_training(dcl_epochs=epochs))
    assert f"a batch of {what}" in line
    size = int(re.findall(rf'set "{key}": (\d+)$', line)[0])
    assert 1 <= size < 16
    training = image_training(**{key: size}, dcl_epochs=epochs)
    assert 0 < training.needed <= 7.5 * 2**20
    assert "does not fit" in said(lambda: image_training(**{key: size + 1}, dcl_epochs=epochs))


def test_an_estimate_leaves_the_network_as_it_is(monkeypatch):
    before = image_training(dcl_epochs=0).network.state_dict()
    torch.manual_seed(0)
    free(monkeypatch, 2000)
    training = image_training(dcl_epochs=0)
    assert {name for name in before if "running" in name}
    for name, buffer in training.network.named_buffers():
        if "running" in name or "batches" in name:
            assert torch.equal(buffer, before[name]), name
    assert all(weight.grad is None for weight in training.network.parameters())


def test_memory_that_runs_out_in_a_step_ends_in_the_same_line(monkeypatch):
    free(monkeypatch, 1e6)
    step = text_step(accumulation=2)

    def no_room(batch: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nGPU 0 has ...")

    step.backward = no_room
    line = said(lambda: step(np.arange(64), 1e-3))
    assert line.startswith("a batch of 64 texts of up to 128 tokens in 2 passes does not fit into the GPU's")
    assert line.endswith('set "accumulation": 4')


def test_a_gpu_that_cannot_even_hold_the_estimate_is_said_to_be_too_small(monkeypatch):
    free(monkeypatch, 1000)
    limit = MemoryLimit(CPU, "a batch", 8, lambda fits: f"take {fits}")

    def no_room() -> StepMemory:
        raise torch.OutOfMemoryError

    assert said(lambda: limit.check(no_room)).endswith("larger GPU")


def test_images_kept_on_a_gpu_leave_room_for_the_steps(monkeypatch):
    gpu, gigabyte = torch.device("cuda"), 2**30
    monkeypatch.setattr(cache, "free_memory", lambda device: 10 * gigabyte)
    assert cache._choose(4 * gigabyte, gpu, reserved=5 * gigabyte) == "device"
    assert cache._choose(4 * gigabyte, gpu, reserved=7 * gigabyte) != "device"
