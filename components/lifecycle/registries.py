"""Registries that hear of a promotion: MLflow's, and Kubeflow's Model Registry.

The store decides which model predicts. A registry that is down is warned of, and undoes no promotion.
"""

import asyncio
import logging
import os
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.reading import reason
from components.lifecycle.champion import read_champion
from components.lifecycle.config import RegistriesConfig
from components.lifecycle.store import ModelStore
from components.lifecycle.version import version_of

log = logging.getLogger(__name__)

PATIENCE = 60  # seconds that a registry may take
EXTRAS = {"mlflow": "mlflow", "model_registry": "model-registry"}
ALIAS = "champion"


@dataclass(frozen=True)
class Release:
    """What a registry is given of a champion.

    Attributes:
        name: of the model, in the registry as in the store.
        version: the id of its package.
        uri: where that lies.
        metrics: its scores on validation.
        by, why: who or what promoted it, and on which grounds.
        format: of the package.
    """

    name: str
    version: str
    uri: str
    metrics: dict[str, float]
    by: str
    why: str
    format: str


def register_champion(store: ModelStore, config: RegistriesConfig, package: Path | None = None) -> list[str]:
    """Registers the champion with every registry that is configured; what is registered already stays.

    Args:
        package: of the run's model: nothing is registered where another one is the champion.

    Returns:
        A warning for each registry that it could not be registered with; they are logged too.
    """
    named = {name: address for name, address in config.model_dump().items() if address}
    champion = read_champion(store).promotion if named else None
    if champion is None or (package is not None and champion.version != version_of(package)):
        return []
    manifest = store.version(champion.version).manifest
    release = Release(
        name=store.name,
        version=champion.version,
        uri=f"{store.objects.place.rstrip('/')}/{store.folder(champion.version)}",
        metrics={name: float(value) for name, value in manifest.get("metrics", {}).items()},
        by=champion.by,
        why=champion.why,
        format=str(manifest["format"]),
    )
    found = [_tried(name, address, release) for name, address in named.items()]
    return [warning for warning in found if warning]


def _tried(name: str, address: str, release: Release) -> str:
    """Registers with one registry; "" or what went wrong."""
    work = {"mlflow": _to_mlflow, "model_registry": _to_model_registry}[name]
    try:
        _in_time(lambda: work(address, release))
    except ImportError as error:
        why = f"its client is not installed ({reason(error)}): pip install '.[{EXTRAS[name]}]'"
    except Exception as error:  # each client has its own, of no common kind
        why = reason(error)
    else:
        log.info("registered %s %s with %s", release.name, release.version, address)
        return ""
    warning = f"{name} at {address}: {release.name} {release.version} is not registered: {why}"
    log.warning("%s. It is the champion all the same; `models register` tries again", warning)
    return warning


def _in_time(work: Callable[[], None]) -> None:
    """Does some work, or gives up on it; a client may try again for minutes.

    Raises:
        TimeoutError: it took too long. Or what the work raises.
    """
    errors: list[Exception] = []

    def guarded() -> None:
        try:
            work()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if thread.is_alive():
        raise TimeoutError(f"no answer in {PATIENCE} s")
    if errors:
        raise errors[0]


def _to_mlflow(address: str, release: Release) -> None:
    """A registered model, a run with the metrics, a version that names both, and the alias "champion"."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it would report its use to its makers
    from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]  # an extra

    client = MlflowClient(tracking_uri=address, registry_uri=address)
    named = f"name = '{release.name}'"
    if not client.search_registered_models(named):
        client.create_registered_model(release.name)
    there = [
        each
        for each in client.search_model_versions(named)
        if each.tags.get("package_version") == release.version
    ]
    number = there[0].version if there else _mlflow_version(client, release)
    client.set_registered_model_alias(release.name, ALIAS, number)


def _mlflow_version(client: Any, release: Release) -> str:
    experiment = client.get_experiment_by_name(release.name)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(release.name)
    run = client.create_run(experiment_id, run_name=release.version).info.run_id
    for name, value in release.metrics.items():
        client.log_metric(run, name, value)
    client.set_terminated(run)
    tags = {"package_version": release.version, "promoted_by": release.by}
    made = client.create_model_version(
        release.name, source=release.uri, run_id=run, tags=tags, description=release.why
    )
    return made.version


def _to_model_registry(address: str, release: Release) -> None:
    """A registered model, a version with the metrics as its properties, and an artifact with the URI."""
    from model_registry import ModelRegistry  # pyright: ignore[reportMissingImports]  # an extra

    with warnings.catch_warnings():
        # Where there is no token the server may ask for none.
        warnings.filterwarnings("ignore", message="User access token is missing")
        registry = ModelRegistry(address, author=release.by, async_runner=asyncio.run)
    if registry.get_registered_model(release.name) and registry.get_model_version(
        release.name, release.version
    ):
        return
    registry.register_model(
        release.name,
        release.uri,
        version=release.version,
        version_description=release.why,
        model_format_name=release.name,
        model_format_version=release.format,
        metadata=release.metrics,
    )
