"""The commands that talk to a cluster: upload, submit, schedule, runs."""

import dataclasses
import functools
import tempfile
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from kfp import Client

from components.client.cluster import server as cluster
from components.client.cluster.cron import parse_cron
from components.client.commands.compile import compile_options, compile_pipeline, pipeline_arguments
from components.client.commands.failure import explained
from components.core.project import NAME

TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")


def _options(*decorators: Callable) -> Callable:
    return lambda command: functools.reduce(lambda done, each: each(done), reversed(decorators), command)


existing = click.Path(exists=True, dir_okay=False, path_type=Path)
server_options = _options(
    click.option("--host", envvar="KF_PIPELINES_ENDPOINT", required=True, help="The server's address."),
    click.option("--namespace", default="", help="Your namespace, on a server for many users."),
    click.option("--token-file", type=existing, help="Holds a bearer token. [a mounted service account's]"),
    click.option("--cookie-file", type=existing, help="Holds the session cookie: NAME=VALUE."),
    click.option("--ca-file", type=existing, help="Certificate authority of the server."),
    click.option("--name", default=NAME, show_default=True, help="Pipeline, experiment and schedule."),
)
run_options = _options(
    click.option("--param", multiple=True, metavar="KEY=JSON", help="A parameter of the pipeline."),
    click.option("--service-account", help="Service account of the run's pods. [the server's]"),
    click.option("--pipeline-root", help="Where artifacts go: s3://, gs://, minio://. [the server's]"),
)


@click.command()
@server_options
@click.option("--version", default="", help="The version's name. [from the content]")
@compile_options
@click.pass_obj
def upload(build_pipeline: Callable, name: str, version: str, **options: Any) -> None:
    """Upload the pipeline as a new version; an unchanged one is not uploaded twice."""
    with explained(), tempfile.TemporaryDirectory() as folder:
        client, package = _connect(options), _compile(build_pipeline, Path(folder), options)
        pipeline, version_id = cluster.upload(client, package, name=name, version=version)
        click.echo(f"pipeline {pipeline}, version {version_id}")


@click.command()
@server_options
@compile_options
@run_options
@click.pass_obj
def submit(build_pipeline: Callable, name: str, param: tuple[str, ...], **options: Any) -> None:
    """Start one run."""
    with explained(), tempfile.TemporaryDirectory() as folder:
        arguments = pipeline_arguments(build_pipeline, options["preset"], param)
        client, package = _connect(options), _compile(build_pipeline, Path(folder), options)
        click.echo("run " + cluster.submit(client, package, name=name, arguments=arguments, **options))


@click.command()
@server_options
@click.option("--cron", required=True, help='Six fields, seconds first, UTC: "0 0 3 * * 1".')
@compile_options
@run_options
@click.pass_obj
def schedule(build_pipeline: Callable, name: str, cron: str, param: tuple[str, ...], **options: Any) -> None:
    """Run regularly, in place of the schedule that has this name.

    Tasks are not cached, so every run reads the catalog afresh; --cache keeps them, and then a new
    `--param catalog_snapshot=...` is what has the catalog read again.
    """
    with explained(), tempfile.TemporaryDirectory() as folder:
        parsed = parse_cron(cron)
        arguments = pipeline_arguments(build_pipeline, options["preset"], param)
        source = click.get_current_context().get_parameter_source("cache")
        if source is not None and source.name == "DEFAULT":
            options["settings"] = dataclasses.replace(options["settings"], cache=False)
        client, package = _connect(options), _compile(build_pipeline, Path(folder), options)
        made = cluster.schedule(client, package, name=name, cron=parsed, arguments=arguments, **options)
        click.echo(f"schedule {made}: {parsed.words()}")
        for time in parsed.next_times(datetime.now(UTC)):
            click.echo(f"  next {time:%a %Y-%m-%d %H:%M:%S} UTC")


@click.command()
@server_options
@click.option("--count", type=click.IntRange(1, 100), default=20, show_default=True)
@click.option("--artifacts", help="The pipeline root as this machine reads it (path or URI): shows macro-F1.")
def runs(name: str, count: int, artifacts: str | None, **options: Any) -> None:
    """What ran, when, and how it ended."""
    with explained():
        rows = cluster.runs(_connect(options), name=name, count=count)
        scores = [cluster.macro_f1(artifacts, row["id"]) if artifacts else None for row in rows]
    click.echo(f"{'started (UTC)':17} {'minutes':>7}  {'state':10} {'macro-F1':>8}  run")
    for row, score in zip(rows, scores, strict=True):
        shown = "" if score is None else f"{score:.4f}"
        minutes = "" if row["minutes"] is None else row["minutes"]
        click.echo(f"{row['started']:17} {minutes:>7}  {row['state'] or '':10} {shown:>8}  {row['id']}")


def _connect(options: dict[str, Any]) -> Any:
    host, namespace = options.pop("host"), options.pop("namespace")
    token_file, cookie_file = options.pop("token_file"), options.pop("cookie_file")
    ca_file = options.pop("ca_file")
    if token_file is None and cookie_file is None and TOKEN.exists():
        token_file = TOKEN
    token = token_file.read_text(encoding="utf-8").strip() if token_file else None
    cookie = cookie_file.read_text(encoding="utf-8").strip() if cookie_file else None
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    headers |= {"Cookie": cookie} if cookie else {}
    ca = str(ca_file) if ca_file else None
    address = cluster.check_server(host, headers=headers, ca_file=ca)
    warnings.filterwarnings("ignore", message="This client only works with", category=FutureWarning)
    return Client(
        host=address,
        namespace=namespace or "kubeflow",
        existing_token=token,
        cookies=cookie,
        ssl_ca_cert=ca,
    )


def _compile(build_pipeline: Callable, folder: Path, options: dict[str, Any]) -> Path:
    package = folder / "pipeline.yaml"
    chosen = {key: options.pop(key) for key in ("denoise_on", "registry", "tag", "settings")}
    compile_pipeline(build_pipeline, options.pop("preset"), package, **chosen)
    return package
