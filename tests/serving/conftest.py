"""One server, as the command `serve` starts it, for all tests: KServe has one application a process.

These tests need KServe and what it wants, pandas below 3: `make test` has an environment for them.
"""

import socket
import threading
from importlib.util import find_spec

import pytest
from served import BUCKET, MAX_BYTES, Served
from small_package import write_package_of_both

from components.lifecycle.model import load_model

collect_ignore_glob = [] if find_spec("kserve") else ["test_*.py"]


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    from components.serving.answers import Answering
    from components.serving.images import AllowedStores
    from components.serving.listener import listening
    from components.serving.predictor import Predictor
    from components.serving.server import server_of

    run = tmp_path_factory.mktemp("run")
    model = load_model(write_package_of_both(run), device="cpu")
    listener: socket.socket = listening("127.0.0.1", 0)
    predictor = Predictor("shop", Answering(model, AllowedStores([BUCKET])))
    server = server_of(predictor, max_bytes=MAX_BYTES)
    threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
    return Served(run, model, listener.getsockname()[1])
