"""The overlay of KServe's resources, against the types of KServe's own client; no cluster has run it here."""

import copy
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kserve import models  # pyright: ignore[reportMissingImports]
from kubernetes import client as kubernetes
from kustomize import build, one

from components.core.project import NAME, REGISTRY, TAG
from components.serving.command import serve

TYPES = {"ServingRuntime": "V1alpha1ServingRuntime", "InferenceService": "V1beta1InferenceService"}


@pytest.fixture(scope="module")
def resources() -> list[dict[str, Any]]:
    return build("serving")


@pytest.fixture
def runtime(resources: list[dict[str, Any]]) -> dict[str, Any]:
    return one(resources, "ServingRuntime")


@pytest.fixture
def service(resources: list[dict[str, Any]]) -> dict[str, Any]:
    return one(resources, "InferenceService")


def unknown(value: Any, kind: str, where: str) -> list[str]:
    """The fields of a resource that its type does not have."""
    if match := re.fullmatch(r"list\[(.*)\]", kind):
        return [found for each in value for found in unknown(each, match[1], f"{where}[]")]
    named = getattr(models, kind, None) or getattr(kubernetes, kind, None)
    if named is None:  # a plain value, or a mapping of such
        return []
    types = {named.attribute_map[name]: of for name, of in named.openapi_types.items()}
    found = [f"{where}.{field}" for field in value if field not in types]
    known = [(field, each) for field, each in value.items() if field in types]
    return found + [more for field, each in known for more in unknown(each, types[field], f"{where}.{field}")]


def test_no_resource_has_a_field_that_its_type_lacks(resources: list[dict[str, Any]]):
    assert {each["kind"] for each in resources} == set(TYPES)
    assert [found for each in resources for found in unknown(each, TYPES[each["kind"]], each["kind"])] == []


def test_an_unknown_field_would_be_found(service: dict[str, Any], runtime: dict[str, Any]):
    wrong = copy.deepcopy(service)
    wrong["spec"]["predictor"]["model"]["storageURI"] = "s3://bucket"
    assert unknown(wrong, TYPES["InferenceService"], "it") == ["it.spec.predictor.model.storageURI"]
    wrong = copy.deepcopy(runtime)
    wrong["spec"]["containers"][0]["readinessProbe"]["httpGet"]["host_name"] = "a"
    found = unknown(wrong, TYPES["ServingRuntime"], "it")
    assert found == ["it.spec.containers[].readinessProbe.httpGet.host_name"]


def test_the_container_is_one_that_kubernetes_takes_and_keeps_the_restricted_profile(
    runtime: dict[str, Any], tmp_path: Path
):
    spec = runtime["spec"]
    pod_spec = {"containers": spec["containers"], "volumes": spec["volumes"]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "served"}, "spec": pod_spec}
    (tmp_path / "pod.yaml").write_text(yaml.safe_dump(pod))
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", "--quiet", tmp_path / "pod.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    security = spec["containers"][0]["securityContext"]
    assert security["runAsNonRoot"]
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}


def test_the_runtime_starts_this_versions_server_with_options_that_it_takes(runtime: dict[str, Any]):
    [container] = runtime["spec"]["containers"]
    assert container["image"] == f"{REGISTRY}/serving:{TAG}"
    assert container["command"] == ["python", "-m", "components.serving"]
    options = dict(argument.split("=", 1) for argument in container["args"])
    assert set(options) <= {flag for option in serve.params for flag in option.opts}
    assert options["--model"] == "/mnt/models"
    assert options["--port"] == str(container["ports"][0]["containerPort"])
    probes = {container[probe]["httpGet"]["path"] for probe in ("readinessProbe", "livenessProbe")}
    assert probes == {"/v2/health/ready", "/v2/health/live"}


def test_the_service_names_the_runtime_and_a_version_of_a_store(
    service: dict[str, Any], runtime: dict[str, Any]
):
    model = service["spec"]["predictor"]["model"]
    assert model["runtime"] == runtime["metadata"]["name"] == NAME
    [form] = runtime["spec"]["supportedModelFormats"]
    assert {"name": form["name"], "version": form["version"]} == model["modelFormat"]
    assert re.fullmatch(rf"s3://\w+/models/{NAME}/versions/[0-9a-f]{{16}}", model["storageUri"])
