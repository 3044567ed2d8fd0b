"""Registries hear of a promotion, and none that is down undoes one.

What needs a registry's client is skipped where that is not installed; `make test` runs it where it is.
"""

import json
import logging
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib import request
from urllib.error import HTTPError

import pytest
from commands import command
from model_package import write_package
from registry_server import ROOT, ModelRegistryServer

from components.core.errors import InputError
from components.core.stage import Result
from components.lifecycle import registries
from components.lifecycle.champion import promote, read_champion
from components.lifecycle.component import promote as promote_task
from components.lifecycle.config import PARAMETERS
from components.lifecycle.registries import register_champion
from components.lifecycle.store import ModelStore
from components.lifecycle.version import version_of


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """A store with a champion."""
    store = ModelStore(str(tmp_path / "store"))
    crown(store, write_package(tmp_path / "package-1", 1))
    return store


def crown(store: ModelStore, package: Path) -> str:
    """Makes a package the champion; returns its id."""
    version = store.version(store.add(package))
    promote(store, version, instead_of=read_champion(store), why="better by 0.02", by="run 7")
    return version.id


def config(**addresses: str) -> Any:
    return PARAMETERS["models_registries"](addresses)


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An address of MLflow's own store, in sqlite."""
    pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def test_mlflow_gets_name_version_uri_and_metrics_once(store: ModelStore, tmp_path: Path, mlflow: str):
    from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]

    first = read_champion(store).version
    for _ in range(2):
        assert register_champion(store, config(mlflow=mlflow)) == []
    client = MlflowClient(tracking_uri=mlflow, registry_uri=mlflow)
    [found] = client.search_model_versions("name = 'product-categorization'")
    assert found.tags == {"package_version": first, "promoted_by": "run 7"}
    assert (found.source, found.description) == (f"{store}/versions/{first}", "better by 0.02")
    assert client.get_run(found.run_id).data.metrics == pytest.approx({"macro_f1": 0.81, "accuracy": 0.9})
    second = crown(store, write_package(tmp_path / "package-2", 2))
    assert register_champion(store, config(mlflow=mlflow), tmp_path / "package-2") == []
    champion = client.get_model_version_by_alias("product-categorization", "champion")
    assert champion.tags["package_version"] == second
    assert len(client.search_model_versions("name = 'product-categorization'")) == 2


@pytest.fixture
def server() -> Iterator[ModelRegistryServer]:
    server = ModelRegistryServer()
    yield server
    server.shutdown()
    server.server_close()


def test_model_registry_gets_name_version_uri_and_metrics_once(
    store: ModelStore, tmp_path: Path, server: ModelRegistryServer
):
    pytest.importorskip("model_registry")
    version = read_champion(store).version
    for _ in range(2):
        assert register_champion(store, config(model_registry=server.address)) == []
    assert server.refused == []
    [model], [made], [artifact] = server.kept.values()
    assert model["name"] == "product-categorization"
    assert (made["name"], made["author"], made["description"]) == (version, "run 7", "better by 0.02")
    values = {name: each["double_value"] for name, each in made["customProperties"].items()}
    assert values == pytest.approx({"macro_f1": 0.81, "accuracy": 0.9})
    assert (artifact["uri"], artifact["modelFormatVersion"]) == (f"{store}/versions/{version}", "1")
    crown(store, write_package(tmp_path / "package-2", 2))
    said = command("models", "register", "--store", tmp_path / "store", "--model-registry", server.address)
    assert said.output == "the champion is registered\n"
    assert (len(server.kept["registered_models"]), len(server.kept["model_versions"])) == (1, 2)


def test_the_stand_in_refuses_unknown_fields(server: ModelRegistryServer):
    body = json.dumps({"name": "a", "colour": "red"}).encode()
    with pytest.raises(HTTPError, match="400"):
        request.urlopen(request.Request(f"{server.address}{ROOT}registered_models", body, method="POST"))
    assert server.refused == ["unknown field of registered_models: ['colour']"]


@pytest.mark.parametrize(("name", "client"), [("mlflow", "mlflow"), ("model_registry", "model_registry")])
def test_a_registry_that_is_down_is_warned_of_and_undoes_nothing(
    store: ModelStore,
    name: str,
    client: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    pytest.importorskip(client)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        before = read_champion(store)
        with caplog.at_level(logging.WARNING, logger="components"):
            [warning] = register_champion(store, config(**{name: address}))
    assert warning.startswith(
        f"{name} at {address}: product-categorization {before.version} is not registered"
    )
    assert "It is the champion all the same; `models register` tries again" in caplog.text
    assert read_champion(store).promotion == before.promotion


def test_a_registry_that_never_answers_is_given_up_on(store: ModelStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(registries, "PATIENCE", 0.1)
    monkeypatch.setattr(registries, "_to_mlflow", lambda address, release: time.sleep(5))
    [warning] = register_champion(store, config(mlflow="http://mlflow"))
    assert warning.endswith("is not registered: no answer in 0.1 s")


def test_a_client_that_is_missing_is_named_by_its_extra(store: ModelStore, monkeypatch: pytest.MonkeyPatch):
    for name in ("mlflow", "model_registry"):
        monkeypatch.setitem(sys.modules, name, None)
    found = register_champion(store, config(mlflow="http://a", model_registry="http://b"))
    assert [warning.rpartition("pip install ")[2] for warning in found] == [
        "'.[mlflow]'",
        "'.[model-registry]'",
    ]


def test_nothing_is_registered_that_is_not_the_champion(store: ModelStore, tmp_path: Path):
    refused = write_package(tmp_path / "package-3", 3)
    assert version_of(refused) != read_champion(store).version
    assert register_champion(store, config(mlflow="http://nowhere"), refused) == []
    assert register_champion(store, config()) == []
    assert register_champion(ModelStore(str(tmp_path / "empty")), config(mlflow="http://nowhere")) == []


def test_the_task_promote_registers_what_it_promoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package, heard = write_package(tmp_path / "package-1"), []

    def promoted(ensemble_model: Path, *, store: str, name: str, **others: Any) -> Result:
        crown(ModelStore(store, name), ensemble_model)
        return Result({"promoted": 1.0}, "<html>")

    monkeypatch.setattr("components.lifecycle.promote.run_promote", promoted)
    monkeypatch.setattr(registries, "_to_mlflow", lambda *given: heard.append(given))
    named = ("ensemble_model", "products", "images", "predictions", "decision", "promote_report")
    artifacts = {name: SimpleNamespace(path=str(tmp_path / name)) for name in named}
    artifacts["ensemble_model"].path = str(package)
    values = {"models_store": str(tmp_path / "store"), "models_name": "shoes", "models_gate": {}, "seed": 0}
    asked = {"models_registries": {"mlflow": "http://mlflow"}, "training_digest": ""}
    shown = SimpleNamespace(log_metric=lambda name, value: None)
    promote_task.python_func(**artifacts, **values, **asked, promote_metrics=shown)  # pyright: ignore
    [(address, release)] = heard
    assert address == "http://mlflow"
    assert (release.name, release.version) == ("shoes", version_of(package))
    assert release.uri == f"{tmp_path / 'store'}/models/shoes/versions/{release.version}"


@pytest.mark.parametrize(
    "addresses",
    [{"mlflow": "mlflow:5000"}, {"model_registry": "http://key:secret@registry"}, {"mlflov": "http://a"}],
    ids=["scheme", "password", "name"],
)
def test_an_address_that_is_none_is_refused(addresses: dict[str, str]):
    with pytest.raises(InputError) as error:
        config(**addresses)
    assert "secret" not in str(error.value)


def test_register_needs_a_registry(tmp_path: Path):
    said = command("models", "register", "--store", tmp_path, status=2).output
    assert said == "error: name a registry: --mlflow or --model-registry\n"
