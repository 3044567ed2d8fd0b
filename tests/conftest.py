"""Which tests see a GPU, and fixtures that several tests share."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from browser import Browser, find_chromium
from hostile import Listener
from kfp.dsl import pipeline_task

pytest_plugins = ("stores",)
_check_task = pipeline_task.PipelineTask._ensure_container_spec_exists


def _check_task_once_it_is_wrong(self: pipeline_task.PipelineTask) -> None:
    """kfp walks the whole stack at every setting of a task for a message that it seldom writes.

    Under pytest that takes nine tenths of the time in which a graph is built.
    """
    if self.container_spec is None:
        _check_task(self)


pipeline_task.PipelineTask._ensure_container_spec_exists = _check_task_once_it_is_wrong
GPUS = torch.cuda.device_count()
if GPUS:
    torch.cuda.init()  # CUDA reads the environment once: before GPUs are hidden


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what is marked for more GPUs than there are."""
    if (needed := _gpus_of(item)) > GPUS:
        pytest.skip(f"not run: needs {needed} GPU(s), this machine has {GPUS}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Hides GPUs from a test, its fixtures and its processes unless it is marked to run on one.

    Equal bytes, and tolerances of float32, are promised for the CPU alone.
    """
    with pytest.MonkeyPatch.context() as patch:
        if not _gpus_of(item):
            patch.setenv("CUDA_VISIBLE_DEVICES", "")
            patch.setattr(torch.cuda, "is_available", lambda: False)
            patch.setattr(torch.cuda, "device_count", lambda: 0)
        found: Any = yield
    return found


def _gpus_of(item: pytest.Item) -> int:
    mark = item.get_closest_marker("gpu")
    return (mark.args[0] if mark.args else 1) if mark else 0


@pytest.fixture(autouse=True)
def _settings_of_log() -> Iterator[None]:
    """What a command or a stage sets in this process ends with the test."""
    root, logger = logging.getLogger(), logging.getLogger("components")
    level, handlers = logger.level, list(root.handlers)
    yield
    logger.setLevel(level)
    for handler in [each for each in root.handlers if each not in handlers]:
        root.removeHandler(handler)  # its stream may be closed


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    """A web server that nobody should ask for anything."""
    server = Listener()
    yield server
    server.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real browser; the test is skipped where there is none."""
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no chromium is installed: the reports were not shown in a browser")
    with Browser(chromium) as started:
        yield started
