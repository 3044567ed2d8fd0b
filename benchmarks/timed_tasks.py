"""Tasks of a pipeline and their seconds: as run, at all epochs, and at the size of the challenge."""

import argparse
import os
import time
from dataclasses import dataclass, field

import numpy as np
import torch

from benchmarks.clock import device_name

PRODUCTS = 84_916  # labeled ones, of the challenge


@dataclass
class Timed:
    """One task of the pipeline.

    Attributes:
        full: stage of its training -> the preset's epochs.
        curves: one mapping an epoch, as a classifier keeps them.
        start_up: seconds until the stage's code was imported, among `seconds`.
    """

    stage: str
    name: str
    seconds: float
    start_up: float = 0.0
    full: dict[float, int] = field(default_factory=dict)
    curves: list[dict[str, float]] = field(default_factory=list)

    def at_all_epochs(self) -> float:
        """Seconds with the preset's epochs."""
        return self.seconds + sum(self._more(stage, epochs) for stage, epochs in self.full.items())

    def at_scale(self, scale: float) -> float:
        """Seconds with the preset's epochs and so many times the products."""
        return self.start_up + scale * (self.at_all_epochs() - self.start_up)

    def _more(self, stage: float, epochs: int) -> float:
        seconds = [curve["seconds"] for curve in self.curves if curve.get("stage", 1.0) == stage]
        return (epochs - len(seconds)) * float(np.mean(seconds[1:]))


def report(timed: list[Timed], options: argparse.Namespace) -> None:
    """Prints each task's time, and the sums by stage."""
    scale = PRODUCTS / options.products
    print(f"\n{device_name()}, {os.cpu_count()} cores, torch {torch.__version__}")
    print(f"{options.products:,} products, compile {options.compile}, {time.strftime('%Y-%m-%d')}\n")
    head = f"{'measured, s':>13}{'epochs':>10}{'all epochs, s':>15}{f'{PRODUCTS:,} products, h':>24}"
    print(f"{'':34}{head}")
    for task in timed:
        print(_row(f"{task.stage}: {task.name}", [task], scale, "+".join(map(str, task.full.values()))))
    print()
    for stage in dict.fromkeys(task.stage for task in timed):
        print(_row(stage, [task for task in timed if task.stage == stage], scale))
    print(_row("sum", timed, scale))


def _row(name: str, tasks: list[Timed], scale: float, epochs: str = "") -> str:
    measured, full = sum(task.seconds for task in tasks), sum(task.at_all_epochs() for task in tasks)
    hours = sum(task.at_scale(scale) for task in tasks) / 3600
    return f"{name:34}{measured:13.0f}{epochs:>10}{full:15.0f}{hours:24.2f}"
