"""What a Kubeflow Pipelines server of version 2.17 keeps, and how it answers the part of its v2beta1 API that
the commands use.

It refuses every request that does not fit the models of the published client, and, on a server for many
users, what the user has no right to.
"""
# Generated protobuf modules carry no types.
# pyright: reportAttributeAccessIssue=false

import json
import re
from typing import Any

import kfp_server_api
import yaml
from google.protobuf.json_format import ParseDict
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec, PlatformSpec

CREATED = "2026-01-05T03:00:00Z"
Item = dict[str, Any]
# Path -> what the server calls the right, the model, the id, the field of a list, what a filter may name.
KINDS = {
    "pipelines": ("pipelines", "V2beta1Pipeline", "pipeline_id", "pipelines", ()),
    "versions": ("pipelines", "V2beta1PipelineVersion", "pipeline_version_id", "pipeline_versions", ()),
    "experiments": ("experiments", "V2beta1Experiment", "experiment_id", "experiments", ()),
    "recurringruns": (
        *("jobs", "V2beta1RecurringRun", "recurring_run_id", "recurringRuns"),
        ("pipeline_version_id",),
    ),
    "runs": ("runs", "V2beta1Run", "run_id", "runs", ("recurring_run_id", "state", "experiment_id")),
}
CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6}


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


