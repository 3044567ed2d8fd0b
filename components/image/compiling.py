"""torch.compile where a training is long enough to pay for it."""

import logging
import os
import shutil
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from components.image.network import PlainNetwork
from components.modeling.training import Callback, TrainingLoop

log = logging.getLogger(__name__)

WARM_UP, MEASURED = 5, 20  # steps before a measurement, and of it
SAVED = 0.3  # share of a step that compiling saves; ResNet152 on an H100: 0.34
LAYER_SECONDS = 0.3  # of compiling, for each layer with weights, in training and in predicting; it took 0.2
NO_COMPILER = "there is no C compiler with Python's headers (Debian: gcc, python3-dev)"


class Compilation(Callback):
    """Compiles a network's features once its steps are measured and those that are left pay for it.

    Steps are measured again after that; where they are no faster, the network is what it was.

    Args:
        steps: of the whole training.
        name: what is trained, for messages.
        compiler: as `torch.compile`.
        now: seconds on a clock, once the device's work is done.
    """

    def __init__(
        self,
        network: PlainNetwork,
        steps: int,
        name: str,
        *,
        compiler: Callable[..., Any] | None = None,
        now: Callable[[], float] | None = None,
    ) -> None:
        self.network, self.steps, self.name = network, steps, name
        self.compiler, self.now = compiler or torch.compile, now or _now
        self.counted, self.start = 0, 0.0
        self.plain = 0.0  # seconds of a step before compiling
        self.settled = False

    def on_batch_end(self, loop: TrainingLoop) -> None:
        if self.settled:
            return
        self.counted += 1
        if self.counted == WARM_UP:
            self.start = self.now()
        elif self.counted == WARM_UP + MEASURED:
            seconds, self.counted = (self.now() - self.start) / MEASURED, 0
            if self.plain:
                self._settle(seconds)
            else:
                self._decide(seconds, self.steps - loop.steps)

    def on_epoch_end(self, loop: TrainingLoop, curve: dict[str, float]) -> None:
        self.counted = 0  # what follows an epoch is no step

    def compile(self) -> None:
        """Compiles the features; each size of batch is compiled for itself."""
        # What cannot be compiled here runs as it is, with a warning of torch's.
        torch._dynamo.config.suppress_errors = True
        self.network.features = self.compiler(self.network.features, dynamic=False)

    def _decide(self, seconds: float, left: int) -> None:
        saved, cost = SAVED * seconds * left, compiling_seconds(self.network)
        figures = (
            f"{left:,} steps of {1e3 * seconds:.0f} ms are left: compiling would save about {saved:.0f} s"
        )
        if saved < cost or not has_c_compiler():
            why = f"and take about {cost:.0f} s" if saved < cost else f"but {NO_COMPILER}"
            log.info("%s: not compiled: %s %s", self.name, figures, why)
            self.settled = True
            return
        log.info("%s: is compiled: %s and take about %.0f s", self.name, figures, cost)
        self.plain = seconds
        self.compile()

    def _settle(self, seconds: float) -> None:
        self.settled = True
        log.info("%s: a step takes %.0f ms compiled, %.0f before", self.name, 1e3 * seconds, 1e3 * self.plain)
        if seconds >= self.plain:
            del self.network.features  # the method is there again
            log.warning("%s: goes on without torch.compile, which gains nothing here", self.name)


def compiling_seconds(network: nn.Module) -> float:
    """About how long compiling takes."""
    layers = [module for module in network.modules() if list(module.parameters(recurse=False))]
    return LAYER_SECONDS * len(layers)


def has_c_compiler() -> bool:
    """Whether Triton, by which torch.compile reaches a GPU, can make what its kernels are launched by.

    It takes what CC names. The stages' images hold no compiler, but what it would make, compiled with them.
    """
    if os.environ.get("CC"):
        return True
    headers = Path(str(sysconfig.get_config_var("INCLUDEPY"))) / "Python.h"
    return headers.exists() and any(shutil.which(name) for name in ("gcc", "clang"))


def _now() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()
