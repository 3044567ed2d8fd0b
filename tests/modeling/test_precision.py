"""Which precision a device multiplies in, and the scaling of losses where that is float16.

No GPU before the A100 was at hand: here a CPU multiplies in float16 and takes its place.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from components.modeling import precision
from components.modeling.precision import autocast, loss_scaler, product_type
from components.modeling.step import OptimizerStep
from components.modeling.text.packing import can_pack

CPU = torch.device("cpu")
OVERFLOW = 1e5  # more than float16 holds


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [((7, 0), torch.float16), ((7, 5), torch.float16), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)],
    ids=["V100", "T4", "A100", "H100"],
)
def test_a_gpu_before_the_a100_multiplies_in_float16_and_packs_no_texts(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    gpu = torch.device("cuda")
    assert product_type(gpu) == dtype
    assert can_pack("bert", gpu) == (dtype == torch.bfloat16)


def test_a_cpu_computes_in_float32_and_scales_nothing():
    with autocast(CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert not loss_scaler(CPU).is_enabled()


@pytest.fixture
def float16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "product_type", lambda device: torch.float16)


def make_step(
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW, **options: Any
) -> OptimizerStep:
    """A step of a small net, a batch of which is its inputs and targets."""
    torch.manual_seed(0)
    model, scaler = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1)), loss_scaler(CPU)

    def backward(batch: tuple[Tensor, Tensor]) -> Tensor:
        inputs, targets = batch
        with autocast(CPU):
            outputs = model(inputs)
        loss = (outputs.float() - targets).square().mean()
        scaler.scale(loss).backward()
        return loss

    made = optimizer(model.parameters(), lr=0.1, **options)
    return OptimizerStep(model, made, backward, max_grad_norm=1.0, scaler=scaler)


def batches(count: int) -> list[tuple[Tensor, Tensor]]:
    random = torch.Generator().manual_seed(1)
    inputs = torch.randn(count, 32, 8, generator=random)
    return [(each, each.sum(1, keepdim=True)) for each in inputs]


def tensors(step: OptimizerStep) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in step.state_dict().items()}


def settled(step: OptimizerStep) -> OptimizerStep:
    """The step with a scale at which nothing overflows."""
    step.scaler.load_state_dict({**step.scaler.state_dict(), "scale": 1024.0})
    return step


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.SGD])
def test_scaled_steps_in_float16_learn_what_plain_ones_in_float32_learn(monkeypatch, optimizer):
    plain = make_step(optimizer)
    assert not any(key.startswith("scaler.") for key in plain.state_dict())
    expected = [plain(batch, 0.01).item() for batch in batches(30)]
    monkeypatch.setattr(precision, "product_type", lambda device: torch.float16)
    scaled = settled(make_step(optimizer))
    got = [scaled(batch, 0.01).item() for batch in batches(30)]
    assert got != expected
    assert got == pytest.approx(expected, rel=5e-3)
    assert expected[-1] < expected[0] / 2


@pytest.mark.parametrize("options", [{}, {"fused": True}], ids=["plain", "fused"])
@pytest.mark.parametrize("wrong", [OVERFLOW, float("nan")], ids=["overflow", "not a number"])
@pytest.mark.usefixtures("float16")
def test_a_step_whose_gradients_overflow_changes_nothing_but_the_scale(options, wrong):
    step = settled(make_step(**options))
    step(batches(1)[0], 0.01)
    before = tensors(step)
    (inputs, targets), *_ = batches(1)
    step((inputs * wrong, targets), 0.01)
    after = tensors(step)
    assert before.pop("scaler.scale") == 2 * after.pop("scaler.scale")
    assert before.pop("scaler._growth_tracker") == 1
    assert after.pop("scaler._growth_tracker") == 0
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor), name
    step(batches(1)[0], 0.01)
    assert not torch.equal(tensors(step)["model.0.weight"], before["model.0.weight"])


@pytest.mark.usefixtures("float16")
def test_the_scale_starts_high_comes_down_and_grows_after_many_good_steps():
    step = make_step()
    step.scaler.set_growth_interval(5)
    scales = []
    for batch in batches(40):
        step(batch, 0.01)
        scales.append(step.scaler.get_scale())
    ratios = {after / before for before, after in pairwise(scales)}
    assert ratios == {0.5, 1.0, 2.0}  # it swings about the largest that does not overflow


@pytest.mark.usefixtures("float16")
def test_a_resumed_training_keeps_the_scale():
    first = settled(make_step())
    first.scaler.set_growth_interval(3)
    for batch in batches(2):
        first(batch, 0.01)
    saved = tensors(first)
    expected = [first(batch, 0.01).item() for batch in batches(6)[2:]]
    second = make_step()
    second.load_state_dict(saved)
    assert [second(batch, 0.01).item() for batch in batches(6)[2:]] == expected
    assert second.scaler.get_scale() == first.scaler.get_scale() == 4096.0
