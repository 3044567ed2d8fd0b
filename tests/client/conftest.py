"""A server for the commands that talk to a cluster."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pipelines_server import PipelinesServer


@pytest.fixture
def server() -> Iterator[PipelinesServer]:
    """A server for one user."""
    running = PipelinesServer()
    yield running
    running.shutdown()


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT", raising=False)
    monkeypatch.setattr("kfp.Client._LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))
