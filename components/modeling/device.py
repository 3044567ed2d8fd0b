"""Where a training computes: the one place that looks for a GPU."""

import torch

from components.core.configuration import Accelerator


def choose_device(accelerator: Accelerator, *, enough: bool = True) -> torch.device:
    """A visible GPU where the configuration allows one and there is enough to do for it; else the CPU.

    Args:
        accelerator: the configuration's.
        enough: whether the work is large enough to take less time there.
    """
    on_gpu = accelerator == "auto" and enough and torch.cuda.is_available()
    return torch.device("cuda" if on_gpu else "cpu")


def device_name(device: torch.device) -> str:
    """What reports call a device: "CPU", or the GPU's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
