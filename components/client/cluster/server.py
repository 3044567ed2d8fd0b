"""A Kubeflow Pipelines server: upload a pipeline, run it, list its runs.

Every function takes a connected `kfp.Client` and may be called again: a name stands for one thing. Every
look-up names the client's namespace, without which a server for many users shows shared things alone.
"""
# Every attribute of the generated client's models may be None.
# pyright: reportArgumentType=false, reportReturnType=false

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from kfp import Client
from kfp_server_api import V2beta1Pipeline, V2beta1Run

from components.core.errors import InputError

PAGE = 100


def upload(client: Client, package: Path, *, name: str, version: str = "") -> tuple[str, str]:
    """Uploads a compiled pipeline as a new version of the pipeline `name`, which is made if need be.

    Args:
        version: its name; by default one that follows from the content, so that an unchanged pipeline
            is not uploaded twice.

    Returns:
        The ids of the pipeline and of the version.

    Raises:
        InputError: a version of that name exists with another content.
    """
    digest = content_digest(package)
    mark, version = f"sha256:{digest}", version or digest[:12]
    pipeline = _find_pipeline(client, name) or _create_pipeline(client, name)
    versions = every(
        client.list_pipeline_versions, "pipeline_versions", pipeline_id=pipeline, filter=equals(version)
    )
    for known in versions:
        if known.display_name == version:
            if known.description != mark:
                raise InputError(
                    f"--version {version}: exists with another content; versions never change, take a new "
                    "name"
                )
            return pipeline, known.pipeline_version_id
    made = client.upload_pipeline_version(str(package), version, pipeline_id=pipeline, description=mark)
    return pipeline, made.pipeline_version_id


def submit(client: Client, package: Path, *, name: str, run_name: str, **asked: Any) -> str:
    """Starts one run of a compiled pipeline in the experiment `name`.

    Args:
        run_name: what it is called.
        asked: `params`, the pipeline's parameters; `service_account` and `pipeline_root`, None for the
            server's own.

    Returns:
        The run's id.
    """
    pipeline, version = upload(client, package, name=name)
    experiment = client.create_experiment(name).experiment_id
    run = client.run_pipeline(experiment, run_name, pipeline_id=pipeline, version_id=version, **asked)
    return run.run_id


def runs(client: Client, *, name: str, count: int = 20) -> list[V2beta1Run]:
    """The newest runs of the experiment `name`.

    Raises:
        InputError: there is no such experiment.
    """
    try:
        experiment = client.get_experiment(experiment_name=name).experiment_id
    except ValueError as error:
        raise InputError(f"{name}: nothing was run under this name on the server") from error
    listed = client.list_runs(page_size=count, sort_by="created_at desc", experiment_id=experiment)
    return listed.runs or []


def minutes(run: V2beta1Run) -> int | None:
    """How long a run took; None for one that goes on, whose end the server writes as 1970."""
    if run.finished_at is None or run.finished_at.year <= 1970:
        return None
    return round((run.finished_at - run.created_at).total_seconds() / 60)


def every(list_page: Callable[..., Any], field: str, **where: Any) -> Iterator[Any]:
    """The items of all pages of a list.

    Args:
        list_page: a listing method of the client.
        field: what the answer calls the items.
        where: what the method is asked for.
    """
    token = ""
    while True:
        page = list_page(page_token=token, page_size=PAGE, **where)
        yield from getattr(page, field) or []
        token = page.next_page_token or ""
        if not token:
            return


def equals(value: str, key: str = "display_name") -> str:
    """The server's filter for items whose `key` is `value`."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": key, "stringValue": value}]})


def content_digest(package: Path) -> str:
    """The SHA-256 of what a compiled pipeline says, in hexadecimal."""
    # The compiler's comment header changes order from run to run: the documents count.
    documents = list(yaml.safe_load_all(package.read_text(encoding="utf-8")))
    return hashlib.sha256(json.dumps(documents, sort_keys=True).encode()).hexdigest()


def _find_pipeline(client: Client, name: str) -> str | None:
    # The client's own look-up names no namespace.
    namespace = client.get_user_namespace() or None
    found = every(client.list_pipelines, "pipelines", filter=equals(name), namespace=namespace)
    return next((one.pipeline_id for one in found if one.display_name == name), None)


def _create_pipeline(client: Client, name: str) -> str:
    # The client's own upload would also make a version that is called like the pipeline.
    pipeline = V2beta1Pipeline(display_name=name, namespace=client.get_user_namespace() or None)
    made: Any = client.pipelines.pipeline_service_create_pipeline(pipeline)  # type: ignore[attr-defined]
    return made.pipeline_id
