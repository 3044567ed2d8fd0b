"""A server that speaks the part of the Kubeflow Pipelines v2beta1 API that the commands use.

It listens on 127.0.0.1, keeps what it is given and refuses every request that does not fit the models of
the published client.
"""
# Generated protobuf modules carry no types.
# pyright: reportAttributeAccessIssue=false

import email
import email.policy
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kfp_server_api
import yaml
from google.protobuf.json_format import ParseDict
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec, PlatformSpec

CREATED = "2026-01-05T03:00:00Z"


class Refused(Exception):
    """A request that a real server would refuse."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def check_model(model: str, body: Any) -> None:
    """Raises Refused where `body` has a key or a kind of value that the model does not know."""
    kind = getattr(kfp_server_api, model, None)
    if kind is None or not hasattr(kind, "attribute_map"):
        return
    if not kind.attribute_map:  # an enumeration
        if body not in kind.allowable_values:
            raise Refused(400, f"{model}: {body!r} is none of {kind.allowable_values}")
        return
    if not isinstance(body, dict):
        raise Refused(400, f"{model}: expected an object")
    types = {kind.attribute_map[name]: value for name, value in kind.openapi_types.items()}
    for key, value in body.items():
        if key not in types:
            raise Refused(400, f"{model}: unknown field {key}")
        expected = {"str": (str, int), "bool": bool, "int": int}.get(types[key])
        if expected and not isinstance(value, expected):
            raise Refused(400, f"{model}.{key}: {value!r} is no {types[key]}")
        check_model(types[key], value)


class PipelinesServer(ThreadingHTTPServer):
    """Everything that was sent lies in `pipelines`, `versions`, `experiments`, `recurring` and `runs`."""

    def __init__(self, *, token: str = "", page: int = 2) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token, self.page = token, page
        self.headers: list[dict[str, str]] = []
        self.most_schedules = 0
        self.pipelines: list[dict[str, Any]] = []
        self.versions: list[dict[str, Any]] = []
        self.experiments: list[dict[str, Any]] = []
        self.recurring: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self._made = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        """The answer to one request under /apis/v2beta1/."""
        if path == "healthz":
            return {"multi_user": False}
        if method == "POST" and path == "pipelines/upload_version":
            return self._upload(query, body)
        if method == "DELETE" and (found := re.fullmatch(r"recurringruns/([\w-]+)", path)):
            return self._delete(found[1])
        versions = re.fullmatch(r"pipelines/([\w-]+)/versions", path)
        lists = {
            "pipelines": (self.pipelines, "V2beta1Pipeline", "pipeline_id", "pipelines"),
            "experiments": (self.experiments, "V2beta1Experiment", "experiment_id", "experiments"),
            "recurringruns": (self.recurring, "V2beta1RecurringRun", "recurring_run_id", "recurringRuns"),
            "runs": (self.runs, "V2beta1Run", "run_id", "runs"),
        }
        if method == "GET" and versions:
            found = [each for each in self.versions if each["pipeline_id"] == versions[1]]
            return self._listed(found, "pipeline_versions", query)
        if path not in lists:
            raise Refused(404, f"{method} {path}: no such method")
        kept, model, identifier, field = lists[path]
        if method == "GET":
            return self._listed(kept, field, query)
        check_model(model, body)
        self._made += 1
        made = {**body, identifier: f"{path}-{self._made}", "created_at": CREATED}
        kept.append(made)
        self.most_schedules = max(self.most_schedules, len(self.recurring))
        return made

    def _upload(self, query: dict[str, str], body: str) -> dict[str, Any]:
        if set(query) - {"name", "pipelineid", "description", "display_name", "tags"}:
            raise Refused(400, f"upload_version: unknown parameters in {sorted(query)}")
        if query["pipelineid"] not in {each["pipeline_id"] for each in self.pipelines}:
            raise Refused(404, "upload_version: no such pipeline")
        spec, *platforms = yaml.safe_load_all(body)
        ParseDict(spec, PipelineSpec())
        for platform in platforms:
            ParseDict(platform, PlatformSpec())
        known = [each for each in self.versions if each["pipeline_id"] == query["pipelineid"]]
        if query["name"] in {each["display_name"] for each in known}:
            raise Refused(409, "a version of this name exists")
        self._made += 1
        made = {
            "pipeline_id": query["pipelineid"],
            "pipeline_version_id": f"version-{self._made}",
            "display_name": query["name"],
            "description": query.get("description", ""),
            "created_at": CREATED,
            "pipeline_spec": spec,
        }
        self.versions.append(made)
        return made

    def _delete(self, identifier: str) -> dict[str, Any]:
        if identifier not in {each["recurring_run_id"] for each in self.recurring}:
            raise Refused(404, "no such recurring run")
        self.recurring[:] = [each for each in self.recurring if each["recurring_run_id"] != identifier]
        return {}

    def _listed(self, items: list[dict[str, Any]], field: str, query: dict[str, str]) -> dict[str, Any]:
        for predicate in json.loads(query.get("filter") or "{}").get("predicates", []):
            wanted = predicate.get("stringValue", predicate.get("string_value"))
            items = [each for each in items if each.get(predicate["key"]) == wanted]
        if experiment := query.get("experiment_id"):
            items = [each for each in items if each.get("experiment_id") == experiment]
        start = int(query.get("page_token") or 0)
        stop = start + min(self.page, int(query.get("page_size") or 20))
        rest = {"next_page_token": str(stop)} if stop < len(items) else {}
        return {field: items[start:stop], **rest}


class _Handler(BaseHTTPRequestHandler):
    server: PipelinesServer

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def log_message(self, format: str, *args: Any) -> None:
        return None

    def _serve(self, method: str) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.headers.append(dict(self.headers))
        try:
            if self.server.token and self.headers.get("Authorization") != f"Bearer {self.server.token}":
                raise Refused(401, "who are you?")
            path = parts.path.removeprefix("/apis/v2beta1/")
            self._send(200, self.server.answer(method, path, query, self._body(raw)))
        except Refused as refused:
            self._send(refused.status, {"message": str(refused)})

    def _body(self, raw: bytes) -> Any:
        kind = self.headers.get("Content-Type") or ""
        if kind.startswith("multipart/"):
            header = f"Content-Type: {kind}\r\n\r\n".encode()
            message = email.message_from_bytes(header + raw, policy=email.policy.HTTP)
            part = next(message.iter_parts())  # type: ignore[attr-defined]
            return part.get_payload(decode=True).decode()  # type: ignore[union-attr]
        return json.loads(raw) if raw else {}

    def _send(self, status: int, answer: Any) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
