"""The command `serve`: a model package behind KServe's HTTP server."""

import logging
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import click

from components.core.artifacts import MANIFEST
from components.core.configuration import Accelerator
from components.core.errors import InputError
from components.core.project import NAME

MEGABYTE = 2**20
PACKAGE = "model"  # of a run, in its folder


def _package(context: click.Context, parameter: click.Parameter, folder: Path) -> Path:
    """The folder, unless it is a run's, whose package lies in it.

    Raises:
        click.BadParameter: it is a run's.
    """
    if not (folder / MANIFEST).exists() and (folder / PACKAGE / MANIFEST).is_file():
        raise click.BadParameter(f"{folder} is the folder of a run, its model is {folder / PACKAGE}")
    return folder


model_option = click.option(
    "--model",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    callback=_package,
    help="A model package, such as runs/mine/model.",
)
device_option = click.option(
    "--device", type=click.Choice(get_args(Accelerator)), default="auto", show_default=True
)


@click.command()
@model_option
@click.option("--name", default=NAME, show_default=True, help="The model's in the addresses of requests.")
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 for every network.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 for any.")
@click.option(
    "--images-from",
    multiple=True,
    help="A store that requests may name images of: s3://bucket/folder, ...; may be repeated. [none]",
)
@click.option(
    "--max-megabytes", type=click.IntRange(1, 1024), default=32, show_default=True, help="Of a request."
)
@device_option
def serve(
    model: Path,
    name: str,
    host: str,
    port: int,
    images_from: tuple[str, ...],
    max_megabytes: int,
    device: Accelerator,
) -> None:
    """Serve a trained model over HTTP, by the v1 and v2 protocols of KServe.

    The server listens on this machine alone unless --host says otherwise.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        _check_installed()
        # Not at the top: compiling imports this module and needs none of them.
        from components.lifecycle.model import load_model
        from components.serving.answers import Answering
        from components.serving.images import AllowedStores
        from components.serving.listener import listening
        from components.serving.predictor import Predictor
        from components.serving.server import serve as serve_forever

        stores, listener = AllowedStores(images_from), listening(host, port)
        loaded = load_model(model, device=device)
        predictor = Predictor(name, Answering(loaded, stores))
        where = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        click.echo(f"model {loaded.version} at {where}/v1/models/{name}:predict; stop with Ctrl+C")
        serve_forever(predictor, listener, max_bytes=max_megabytes * MEGABYTE)
    except InputError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)


def _check_installed() -> None:
    if find_spec("kserve") is None:
        raise InputError(
            "serving needs KServe, which is not installed: pip install '.[run,serving]', in an environment "
            "of its own, because it wants pandas below 3"
        )
