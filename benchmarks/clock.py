"""The clock of the text benchmarks, and the device that it is of."""

import platform
import time
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

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


def busy_seconds(work: Callable[[], object]) -> float:
    """Seconds in which a GPU ran anything at all during `work`, by torch's profiler."""
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        work()
        torch.cuda.synchronize()
    ranges = [event.time_range for event in profiled.events() or [] if event.device_type.name == "CUDA"]
    busy, end = 0.0, 0.0
    for span in sorted(ranges, key=lambda span: span.start):  # in microseconds; they may overlap
        busy += max(0.0, span.end - max(span.start, end))
        end = max(end, span.end)
    return busy / 1e6
