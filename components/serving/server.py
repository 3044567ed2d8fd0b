"""The HTTP server of one model package, KServe's own, on an address of one's choice."""

import logging
import socket
import warnings

from kserve import ModelRepository  # pyright: ignore[reportMissingImports]
from kserve.errors import InvalidInput  # pyright: ignore[reportMissingImports]
from kserve.model_server import app  # pyright: ignore[reportMissingImports]
from kserve.protocol.model_repository_extension import (  # pyright: ignore[reportMissingImports]
    ModelRepositoryExtension,
)
from kserve.protocol.rest.server import RESTServer  # pyright: ignore[reportMissingImports]

from components.serving.body import BodyLimit
from components.serving.predictor import Predictor, StrictDataPlane


def serve(predictor: Predictor, listener: socket.socket, *, max_bytes: int) -> None:
    """Answers requests until the process is asked to end.

    Args:
        max_bytes: of a request's body; a larger one is refused before it is read.
    """
    server_of(predictor, max_bytes=max_bytes).run(sockets=[listener])


def server_of(predictor: Predictor, *, max_bytes: int) -> RESTServer:
    """KServe's server, whose `run` takes a listening socket; of a process there can be one."""
    logging.getLogger("kserve").addFilter(_without_traceback)
    warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")  # KServe's, at every request
    models = _OneModel()
    models.update(predictor)
    app.add_middleware(BodyLimit, most=max_bytes)
    # The address is the socket's.
    return RESTServer(
        "kserve.model_server:app", StrictDataPlane(models), ModelRepositoryExtension(models), http_port=0
    )


class _OneModel(ModelRepository):
    """Serves its model for as long as the server lives, whoever asks to unload it."""

    def unload(self, name: str) -> None:
        raise InvalidInput(f"{name[:100]}: the model of this server stays loaded")


def _without_traceback(record: logging.LogRecord) -> bool:
    """Logs a refused request in one line: its sender's mistake is none of the code's."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, InvalidInput):
        record.msg, record.args, record.exc_info = "refused: %s", (str(error),), None
    return True
