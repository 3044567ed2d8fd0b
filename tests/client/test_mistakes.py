"""What people get wrong on a command line is refused in a few lines that say what to do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mistakes import faults, mistakes

import pipeline
from components.client.local.run import LocalRun

TRIED, RUN = 100, 20


@pytest.fixture(autouse=True)
def built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph is the same for every mistake, and takes a second to build."""
    built, build = {}, pipeline.build_pipeline

    def build_once(preset: dict[str, Any]) -> Callable:
        if id(preset) not in built:
            built[id(preset)] = build(preset)
        return built[id(preset)]

    monkeypatch.setattr(pipeline, "build_pipeline", build_once)


def test_a_mistake_is_refused_with_what_is_wrong_and_what_to_do(tmp_path: Path):
    every = mistakes(tmp_path)
    assert len(every) > 900
    chosen = every[:: len(every) // TRIED]
    assert {" ".join(one.arguments): found for one in chosen if (found := faults(one))} == {}


def test_run_refuses_what_check_refuses_before_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def started(*_: object) -> None:
        raise AssertionError("the run was started")

    monkeypatch.setattr(LocalRun, "__init__", started)
    every = [one for one in mistakes(tmp_path) if one.arguments[0] == "check" and "--param" in one.arguments]
    chosen = every[:: len(every) // RUN]
    assert len(chosen) >= RUN
    for one in chosen:
        one.arguments[0] = "run"
        assert faults(one) == []
