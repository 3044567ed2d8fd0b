"""The clock of the text benchmarks, and the device that it is of."""

import platform
import time

import torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def clock() -> float:
    """Seconds: of CPU time on a CPU, of wall time on a GPU once its work is done."""
    if DEVICE.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def device_name() -> str:
    """What the figures are of."""
    if DEVICE.type == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.processor() or platform.machine()}, CPU"
