"""The options by which a command reaches a Kubeflow Pipelines server."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from components.client.cluster.connection import TOKEN, Access
from components.client.commands.failure import exit_on_input_error
from components.core.reading import read_text

existing = click.Path(exists=True, dir_okay=False, path_type=Path)
artifacts_option = click.option(
    "--artifacts", help="The server's pipeline root as this machine reads it: path or URI."
)


def access_options(*, required: bool) -> Callable[[Callable], Callable]:
    """Gives a command the server's options; it receives them as `access`, None where no host is named."""
    options = (
        click.option(
            "--host", envvar="KF_PIPELINES_ENDPOINT", required=required, help="The server's address."
        ),
        click.option("--namespace", default="", help="Your namespace, on a server for many users."),
        click.option(
            "--token-file", type=existing, help="Holds a bearer token. [a mounted service account's]"
        ),
        click.option("--cookie-file", type=existing, help="Holds the session cookie: NAME=VALUE."),
        click.option("--ca-file", type=existing, help="Certificate authority of the server."),
    )

    def decorated(command: Callable) -> Callable:
        @functools.wraps(command)
        def with_access(*arguments: Any, **given: Any) -> Any:
            with exit_on_input_error():
                access = _access(**{key: given.pop(key) for key in KEYS})
            return command(*arguments, access=access, **given)

        return functools.reduce(lambda done, option: option(done), reversed(options), with_access)

    return decorated


KEYS = ("host", "namespace", "token_file", "cookie_file", "ca_file")


def _access(
    host: str | None, namespace: str, token_file: Path | None, cookie_file: Path | None, ca_file: Path | None
) -> Access | None:
    if not host:
        return None
    if token_file is None and cookie_file is None and TOKEN.exists():
        token_file = TOKEN
    files = {"a bearer token": token_file, "a session cookie": cookie_file}
    token, cookie = (read_text(path, what).strip() if path else "" for what, path in files.items())
    return Access(host, namespace, token, cookie, str(ca_file or ""))
