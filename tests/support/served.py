"""Requests to a server of a model package."""

import json
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from components.lifecycle.model import Model

MAX_BYTES = 2**20  # of a request
BUCKET = "s3://shop/pictures"  # where images may come from


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
