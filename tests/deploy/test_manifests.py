"""Every overlay as `kubectl kustomize` builds it, against the published schemas."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import server_command
from kustomize import MANIFESTS, build, one
from pipelines_server import PipelinesServer

from components.client.cluster.cron import parse_cron
from components.client.cluster.settings import ALERT_KEYS, REGISTRY_KEYS, SECRET_KEYS
from components.core.project import NAME, REGISTRY, TAG
from pipeline import main

TOOLS = Path(sys.executable).parent
OVERLAYS = ("cpu", "gpu", "multi-user")


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
    assert secret["stringData"] == dict.fromkeys((*SECRET_KEYS, *ALERT_KEYS, *REGISTRY_KEYS), "")


def test_the_manifests_are_tidy():
    command = [TOOLS / "yamllint", "--strict", "manifests"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=MANIFESTS.parent)
    assert done.returncode == 0, done.stdout


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


def reaches(resources: list[dict[str, Any]], namespace: str, port: int) -> bool:
    """Whether a pod of this project may call a pod of another namespace: policies add up."""
    policies = [each["spec"] for each in resources if each["kind"] == "NetworkPolicy"]
    assert all(each["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": NAME} for each in policies)
    for rule in [rule for policy in policies for rule in policy["egress"]]:
        ports = [each["port"] for each in rule.get("ports", [])]
        selectors = [to["namespaceSelector"] for to in rule.get("to", []) if "namespaceSelector" in to]
        labels = [each.get("matchLabels", {}).get("kubernetes.io/metadata.name") for each in selectors]
        if (not ports or port in ports) and ("to" not in rule or namespace in labels):
            return True
    return False


def with_component(folder: Path, name: str) -> list[dict[str, Any]]:
    """The overlay `gpu` with a component, as the component's own comment has it taken in."""
    shutil.copytree(MANIFESTS, folder / "manifests")
    comment = (MANIFESTS / "components" / name / "kustomization.yaml").read_text(encoding="utf-8")
    lines = [line.removeprefix("#   ") for line in comment.splitlines() if line.startswith("#   ")]
    overlay = folder / "manifests" / "overlays" / "with-component"
    overlay.mkdir()
    text = "\n".join(["kind: Kustomization", "namespace: kubeflow", "resources: [../gpu]", *lines])
    (overlay / "kustomization.yaml").write_text(text)
    built = build("with-component", folder / "manifests")
    (folder / "built.yaml").write_text(yaml.safe_dump_all(built))
    validate(folder / "built.yaml")
    return built


def test_the_component_predict_has_the_job_register_a_second_schedule(tmp_path: Path):
    built = with_component(tmp_path, "predict")
    train, predict = sorted(
        one(built, "Job")["spec"]["template"]["spec"]["containers"],
        key=lambda each: each["name"] == "predict",
    )
    assert predict["image"] == train["image"] == f"{REGISTRY}/client:{TAG}"
    for name in ("resources", "securityContext", "volumeMounts"):
        assert predict[name] == train[name]
    settings: dict[str, str] = {}
    for each in built:
        settings |= each["data"] if each["kind"] == "ConfigMap" else {}
    assert settings["DATE_COLUMN"] == "created_at"
    given = [re.sub(r"\$\((\w+)\)", lambda found: settings[found[1]], each) for each in predict["args"]]
    server = PipelinesServer()
    options = [each for each in given[1:] if not each.startswith("--host=")]
    server_command(given[0], server.host, *options)
    server.shutdown()
    [schedule] = server.kept["recurringruns"]
    asked = schedule["runtime_config"]["parameters"]
    assert (asked["catalog_since"], asked["predict_output"]) == ("last-run", "s3://bucket/predictions")
    for name in ("models_store", "models_name", "alert_address"):
        assert asked[name] == settings[name.upper()]


def test_an_object_store_outside_the_servers_namespace_is_let_in_by_the_component(tmp_path: Path):
    without, built = build("gpu"), with_component(tmp_path, "object-store")
    assert reaches(without, "kubeflow", 9000)
    assert not reaches(without, "minio", 9000)
    assert reaches(built, "minio", 9000)
    assert not reaches(built, "minio", 9001)
    assert not reaches(built, "elsewhere", 9000)


def test_the_jobs_role_has_the_rights_that_a_schedule_takes(resources: list[dict[str, Any]]):
    roles = {each["metadata"]["name"]: each for each in resources if each["kind"] == "Role"}
    granted = {
        resource: set(rule["verbs"])
        for rule in roles[f"{NAME}-schedule"]["rules"]
        for resource in rule["resources"]
    }
    read = {"get", "list"}
    assert granted == {
        "pipelines": read | {"create"},
        "pipelines/versions": read | {"create"},
        "experiments": read | {"create"},
        "runs": read,
        "jobs": read | {"create", "disable", "enable", "delete"},
    }


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


def test_the_projects_namespace_is_a_profiles_and_keeps_pods_restricted():
    labels = one(build("multi-user"), "Namespace")["metadata"]["labels"]
    assert labels["app.kubernetes.io/part-of"] == "kubeflow-profile"
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
