"""The commands that talk to a cluster: upload, submit, schedule, runs."""

import dataclasses
import functools
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from kfp import Client

from components.client.cluster import server
from components.client.cluster.connection import Access, check_version, connect
from components.client.cluster.cron import parse_cron
from components.client.cluster.schedule import Replaced
from components.client.cluster.schedule import schedule as set_schedule
from components.client.cluster.store import Store
from components.client.commands.access import access_options, artifacts_option
from components.client.commands.compile import compile_options, compile_pipeline, pipeline_arguments
from components.client.commands.failure import exit_on_input_error
from components.client.graph.pipelines import PREDICT, Pipeline
from components.client.graph.prediction import PREDICTION
from components.core.project import NAME


def _options(*decorators: Callable) -> Callable:
    return lambda command: functools.reduce(lambda done, each: each(done), reversed(decorators), command)


server_options = _options(
    access_options(required=True),
    click.option("--name", help="Pipeline, experiment and schedule. [the pipeline's own name]"),
)
run_options = _options(
    click.option(
        "--param",
        multiple=True,
        metavar="KEY=JSON",
        help="A parameter of the pipeline; catalog_products is needed, to predict also models_store and "
        "predict_output.",
    ),
    click.option("--service-account", help="Service account of the run's pods. [the server's]"),
    click.option("--pipeline-root", help="Where artifacts go: s3://, gs://, minio://. [the server's]"),
)


@click.command()
@server_options
@click.option("--version", default="", help="The version's name. [from the content]")
@compile_options
def upload(pipeline: Pipeline, access: Access, name: str | None, version: str, **options: Any) -> None:
    """Upload the pipeline as a new version; an unchanged one is not uploaded twice."""
    with exit_on_input_error(), tempfile.TemporaryDirectory() as folder:
        client, package = _ready(access), _compile(pipeline, Path(folder), options)
        known, version_id = server.upload(client, package, name=name or pipeline.name, version=version)
        click.echo(f"pipeline {known}, version {version_id}")


@click.command()
@server_options
@click.option("--run-name", help="What the run is called. [date, preset and snapshot]")
@compile_options
@run_options
def submit(
    pipeline: Pipeline,
    access: Access,
    name: str | None,
    run_name: str | None,
    param: tuple[str, ...],
    **options: Any,
) -> None:
    """Start one run."""
    with exit_on_input_error(), tempfile.TemporaryDirectory() as folder:
        preset = options["preset"]
        arguments = _arguments(pipeline, preset, param)
        client, package = _ready(access), _compile(pipeline, Path(folder), options)
        parts = (f"{datetime.now(UTC):%Y-%m-%d %H:%M}", preset, arguments.get("catalog_snapshot"))
        asked = {"run_name": run_name or " ".join(filter(None, parts)), "params": arguments, **options}
        run = server.submit(client, package, name=name or pipeline.name, **asked)
        click.echo(f"run {run}: {asked['run_name']}")


@click.command()
@server_options
@click.option("--cron", required=True, help='Six fields, seconds first, UTC: "0 0 3 * * 1".')
@click.option(
    "--run-name",
    help="What the schedule and its runs are called. [preset, snapshot, --name]",
)
@compile_options
@run_options
def schedule(
    pipeline: Pipeline,
    access: Access,
    name: str | None,
    cron: str,
    run_name: str | None,
    param: tuple[str, ...],
    **options: Any,
) -> None:
    """Run regularly, in place of the schedules of this --name.

    One run at a time. Times that pass while a run goes on are not caught up on, but for the latest of them:
    it starts as soon as the run has ended.

    An unchanged schedule is left alone. A run of a replaced one goes on; its schedule is disabled, and a
    later `schedule` deletes it.

    Tasks are not cached, so every run reads the catalog afresh; --cache keeps them, and then a new
    `--param catalog_snapshot=...` is what has the catalog read again.
    """
    with exit_on_input_error(), tempfile.TemporaryDirectory() as folder:
        parsed, preset, name = parse_cron(cron), options["preset"], name or pipeline.name
        arguments = _arguments(pipeline, preset, param)
        source = click.get_current_context().get_parameter_source("cache")
        if source is not None and source.name == "DEFAULT":
            options["settings"] = dataclasses.replace(options["settings"], cache=False)
        client, package = _ready(access), _compile(pipeline, Path(folder), options)
        # The server keeps the first 25 letters for its runs' names, which tell the pipelines apart.
        kind = PREDICT if pipeline.name == PREDICTION else ""
        parts = (kind, preset, arguments.get("catalog_snapshot"), name)
        called = run_name or "-".join(filter(None, parts))
        asked = {"cron": parsed, "params": arguments, **options}
        replaced = set_schedule(client, package, name=name, display_name=called, **asked)
    _print_replaced(replaced)
    click.echo(f"{called}: {parsed.words()}")
    for time in parsed.next_times(datetime.now(UTC)):
        click.echo(f"  next {time:%a %Y-%m-%d %H:%M:%S} UTC")


@click.command()
@server_options
@click.option("--count", type=click.IntRange(1, 100), default=20, show_default=True)
@artifacts_option
def runs(access: Access, name: str | None, count: int, artifacts: str | None) -> None:
    """What ran, when, and how it ended; with --artifacts, how good it is."""
    with exit_on_input_error():
        store = Store(artifacts) if artifacts else None
        found = server.runs(connect(access), name=name or NAME, count=count)
        scores = [store.macro_f1(str(run.run_id)) if store else None for run in found]
    click.echo(f"{'started (UTC)':17} {'minutes':>7}  {'state':10} {'macro-F1':>8}  {'run':36}  name")
    for run, score in zip(found, scores, strict=True):
        took, shown = server.minutes(run), "" if score is None else f"{score:.4f}"
        figures = f"{'' if took is None else took:>7}  {run.state or '':10} {shown:>8}"
        click.echo(f"{run.created_at:%Y-%m-%d %H:%M}  {figures}  {run.run_id:36}  {run.display_name}")


def _ready(access: Access) -> Client:
    client = connect(access)
    if warning := check_version(access):
        click.echo(f"warning: {warning}", err=True)
    return client


def _arguments(pipeline: Pipeline, preset: str, param: tuple[str, ...]) -> dict[str, Any]:
    arguments = pipeline_arguments(pipeline.build, preset, param)
    pipeline.check(arguments)
    return arguments


def _compile(pipeline: Pipeline, folder: Path, options: dict[str, Any]) -> Path:
    package = folder / "pipeline.yaml"
    chosen = {key: options.pop(key) for key in ("denoise_on", "registry", "tag", "settings")}
    compile_pipeline(pipeline.build, options.pop("preset"), package, **chosen)
    return package


def _print_replaced(replaced: Replaced) -> None:
    unchanged = " is unchanged and was left alone" if replaced.unchanged else ""
    click.echo(f"schedule {replaced.schedule}{unchanged}")
    for earlier in replaced.deleted:
        click.echo(f"  the earlier schedule {earlier} is deleted")
    for earlier, going in replaced.running.items():
        click.echo(
            f"  the earlier schedule {earlier} is disabled; its run {', '.join(going)} goes on, and the next "
            "`schedule` after that deletes it"
        )
