"""When a network is compiled: by a clock and a compiler that are stand-ins."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components.image import compiling
from components.image.compiling import MEASURED, WARM_UP, Compilation, compiling_seconds, has_c_compiler
from components.image.config import IMAGE_KINDS
from components.image.kinds.network import NetworkConfig
from components.image.network import PlainNetwork, build_network


class Training:
    """Steps of a training, each as long as the network takes now."""

    def __init__(self, *, steps: int, compiled_step: float) -> None:
        config = NetworkConfig(name="v", backbone="small_resnet", weights="scratch", dcl_epochs=0)
        self.network: PlainNetwork = build_network(config, config.stages()[0], np.full(3, 1 / 3))
        self.compiled_step, self.clock, self.loop = compiled_step, 0.0, SimpleNamespace(steps=0)
        self.compilation = Compilation(
            self.network, steps, "v", compiler=lambda work, **_: lambda pixels: work(pixels), now=self.now
        )

    def now(self) -> float:
        return self.clock

    @property
    def compiled(self) -> bool:
        return "features" in vars(self.network)

    def run(self, steps: int) -> None:
        loop: Any = self.loop
        for _ in range(steps):
            self.clock += self.compiled_step if self.compiled else 0.1
            loop.steps += 1
            self.compilation.on_batch_end(loop)


@pytest.fixture(autouse=True)
def c_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/opt/triton/cc")


def steps_that_pay(training: Training) -> int:
    return math.ceil(compiling_seconds(training.network) / (compiling.SAVED * 0.1)) + WARM_UP + MEASURED


def test_a_long_training_is_compiled_once_its_steps_are_measured():
    training = Training(steps=100_000, compiled_step=0.06)
    training.run(WARM_UP + MEASURED - 1)
    assert not training.compiled
    training.run(1)
    assert training.compiled
    training.run(100)
    assert training.compiled


@pytest.mark.parametrize("more, compiled", [(1, True), (-2, False)])
def test_only_so_many_steps_as_pay_for_it(more: int, compiled: bool):
    steps = steps_that_pay(Training(steps=0, compiled_step=0.06)) + more
    training = Training(steps=steps, compiled_step=0.06)
    training.run(60)
    assert training.compiled == compiled


def test_what_is_no_faster_is_taken_back(caplog: pytest.LogCaptureFixture):
    training = Training(steps=100_000, compiled_step=0.12)
    training.run(2 * (WARM_UP + MEASURED))
    assert not training.compiled
    assert "gains nothing here" in caplog.text
    training.run(100)
    assert not training.compiled


def test_an_evaluation_between_two_epochs_is_no_step():
    training = Training(steps=100_000, compiled_step=0.06)
    training.run(WARM_UP + 3)
    training.clock += 1000
    training.compilation.on_epoch_end(training.loop, {})  # type: ignore[arg-type]
    training.run(WARM_UP + MEASURED)
    assert training.compilation.plain == pytest.approx(0.1)


def test_nothing_is_compiled_without_a_c_compiler_and_the_log_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    monkeypatch.delenv("CC")
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/cc" if name == "cc" else None)
    training = Training(steps=100_000, compiled_step=0.06)
    training.run(100)
    assert not training.compiled
    assert "but there is no C compiler" in caplog.text


def test_a_compiler_is_one_that_triton_looks_for_with_pythons_headers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.delenv("CC")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}" if name == "gcc" else None)
    monkeypatch.setattr("sysconfig.get_config_var", lambda _: str(tmp_path))
    assert not has_c_compiler()
    (tmp_path / "Python.h").touch()
    assert has_c_compiler()
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/cc" if name == "cc" else None)
    assert not has_c_compiler()


def test_compiling_is_left_to_the_training_by_default():
    config = IMAGE_KINDS.parse({"name": "v"})
    assert isinstance(config, NetworkConfig)
    assert config.compile == "auto"
