"""How a command ends when something is wrong."""

import sys
from typing import Any

import click
from kfp_server_api import ApiException
from urllib3.exceptions import HTTPError

from components.client.cluster.refusal import explain_refusal
from components.core.errors import InputError


class exit_on_input_error:
    """Says what went wrong and ends the process with status 2, without a traceback."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ApiException):
            error = explain_refusal(error)
        elif isinstance(error, HTTPError):
            error = InputError(f"the connection to the server broke: {error}")
        elif isinstance(error, OSError) and error.filename:
            error = InputError(f"{error.filename}: cannot be read or written: {error.strerror}")
        if isinstance(error, InputError):
            click.echo(f"error: {error}", err=True)
            sys.exit(2)
