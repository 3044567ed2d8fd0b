"""Learning rates: the paper's, and torch's own where torch has the same."""

import numpy as np
import pytest
import torch

from components.modeling.schedules import cosine, linear, one_cycle, stepwise


def test_the_rate_rises_for_a_tenth_of_the_steps_and_then_falls_to_zero():
    rates = [linear(step, 100, peak=3e-5, warmup=0.1) for step in range(101)]
    assert rates[0] == 0
    assert rates[5] == pytest.approx(1.5e-5)
    assert rates[10] == pytest.approx(3e-5)
    assert rates[55] == pytest.approx(1.5e-5)
    assert rates[100] == 0


def test_the_rate_falls_to_a_tenth_every_twelve_epochs():
    rates = [stepwise(3 * epoch, 3, peak=0.01, decay=0.1, every=12) for epoch in (0, 11, 12, 23, 24, 59)]
    assert rates == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3, 1e-4, 1e-6])


def test_a_cosine_climbs_for_a_fifth_of_the_steps_and_falls_to_nearly_nothing():
    rates = [cosine(step, 180, peak=0.01) for step in range(180)]
    assert int(np.argmax(rates)) == 35
    assert max(rates) == pytest.approx(0.01)
    assert rates[0] == pytest.approx(0.01 / 36)
    assert rates[-1] < 1e-5


@pytest.mark.parametrize("steps", [7, 100])
def test_one_cycle_is_torchs(steps: int):
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=steps, pct_start=0.2)
    for step in range(steps):
        [group] = optimizer.param_groups
        assert one_cycle(step, steps, low=0.01 / 25, peak=0.01, end=0.01 / 25 / 1e4) == group["lr"]
        assert one_cycle(step, steps, low=0.95, peak=0.85, end=0.95) == group["betas"][0]
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("steps", range(1, 11))
def test_one_cycle_of_few_steps_stays_between_its_rates(steps: int):
    rates = [one_cycle(step, steps, low=0.04, peak=1.0, end=1e-4) for step in range(steps)]
    assert all(1e-4 <= rate <= 1.0 for rate in rates)
    assert rates[-1] == pytest.approx(1e-4)
