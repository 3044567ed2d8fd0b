"""How the light nets are trained: what a processor takes for 0 meanwhile."""

import numpy as np
import pytest
import torch
from torch import nn

from components.modeling.one_cycle import OneCycle, train_one_cycle


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_a_net_is_trained_on_one_thread_that_takes_tiny_numbers_for_zero_and_nothing_else_is(two_threads):
    tiny, seen = torch.full((100_000,), 1e-40), set()
    net = nn.Linear(2, 1)

    def loss_of(rows: np.ndarray) -> torch.Tensor:
        seen.add((torch.get_num_threads(), int(torch.count_nonzero(tiny * 1))))
        return net(torch.ones(len(rows), 2)).square().mean()

    train_one_cycle(net, np.arange(8), loss_of, OneCycle(2, 1, 4, 1e-3, 0.01), name="net", seed=0)
    assert seen == {(1, 0)}
    assert torch.get_num_threads() == 2
    assert torch.count_nonzero(tiny * 1) == len(tiny)


def test_a_net_is_trained_in_five_steps_whose_warmup_is_the_first_alone():
    net = nn.Linear(2, 1)

    def loss_of(rows: np.ndarray) -> torch.Tensor:
        return net(torch.ones(len(rows), 2)).square().mean()

    loss = train_one_cycle(net, np.arange(300), loss_of, OneCycle(5, 0, 256, 1e-3, 0.01), name="net", seed=0)
    assert np.isfinite(loss)
