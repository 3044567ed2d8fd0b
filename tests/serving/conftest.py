"""One server, as the command `serve` starts it, for all tests: KServe has one application a process.

These tests need KServe and what it wants, pandas below 3: `make test` has an environment for them.
"""

import json
import socket
import threading
from dataclasses import dataclass
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from small_package import write_package_of_both

from components.lifecycle.model import Model, load_model

MAX_BYTES = 2**20  # of a request
BUCKET = "s3://shop/pictures"  # where images may come from

collect_ignore_glob = [] if find_spec("kserve") else ["test_*.py"]


@dataclass(frozen=True)
class Served:
    """A server and the package that it serves.

    Attributes:
        run: the folder of the run; its package is `model`, its images lie in `images`.
    """

    run: Path
    model: Model
    port: int

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Status and JSON of the answer to bytes, or to an object as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", path, data, {"content-type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        found = answer.status, json.loads(answer.read())
        connection.close()
        return found

    def predict(self, *instances: Any) -> tuple[int, Any]:
        """`post` of products by the v1 protocol."""
        return self.post("/v1/models/shop:predict", {"instances": list(instances)})

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of an address."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path)
        answer = connection.getresponse()
        found = answer.status, answer.read().decode()
        connection.close()
        return found


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    from components.serving.answers import Answering
    from components.serving.images import AllowedStores
    from components.serving.predictor import Predictor
    from components.serving.server import listening, server_of

    run = tmp_path_factory.mktemp("run")
    model = load_model(write_package_of_both(run), device="cpu")
    listener: socket.socket = listening("127.0.0.1", 0)
    predictor = Predictor("shop", Answering(model, AllowedStores([BUCKET])))
    server = server_of(predictor, max_bytes=MAX_BYTES)
    threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
    return Served(run, model, listener.getsockname()[1])
