"""A Kubeflow Pipelines server: upload a pipeline, run it, schedule it, list its runs.

Every function takes a connected `kfp.Client` and may be called again: a name stands for one thing.
"""

import hashlib
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import yaml

from components.client.cluster.cron import Cron
from components.core.errors import InputError
from components.core.project import NAME

PAGE = 100


def check_server(
    host: str, *, headers: dict[str, str], ca_file: str | None = None, timeout: float = 5.0
) -> str:
    """The server's address, once it has answered.

    The client itself would try for half a minute and print a traceback for each attempt.

    Raises:
        InputError: nobody answers, it is no such server, or it refuses the credentials.
    """
    address = (host if "://" in host else f"https://{host}").rstrip("/")
    try:
        request = urllib.request.Request(f"{address}/apis/v2beta1/healthz", headers=headers)
        trusted = ssl.create_default_context(cafile=ca_file)
        with urllib.request.urlopen(request, timeout=timeout, context=trusted) as answer:
            health = answer.read()
    except urllib.error.HTTPError as error:
        advice = "pass --token-file or --cookie-file" if error.code in (401, 403) else "is the path right?"
        raise InputError(f"{address}: the server answers {error.code} {error.reason}: {advice}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(
            f"{address}: no Kubeflow Pipelines server answers ({reason}). Is it reachable from here? With "
            "kubectl: kubectl port-forward -n kubeflow svc/ml-pipeline 8888:8888, then --host "
            "http://127.0.0.1:8888"
        ) from error
    if not _is_object(health):
        raise InputError(
            f"{address}: something else than a Kubeflow Pipelines server answers, perhaps a login page: pass "
            "--token-file or --cookie-file, or give the address at which /apis/v2beta1/healthz answers"
        )
    return address


def _is_object(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict)
    except ValueError:
        return False


def upload(client: Any, package: Path, *, name: str, version: str = "") -> tuple[str, str]:
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
    version = version or digest[:12]
    pipeline = client.get_pipeline_id(name)
    if pipeline is None:
        pipeline = _create_pipeline(client, name)
    listed = _all(client.list_pipeline_versions, "pipeline_versions", pipeline_id=pipeline)
    known = {found.display_name: found for found in listed}
    if version in known:
        if (known[version].description or "") != _mark(digest):
            raise InputError(
                f"--version {version}: exists with another content; versions never change, take a new name"
            )
        return pipeline, known[version].pipeline_version_id
    made = client.upload_pipeline_version(
        str(package), version, pipeline_id=pipeline, description=_mark(digest)
    )
    return pipeline, made.pipeline_version_id


def submit(client: Any, package: Path, *, name: str, arguments: dict[str, Any], **options: Any) -> str:
    """Starts one run of a compiled pipeline in the experiment `name`.

    Args:
        options: `service_account`, `pipeline_root`; None for the server's own.

    Returns:
        The run's id.
    """
    pipeline, version = upload(client, package, name=name)
    experiment = client.create_experiment(name).experiment_id
    run = client.run_pipeline(
        experiment, name, params=arguments, pipeline_id=pipeline, version_id=version, **options
    )
    return run.run_id


def schedule(
    client: Any, package: Path, *, name: str, cron: Cron, arguments: dict[str, Any], **options: Any
) -> str:
    """Puts the schedule `name` in place of the one that has this name.

    One run at a time; runs that were missed are not caught up on; the version is pinned, so a later
    upload changes nothing until the schedule is set again. Caching is a matter of the compiled pipeline:
    the server ignores the client's setting where a version is named.

    Args:
        options: `service_account`, `pipeline_root`; None for the server's own.

    Returns:
        The id of the recurring run.
    """
    pipeline, version = upload(client, package, name=name)
    experiment = client.create_experiment(name).experiment_id
    # There is no update. The old one goes first: none for a moment is better than two.
    found = _all(client.list_recurring_runs, "recurring_runs", experiment_id=experiment)
    for old in [run for run in found if run.display_name == name]:
        client.delete_recurring_run(old.recurring_run_id)
    made = client.create_recurring_run(
        experiment,
        name,
        cron_expression=cron.expression,
        max_concurrency=1,
        no_catchup=True,
        params=arguments,
        pipeline_id=pipeline,
        version_id=version,
        **options,
    )
    return made.recurring_run_id


def runs(client: Any, *, name: str, count: int = 20) -> list[dict[str, Any]]:
    """The newest runs of the experiment `name`: id, run, started, minutes, state.

    Raises:
        InputError: there is no such experiment.
    """
    try:
        experiment = client.get_experiment(experiment_name=name).experiment_id
    except ValueError as error:
        raise InputError(f"{name}: nothing was run under this name on the server") from error
    listed = client.list_runs(page_size=count, sort_by="created_at desc", experiment_id=experiment).runs
    return [_row(run) for run in listed or []]


def macro_f1(artifacts: str, run: str) -> float | None:
    """The ensemble's macro-F1 on validation of a run; None where it has none yet.

    Args:
        artifacts: the server's pipeline root, as a path or a URI that fsspec reads.

    Raises:
        InputError: the store cannot be read from here.
    """
    try:
        filesystem, root = fsspec.url_to_fs(artifacts)
        found = filesystem.glob(f"{root.rstrip('/')}/{NAME}/{run}/evaluate/**/metrics.json")
        if not found:
            return None
        scores = json.loads(filesystem.cat_file(found[-1]))
    except (ImportError, OSError, ValueError) as error:
        raise InputError(f"--artifacts {artifacts}: cannot be read from here: {error}") from error
    return scores["validation"]["rows"]["ensemble"]["macro_f1"]


def _row(run: Any) -> dict[str, Any]:
    # The server writes 1970 as the end of a run that goes on.
    ended = run.finished_at if run.finished_at and run.finished_at.year > 1970 else None
    minutes = round((ended - run.created_at).total_seconds() / 60) if ended else None
    started = f"{run.created_at:%Y-%m-%d %H:%M}"
    return {
        "id": run.run_id,
        "run": run.display_name,
        "started": started,
        "minutes": minutes,
        "state": run.state,
    }


def _create_pipeline(client: Any, name: str) -> str:
    # The client's own upload would also make a version that is called like the pipeline.
    pipeline = client.api_models.V2beta1Pipeline(
        display_name=name, namespace=client.get_user_namespace() or None
    )
    return client.pipelines.pipeline_service_create_pipeline(pipeline).pipeline_id


def _all(list_page: Callable[..., Any], field: str, **where: Any) -> Iterator[Any]:
    token = ""
    while True:
        page = list_page(page_token=token, page_size=PAGE, **where)
        yield from getattr(page, field) or []
        token = page.next_page_token or ""
        if not token:
            return


def content_digest(package: Path) -> str:
    """The SHA-256 of what a compiled pipeline says, in hexadecimal."""
    # The compiler's comment header changes order from run to run: the documents count.
    documents = list(yaml.safe_load_all(package.read_text(encoding="utf-8")))
    return hashlib.sha256(json.dumps(documents, sort_keys=True).encode()).hexdigest()


def _mark(digest: str) -> str:
    return f"sha256:{digest}"
