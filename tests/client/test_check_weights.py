"""What is said where the Hugging Face hub cannot be reached."""

import socket
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest

from components.core.errors import InputError
from components.data.hub import asking_hub, check_hub


@pytest.fixture
def closed_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A hub at a port of this machine at which nobody listens, and an empty cache."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    constants: Any = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


@pytest.mark.usefixtures("closed_hub")
def test_a_hub_that_cannot_be_reached_is_an_error_with_a_remedy():
    with pytest.raises(InputError, match=r"'shop/text'.* had from the hub: .*refused.*give a folder"):
        check_hub("shop/text", "config.json", None)


def test_so_is_an_error_without_words():
    with (
        pytest.raises(InputError, match=r"it cannot be had from the hub: Exception\. Without.*give a folder"),
        asking_hub("it", instead="a folder"),
    ):
        raise Exception  # as the hub's HTTP client may
