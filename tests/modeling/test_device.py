"""Which device a training chooses."""

import pytest
import torch

from components.core.configuration import Accelerator
from components.modeling.device import choose_device, device_name


@pytest.mark.parametrize(
    ("accelerator", "enough", "visible", "chosen"),
    [
        ("auto", True, True, "cuda"),
        ("auto", True, False, "cpu"),
        ("auto", False, True, "cpu"),
        ("cpu", True, True, "cpu"),
    ],
)
def test_a_gpu_is_used_where_it_is_seen_allowed_and_worth_it(
    monkeypatch: pytest.MonkeyPatch, accelerator: Accelerator, enough: bool, visible: bool, chosen: str
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: visible)
    assert choose_device(accelerator, enough=enough) == torch.device(chosen)


def test_a_device_is_named_for_reports():
    assert device_name(torch.device("cpu")) == "CPU"
