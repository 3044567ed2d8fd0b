"""Whether pretrained weights can be had is known before a run's first stage."""

import socket
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
from commands import command
from tiny_catalog import TinyCatalog

from components.core.errors import InputError
from components.data.hub import asking_hub


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The cache of a hub at whose port nobody listens; it is empty."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    constants: Any = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def check(tmp_path: Path, *given: str, status: int) -> str:
    sources = TinyCatalog(tmp_path).write()
    catalog = [f"--products={sources.products}", f"--labels={sources.labels}", f"--images={sources.images}"]
    return command("check", *catalog, *given, status=status).output


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("given", "what"),
    [
        (["--text-weights=shop/text"], "weights 'shop/text': no such folder, and config.json"),
        (["--image-weights=resnet18"], "backbone 'resnet18': model.safetensors of timm/resnet18.tv_in1k"),
        (["--image-weights=hf-hub:shop/shoes@v2"], "'hf-hub:shop/shoes@v2': model.safetensors of shop/shoes"),
        (["--param", 'image_configs=[{"name": "a"}]'], "model.safetensors of timm/resnet152.tv_in1k"),
    ],
)
def test_a_hub_that_cannot_be_reached_is_an_error_with_a_remedy(given: list[str], what: str, tmp_path: Path):
    said = check(tmp_path, *given, status=2)
    assert f"{what} cannot be had from the hub: " in said
    assert "Connection refused. Without internet, give a" in said


def test_what_the_cache_holds_is_not_asked_for(cache: Path, tmp_path: Path):
    model = cache / "models--timm--resnet18.tv_in1k"
    for file, content in (("refs/main", "0" * 40), (f"snapshots/{'0' * 40}/model.safetensors", "")):
        (model / file).parent.mkdir(parents=True)
        (model / file).write_text(content)
    assert "nothing that stops a run was found" in check(tmp_path, "--image-weights=resnet18", status=0)


def test_an_error_without_words_is_named():
    with (
        pytest.raises(InputError, match=r"it cannot be had from the hub: Exception\. Without.*give a folder"),
        asking_hub("it", instead="a folder"),
    ):
        raise Exception  # as the hub's HTTP client may