class PipelinesApi:
    """Everything that was sent lies in `kept`, by the kind of thing.

    Args:
        many_users: whether every user has namespaces.
        rights: (namespace, resource, verb) that the user has there; None for all.
        page: how many items a page has at most.
    """

    def __init__(self, *, many_users: bool, rights: set[tuple[str, str, str]] | None, page: int) -> None:
        self.many_users, self.rights, self.page = many_users, rights, page
        self.user = ""
        self.kept: dict[str, list[Item]] = {kind: [] for kind in KINDS}
        self.most_enabled = 0
        self.killed: list[str] = []  # runs whose workflow went with their schedule
        self._made = 0

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        """The answer to one request under /apis/v2beta1/."""
        if path == "healthz":
            return {"multi_user": self.many_users}
        if (method, path) == ("POST", "pipelines/upload_version"):
            return self._upload(query, body)
        if found := re.fullmatch(r"pipelines/([\w-]+)/versions(?:/([\w-]+))?", path):
            pipeline = self.find("pipelines", found[1])
            self._require("versions", "get" if found[2] else "list", pipeline["namespace"])
            if found[2]:
                return self.find("versions", found[2])
            return self._listed("versions", query, pipeline_id=found[1])
        kind, _, rest = path.partition("/")
        identifier, _, verb = rest.partition(":")
        if kind not in KINDS:
            raise Refused(404, f"{method} {path}: no such method")
        if not identifier:
            return self._list(kind, query) if method == "GET" else self._create(kind, body)
        item = self.find(kind, identifier)
        verb = verb or {"GET": "get", "DELETE": "delete"}[method]
        self._require(kind, verb, item["namespace"])
        if verb == "delete":
            self._delete(kind, identifier)
        elif verb in ("enable", "disable"):
            item |= {"mode": verb.upper(), "status": f"{verb.upper()}D"}
        return item if verb == "get" else {}

    def find(self, kind: str, identifier: str) -> Item:
        """The thing of an id."""
        for item in self.kept[kind]:
            if item[KINDS[kind][2]] == identifier:
                return item
        raise Refused(404, f"Failed to get {kind}: ResourceNotFoundError: {kind} {identifier} not found.")

    def tick(self, schedule: Item) -> Item:
        """The run that the controller starts when a schedule's time has come."""
        letters = re.sub("[^a-z0-9-]+", "", schedule["display_name"].lower())[:25]
        copied = {key: schedule[key] for key in ("experiment_id", "recurring_run_id", "namespace")}
        return self._add("runs", {**copied, "display_name": f"{letters}x7k2p-1-4711", "state": "RUNNING"})

    def _require(self, kind: str, verb: str, namespace: str) -> None:
        if not self.many_users or (kind in ("pipelines", "versions") and not namespace and verb == "list"):
            return  # shared pipelines are for all to see
        resource = KINDS[kind][0]
        if not namespace:
            raise Refused(400, f"Failed: Invalid input error: {kind} cannot have an empty namespace")
        if self.rights is not None and (namespace, resource, verb) not in self.rights:
            raise Refused(
                403,
                f"Failed to authorize with API: PermissionDenied: User '{self.user}' is not authorized with "
                f"reason:  (request: &ResourceAttributes{{Namespace:{namespace},Verb:{verb},"
                f"Group:pipelines.kubeflow.org,Version:v1beta1,Resource:{resource},Subresource:,Name:,}}): "
                "Unauthorized access",
            )

    def _list(self, kind: str, query: dict[str, str]) -> Item:
        namespace = query.get("namespace", "")
        where = {}
        if experiment := query.get("experiment_id"):
            namespace = self.find("experiments", experiment)["namespace"]
            where["experiment_id"] = experiment
        namespace = namespace if self.many_users else ""
        self._require(kind, "list", namespace)
        return self._listed(kind, query, namespace=namespace, **where)

    def _listed(self, kind: str, query: dict[str, str], **where: str) -> Item:
        *_, field, keys = KINDS[kind]
        for predicate in json.loads(query.get("filter") or "{}").get("predicates", []):
            if predicate["key"] not in ("display_name", "created_at", *keys):
                raise Refused(400, f"Invalid input error: no field {predicate['key']} in {kind}")
            where[predicate["key"]] = predicate["stringValue"]
        found = [
            item for item in self.kept[kind] if where.items() <= {"recurring_run_id": "", **item}.items()
        ]
        if query.get("sort_by", "").endswith(" desc"):
            found.reverse()
        asked = f"{query.get('filter', '')}{query.get('sort_by', '')}"
        start, _, token = (query.get("page_token") or f"0 {asked}").partition(" ")
        if token != asked:
            raise Refused(400, "Invalid input error: page token does not match the filter")
        stop = int(start) + min(self.page, int(query.get("page_size") or 20))
        rest = {"next_page_token": f"{stop} {asked}"} if stop < len(found) else {}
        return {field: found[int(start) : stop], **rest}

    def _create(self, kind: str, body: Item) -> Item:
        check_model(KINDS[kind][1], body)
        namespace = body.get("namespace", "") if self.many_users else ""
        if kind in ("runs", "recurringruns"):
            namespace = self.find("experiments", body["experiment_id"])["namespace"]
            reference = body["pipeline_version_reference"]
            spec = self.find("versions", reference["pipeline_version_id"])["pipeline_spec"]["pipeline_spec"]
            given = body["runtime_config"].get("parameters", {})
            if unknown := set(given) - set(spec["root"]["inputDefinitions"]["parameters"]):
                raise Refused(400, f"Failed: Invalid input error: unknown parameter {min(unknown)}")
            account = "default-editor" if self.many_users else "pipeline-runner"
            body = {**body, "service_account": body.get("service_account") or account}
        self._require(kind, "create", namespace)
        if kind in ("pipelines", "experiments"):
            self._refuse_twice(kind, body["display_name"], namespace=namespace)
        return self._add(kind, {**body, "namespace": namespace})

    def _add(self, kind: str, body: Item) -> Item:
        self._made += 1
        made = {**body, KINDS[kind][2]: f"{kind}-{self._made}", "created_at": CREATED}
        self.kept[kind].append(made)
        enabled = [one for one in self.kept["recurringruns"] if one["mode"] == "ENABLE"]
        self.most_enabled = max(self.most_enabled, len(enabled))
        return made

    def _refuse_twice(self, kind: str, name: str, **where: str) -> None:
        if any({"display_name": name, **where}.items() <= item.items() for item in self.kept[kind]):
            raise Refused(
                409, f"Failed: Already exist error: {kind} {name} already exists. Choose another name"
            )

    def _upload(self, query: dict[str, str], body: str) -> Item:
        if set(query) - {"name", "pipelineid", "description", "display_name", "tags"}:
            raise Refused(400, f"upload_version: unknown parameters in {sorted(query)}")
        pipeline = self.find("pipelines", query["pipelineid"])
        try:
            self._require("versions", "create", pipeline["namespace"])
        except Refused as refused:
            raise Refused(400, str(refused)) from refused  # the one that answers so
        spec, *platforms = yaml.safe_load_all(body)
        ParseDict(spec, PipelineSpec())
        for platform in platforms:
            ParseDict(platform, PlatformSpec())
        named = {"pipeline_id": query["pipelineid"]}
        self._refuse_twice("versions", query["name"], **named)
        both = {"pipeline_spec": spec, "platform_spec": platforms[0]} if platforms else spec
        record = {"display_name": query["name"], "description": query.get("description", "")}
        return self._add("versions", {**named, **record, "pipeline_spec": both})

    def _delete(self, kind: str, identifier: str) -> None:
        item = self.find(kind, identifier)
        self.kept[kind].remove(item)
        going = [run for run in self.kept["runs"] if run.get("recurring_run_id") == identifier]
        self.killed += [run["run_id"] for run in going if run["state"] == "RUNNING"]
