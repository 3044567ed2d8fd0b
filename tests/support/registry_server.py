"""A stand-in for Kubeflow's Model Registry: keeps what it is sent, and refuses fields that its API lacks."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

ROOT = "/api/model_registry/v1/"
COMMON = {"customProperties", "description", "externalId", "name", "state"}
# Of each resource the fields that creating one takes (kubeflow/model-registry, api/openapi).
FIELDS = {
    "registered_models": COMMON
    | {"owner", "language", "tasks", "libraryName", "license", "licenseLink", "logo", "maturity"}
    | {"provider", "readme"},
    "model_versions": COMMON | {"author", "registeredModelId"},
    "artifacts": COMMON
    | {"artifactType", "uri", "modelFormatName", "modelFormatVersion", "storageKey", "storagePath"}
    | {"serviceAccountName", "modelSourceKind", "modelSourceClass", "modelSourceGroup", "modelSourceId"}
    | {"modelSourceName"},
}
UNIQUE = ("name", "registeredModelId", "modelVersion")
VALUES = {"MetadataDoubleValue": "double_value", "MetadataStringValue": "string_value"}


class ModelRegistryServer(ThreadingHTTPServer):
    """Listens on 127.0.0.1.

    Attributes:
        kept: of each kind of resource those that were made, in order.
        refused: why requests were.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kept: dict[str, list[dict[str, Any]]] = {kind: [] for kind in FIELDS}
        self.refused: list[str] = []
        self.address = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def make(self, kind: str, sent: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Keeps a resource.

        Raises:
            ValueError: an unknown field or property, or a name that is taken.
        """
        if unknown := set(sent) - FIELDS[kind]:
            raise ValueError(f"unknown field of {kind}: {sorted(unknown)}")
        for name, value in (sent.get("customProperties") or {}).items():
            if set(value) != {VALUES.get(value.get("metadataType", ""), ""), "metadataType"}:
                raise ValueError(f"no value of a known type: {name}")
        made = {**sent, **more, "id": str(len(self.kept[kind]) + 1)}
        if any(all(each.get(key) == made.get(key) for key in UNIQUE) for each in self.kept[kind]):
            raise ValueError(f"{sent['name']} is there already")
        self.kept[kind].append(made)
        return made


class _Handler(BaseHTTPRequestHandler):
    server: ModelRegistryServer  # type: ignore[assignment]

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        what, query = address.path.removeprefix(ROOT), parse_qs(address.query)
        kept = self.server.kept
        if what == "registered_models":
            models = kept["registered_models"]
            self._send(200, {"items": models, "nextPageToken": "", "pageSize": 1, "size": len(models)})
            return
        wanted = {"registered_model": "registered_models", "model_version": "model_versions"}[what]
        parent = query.get("parentResourceId", [None])[0]
        found = [each for each in kept[wanted] if each["name"] == query["name"][0]]
        found = [each for each in found if parent is None or each["registeredModelId"] == parent]
        self._send(200, found[0]) if found else self._send(404, {"code": "", "message": "not found"})

    def do_POST(self) -> None:
        what = urlsplit(self.path).path.removeprefix(ROOT)
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        version = re.fullmatch(r"model_versions/(\d+)/artifacts", what)
        try:
            more = {"modelVersion": version[1]} if version else {}
            self._send(201, self.server.make("artifacts" if version else what, sent, **more))
        except ValueError as error:
            self.server.refused.append(str(error))
            self._send(400, {"code": "Bad Request", "message": str(error)})

    def _send(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass
