"""Every overlay as `kubectl kustomize` builds it, against the published schemas."""
# Generated protobuf modules carry no types.
# pyright: reportAttributeAccessIssue=false

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.json_format import ParseDict
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec, PlatformSpec

from components.client.cluster.cron import parse_cron
from components.client.cluster.settings import SECRET_KEYS
from components.core.project import REGISTRY, STAGE_NAMES, TAG
from pipeline import main

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"
TOOLS = Path(sys.executable).parent
OVERLAYS = ("cpu", "gpu", "multi-user")


def build(overlay: str, manifests: Path = MANIFESTS) -> list[dict[str, Any]]:
    """The overlay's resources."""
    folder = str(manifests / "overlays" / overlay)
    if shutil.which("kubectl"):
        command = ["kubectl", "kustomize", folder]
    elif shutil.which("kustomize"):
        command = ["kustomize", "build", folder]
    else:
        missing = "neither kubectl nor kustomize is installed"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return list(yaml.safe_load_all(done.stdout))


def one(resources: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [resource for resource in resources if resource["kind"] == kind]
    return found


@pytest.fixture(scope="module", params=OVERLAYS)
def resources(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return build(request.param)


def validate(path: Path) -> None:
    command = [TOOLS / "kubernetes-validate", "--strict", "--quiet", path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_valid_without_a_warning(overlay: str, tmp_path: Path):
    (tmp_path / "built.yaml").write_text(yaml.safe_dump_all(build(overlay)))
    validate(tmp_path / "built.yaml")


def test_an_unknown_field_would_be_found(tmp_path: Path, resources: list[dict[str, Any]]):
    job = one(resources, "Job")
    wrong = {**job, "spec": {**job["spec"], "retries": 3}}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(wrong))
    with pytest.raises(AssertionError):
        validate(tmp_path / "wrong.yaml")


def test_the_secret_template_is_valid_and_holds_no_secret():
    validate(MANIFESTS / "secret-template.yaml")
    secret = yaml.safe_load((MANIFESTS / "secret-template.yaml").read_text(encoding="utf-8"))
    assert secret["stringData"] == dict.fromkeys(SECRET_KEYS, "")


def test_the_manifests_are_tidy():
    command = [TOOLS / "yamllint", "--strict", "manifests"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=MANIFESTS.parent)
    assert done.returncode == 0, done.stdout


def pipeline_resources(folder: Path) -> list[dict[str, Any]]:
    """The overlay of the pipeline as resources, made by its one command."""
    shutil.copytree(MANIFESTS, folder / "manifests", dirs_exist_ok=True)
    target = folder / "manifests" / "overlays" / "pipeline-resources"
    command = ["make", "--silent", "pipeline-resources", f"PYTHON={sys.executable}", f"RESOURCES={target}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return build("pipeline-resources", folder / "manifests")


def test_the_pipeline_resources_fit_the_pipelines_own_schema(tmp_path: Path):
    resources = pipeline_resources(tmp_path)
    pipeline, version = one(resources, "Pipeline"), one(resources, "PipelineVersion")
    assert version["spec"]["pipelineName"] == pipeline["metadata"]["name"]
    assert version["metadata"]["namespace"] == pipeline["metadata"]["namespace"]
    ParseDict(version["spec"]["pipelineSpec"], PipelineSpec())
    ParseDict(version["spec"]["platformSpec"], PlatformSpec())
    executors = version["spec"]["pipelineSpec"]["deploymentSpec"]["executors"].values()
    images = {executor["container"]["image"] for executor in executors}
    assert images == {f"{REGISTRY}/{stage}:{TAG}" for stage in STAGE_NAMES}


def test_the_job_runs_this_version(resources: list[dict[str, Any]]):
    (container,) = one(resources, "Job")["spec"]["template"]["spec"]["containers"]
    settings = one(resources, "ConfigMap")["data"]
    assert container["image"] == f"{REGISTRY}/client:{TAG}"
    assert (settings["REGISTRY"], settings["TAG"]) == (REGISTRY, TAG)


def test_the_jobs_command_is_one_that_the_command_line_takes(resources: list[dict[str, Any]]):
    (container,) = one(resources, "Job")["spec"]["template"]["spec"]["containers"]
    name, *options = container["args"]
    command = main.commands[name]
    known = {flag for option in command.params for flag in option.opts}
    assert {option.split("=")[0] for option in options} <= known
    settings = one(resources, "ConfigMap")["data"]
    used = {part.split(")")[0] for option in options for part in option.split("$(")[1:]}
    assert used == set(settings)
    parse_cron(settings["CRON"])


def test_the_jobs_pod_keeps_the_restricted_profile(resources: list[dict[str, Any]]):
    pod = one(resources, "Job")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert {next(iter(set(volume) - {"name"})) for volume in pod["volumes"]} <= {"emptyDir", "projected"}


def test_no_role_has_a_wildcard(resources: list[dict[str, Any]]):
    roles = [resource for resource in resources if resource["kind"] == "Role"]
    assert len(roles) == 2
    for role in roles:
        for rule in role["rules"]:
            assert "*" not in rule["resources"] + rule["verbs"] + rule["apiGroups"]
            assert "secrets" not in rule["resources"] or rule["resourceNames"]


def test_what_the_job_names_is_there(resources: list[dict[str, Any]]):
    job = one(resources, "Job")["spec"]["template"]["spec"]
    names = {(each["kind"], each["metadata"]["name"]) for each in resources}
    options = dict(option.split("=", 1) for option in job["containers"][0]["args"][1:])
    assert ("PersistentVolumeClaim", options["--volume"]) in names
    assert ("ServiceAccount", options["--service-account"]) in names
    assert ("ServiceAccount", job["serviceAccountName"]) in names
    template = yaml.safe_load((MANIFESTS / "secret-template.yaml").read_text(encoding="utf-8"))
    assert template["metadata"]["name"] == options["--secret"]


def test_the_network_policy_is_for_this_projects_pods_alone(resources: list[dict[str, Any]]):
    policy, job = one(resources, "NetworkPolicy")["spec"], one(resources, "Job")["spec"]["template"]
    assert policy["podSelector"]["matchLabels"].items() <= job["metadata"]["labels"].items()
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy


def test_a_servers_own_namespace_is_left_as_it_is():
    for overlay in ("cpu", "gpu"):
        built = build(overlay)
        assert {each["metadata"]["namespace"] for each in built} == {"kubeflow"}
        assert "Namespace" not in {each["kind"] for each in built}
        assert one(built, "ConfigMap")["data"]["NAMESPACE"] == ""


def test_on_a_server_for_many_users_all_is_in_the_namespace_that_runs_are_registered_in():
    built = build("multi-user")
    namespace = one(built, "Namespace")["metadata"]["name"]
    others = [each for each in built if each["kind"] != "Namespace"]
    assert {each["metadata"]["namespace"] for each in others} == {namespace}
    assert one(built, "ConfigMap")["data"]["NAMESPACE"] == namespace


@pytest.mark.parametrize(
    ("overlay", "preset"), [("cpu", "laptop"), ("gpu", "paper"), ("multi-user", "paper")]
)
def test_an_overlay_chooses_the_preset(overlay: str, preset: str):
    assert one(build(overlay), "ConfigMap")["data"]["PRESET"] == preset
