"""The commands that talk to a cluster: upload, submit, schedule, runs."""

import dataclasses
import functools
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from kfp_server_api import ApiException
from urllib3.exceptions import HTTPError

from components.client.cluster import server as cluster
from components.client.cluster.cron import parse_cron
from components.client.cluster.settings import ClusterSettings
from components.client.presets import DENOISE_ON, PRESETS
from components.core.errors import InputError
from components.core.project import NAME, REGISTRY, TAG

HELP = {
    "cpu": "Processors of a stage that trains no network.",
    "memory": "Its memory, request and limit.",
    "training_cpu": "Processors of a text or image training.",
    "training_memory": "Its memory, request and limit.",
    "shared_memory": "Its /dev/shm, for data-loader workers.",
    "retries": "How often a failed task is tried again.",
    "retry_wait": "Wait before the first retry; doubled before each further one.",
    "timeout": "Seconds that a task may take; 0 for no limit.",
    "training_timeout": "Seconds that a training may take, retries apart.",
    "volume": "PersistentVolumeClaim for weights and checkpoints, mounted into every task.",
    "mount": "Where it is mounted.",
    "secret": "Secret with the keys AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, HF_TOKEN.",
    "cache": "Whether tasks take over the results of equal tasks of earlier runs.",
}
TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")

preset_option = click.option(
    "--preset",
    type=click.Choice(sorted(PRESETS)),
    default="laptop",
    show_default=True,
    help="paper: the paper's models, for GPUs; laptop: small models, no GPU, no download.",
)
denoise_option = click.option(
    "--denoise-on",
    type=click.Choice(DENOISE_ON),
    help="Whose folds find label issues; it shapes the graph, so no parameter can change it. [the preset's]",
)


@dataclass(frozen=True)
class Toolkit:
    """What the commands need of kfp, which `pipeline.py` alone imports."""

    compile_pipeline: Callable[..., None]
    parse_parameters: Callable[[tuple[str, ...], dict[str, Any]], dict[str, Any]]
    load_local: Callable[[Path, Path], Callable[..., Any]]
    client: Callable[..., Any]


def settings_options(command: Callable) -> Callable:
    """Gives a command the fields of ClusterSettings as options; it receives them as `settings`."""
    fields = dataclasses.fields(ClusterSettings)

    @functools.wraps(command)
    def with_settings(**options: Any) -> Any:
        with explained():
            settings = ClusterSettings(**{field.name: options.pop(field.name) for field in fields})
        return command(settings=settings, **options)

    for field in reversed(fields):
        dashed = field.name.replace("_", "-")
        flag = f"--{dashed}/--no-{dashed}" if field.name == "cache" else f"--{dashed}"
        option = click.option(flag, default=field.default, show_default=True, help=HELP[field.name])
        with_settings = option(with_settings)
    return with_settings


class explained:
    """Says what went wrong and ends the process with status 2, without a traceback."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ApiException):
            detail = str(error.body or error.reason or "").strip()[:500]
            error = InputError(f"the server refused the request ({error.status}): {detail}")
        elif isinstance(error, HTTPError):
            error = InputError(f"the connection to the server broke: {error}")
        elif isinstance(error, OSError) and error.filename:
            error = InputError(f"{error.filename}: cannot be read or written: {error.strerror}")
        if isinstance(error, InputError):
            click.echo(f"error: {error}", err=True)
            sys.exit(2)


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
compile_options = _options(
    preset_option,
    denoise_option,
    click.option("--registry", default=REGISTRY, show_default=True, help="Where the stages' images lie."),
    click.option("--tag", default=TAG, show_default=True, help="The images' tag."),
    settings_options,
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
def upload(tools: Toolkit, name: str, version: str, **options: Any) -> None:
    """Upload the pipeline as a new version; an unchanged one is not uploaded twice."""
    with explained(), tempfile.TemporaryDirectory() as folder:
        client, package = _connect(tools, options), _compile(tools, Path(folder), options)
        pipeline, version_id = cluster.upload(client, package, name=name, version=version)
        click.echo(f"pipeline {pipeline}, version {version_id}")


@click.command()
@server_options
@compile_options
@run_options
@click.pass_obj
def submit(tools: Toolkit, name: str, param: tuple[str, ...], **options: Any) -> None:
    """Start one run."""
    with explained(), tempfile.TemporaryDirectory() as folder:
        arguments = tools.parse_parameters(param, PRESETS[options["preset"]])
        client, package = _connect(tools, options), _compile(tools, Path(folder), options)
        click.echo("run " + cluster.submit(client, package, name=name, arguments=arguments, **options))


@click.command()
@server_options
@click.option("--cron", required=True, help='Six fields, seconds first, UTC: "0 0 3 * * 1".')
@compile_options
@run_options
@click.pass_obj
def schedule(tools: Toolkit, name: str, cron: str, param: tuple[str, ...], **options: Any) -> None:
    """Run regularly, in place of the schedule that has this name.

    Tasks are not cached, so every run reads the catalog afresh; --cache keeps them, and then a new
    `--param snapshot=...` is what has the catalog read again.
    """
    with explained(), tempfile.TemporaryDirectory() as folder:
        parsed = parse_cron(cron)
        arguments = tools.parse_parameters(param, PRESETS[options["preset"]])
        source = click.get_current_context().get_parameter_source("cache")
        if source is not None and source.name == "DEFAULT":
            options["settings"] = dataclasses.replace(options["settings"], cache=False)
        client, package = _connect(tools, options), _compile(tools, Path(folder), options)
        made = cluster.schedule(client, package, name=name, cron=parsed, arguments=arguments, **options)
        click.echo(f"schedule {made}: {parsed.words()}")
        for time in parsed.next_times(datetime.now(UTC)):
            click.echo(f"  next {time:%a %Y-%m-%d %H:%M:%S} UTC")


@click.command()
@server_options
@click.option("--count", type=click.IntRange(1, 100), default=20, show_default=True)
@click.option("--artifacts", help="The pipeline root as this machine reads it (path or URI): shows macro-F1.")
@click.pass_obj
def runs(tools: Toolkit, name: str, count: int, artifacts: str | None, **options: Any) -> None:
    """What ran, when, and how it ended."""
    with explained():
        rows = cluster.runs(_connect(tools, options), name=name, count=count)
        scores = [cluster.macro_f1(artifacts, row["id"]) if artifacts else None for row in rows]
    click.echo(f"{'started (UTC)':17} {'minutes':>7}  {'state':10} {'macro-F1':>8}  run")
    for row, score in zip(rows, scores, strict=True):
        shown = "" if score is None else f"{score:.4f}"
        minutes = "" if row["minutes"] is None else row["minutes"]
        click.echo(f"{row['started']:17} {minutes:>7}  {row['state'] or '':10} {shown:>8}  {row['id']}")


COMMANDS = (upload, submit, schedule, runs)


def _connect(tools: Toolkit, options: dict[str, Any]) -> Any:
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
    return tools.client(
        host=address,
        namespace=namespace or "kubeflow",
        existing_token=token,
        cookies=cookie,
        ssl_ca_cert=ca,
    )


def _compile(tools: Toolkit, folder: Path, options: dict[str, Any]) -> Path:
    package = folder / "pipeline.yaml"
    chosen = {key: options.pop(key) for key in ("denoise_on", "registry", "tag", "settings")}
    tools.compile_pipeline(options.pop("preset"), package, **chosen)
    return package
