"""What a pod asks of the cluster, as the compiled documents say it."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from components.client.cluster.settings import ALERT_KEYS, REGISTRY_KEYS, SECRET_KEYS, ClusterSettings
from components.client.commands.compile import compile_pipeline
from components.core.errors import InputError
from components.core.project import REGISTRY, TRAININGS, check_image
from pipeline import build_pipeline, main

ON_GPUS = (*TRAININGS, "monitor", "predict")

YEAR = 8760 * 3600
SECONDS = {"0s": 0, "10s": 10, "2m": 120}


def compiled_tasks(folder: Path, settings: ClusterSettings) -> tuple[list[tuple[str, dict[str, Any]]], dict]:
    """Every task with its stage's name, and what each executor asks of Kubernetes."""
    path = folder / "pipeline.yaml"
    compile_pipeline(build_pipeline, "laptop", path, settings=settings)
    spec, platform = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    dags = [spec["root"]["dag"], *(each["dag"] for each in spec["components"].values() if "dag" in each)]
    tasks = [task for dag in dags for task in dag["tasks"].values() if "iteratorPolicy" not in task]
    components = {name: one.get("executorLabel") for name, one in spec["components"].items()}
    images = {label: one["container"]["image"] for label, one in spec["deploymentSpec"]["executors"].items()}
    found = []
    for task in tasks:
        if label := components[task["componentRef"]["name"]]:
            found.append((images[label].rsplit("/", 1)[1].split(":")[0], task))
    return found, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


@pytest.mark.parametrize(
    ("retries", "timeout", "training_timeout", "wait"),
    [*itertools.product([0, 3], [0, 600], [0, 7200], ["0s", "10s"]), (1, 600, 7200, "2m")],
)
def test_all_attempts_at_their_longest_fit_into_the_time_for_all(
    tmp_path: Path, retries: int, timeout: int, training_timeout: int, wait: str
):
    settings = ClusterSettings(
        retries=retries,
        timeout=timeout,
        training_timeout=training_timeout,
        retry_wait=wait,
        training_retry_wait=wait,
    )
    tasks, _ = compiled_tasks(tmp_path, settings)
    assert {stage for stage, _ in tasks} >= set(ON_GPUS)
    for stage, task in tasks:
        if retries == 0:
            assert "retryPolicy" not in task, stage
            continue
        policy = task["retryPolicy"]
        limit = training_timeout if stage in ON_GPUS else timeout
        waits = [SECONDS[wait] * policy["backoffFactor"] ** attempt for attempt in range(retries)]
        expected = (policy["maxRetryCount"] + 1) * limit + sum(waits) if limit else YEAR
        assert policy["maxRetryCount"] == retries
        assert int(policy["backoffMaxDuration"].removesuffix("s")) == expected, stage
        assert int(policy["backoffDuration"].removesuffix("s")) == SECONDS[wait], stage


def test_what_trains_nothing_waits_ten_seconds_before_it_is_tried_again(tmp_path: Path):
    tasks, _ = compiled_tasks(tmp_path, ClusterSettings())
    waits = {stage: task["retryPolicy"]["backoffDuration"] for stage, task in tasks}
    assert {stage for stage, wait in waits.items() if wait == "60s"} == set(ON_GPUS)
    assert {wait for stage, wait in waits.items() if stage not in ON_GPUS} == {"10s"}


def test_a_longest_time_that_no_message_can_hold_is_not_reached(tmp_path: Path):
    tasks, _ = compiled_tasks(tmp_path, ClusterSettings(retries=20, retry_wait="24h", timeout=10**6))
    assert all(float(task["retryPolicy"]["backoffMaxDuration"][:-1]) < 3e11 for _, task in tasks)


def test_the_secret_holds_nothing_that_the_launcher_reads(tmp_path: Path):
    _, executors = compiled_tasks(tmp_path, ClusterSettings(secret="keys"))
    for name, executor in executors.items():
        (secret,) = executor["secretAsEnv"]
        own = {"exec-alert": ALERT_KEYS, "exec-promote": REGISTRY_KEYS}.get(name, ())
        expected = [*SECRET_KEYS, *own]
        variables = [each["envVar"] for each in secret["keyToEnv"]]
        assert variables == [each["secretKey"] for each in secret["keyToEnv"]] == expected, name
        assert not any(variable.startswith(("AWS_", "GOOGLE_", "MINIO_")) for variable in variables)


@pytest.mark.parametrize(
    ("setting", "value", "rule"),
    [
        ("memory", "8GB", "--memory 8GB: expected a Kubernetes quantity such as 512Mi, 8Gi or 8G"),
        ("training_memory", "lots", "--training-memory lots: expected a Kubernetes quantity"),
        ("shared_memory", "1.5Gi", "--shared-memory 1.5Gi: expected a Kubernetes quantity"),
        ("cpu", "two", "--cpu two: expected a number of processors such as 2, 0.5 or 500m"),
        ("training_cpu", "1.5m", "--training-cpu 1.5m: expected a number of processors"),
        ("retry_wait", "banana", "--retry-wait banana: expected a whole number of seconds, minutes or hours"),
        ("training_retry_wait", "60", "--training-retry-wait 60: expected a whole number of seconds"),
        ("mount", "disk", "--mount disk: expected an absolute path"),
        ("volume", "My disk", "--volume My disk: expected a Kubernetes name"),
        ("secret", "a/b", "--secret a/b: expected a Kubernetes name"),
        ("retries", -1, "--retries -1: expected 0 to 20"),
        ("retries", 21, "--retries 21: expected 0 to 20"),
        ("timeout", -1, "--timeout, --training-timeout and --checkpoint-days: expected 0 or more"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_with_its_rule(setting: str, value: object, rule: str):
    with pytest.raises(InputError) as caught:
        ClusterSettings(**{setting: value})  # type: ignore[arg-type]
    assert str(caught.value).startswith(rule)


@pytest.mark.parametrize(
    "registry",
    [
        "https://ghcr.io/team",
        "Ghcr.io/Team X",
        "ghcr.io/Team",
        "",
        "a//b",
        "ghcr.io/a:1",
        "-a/b",
        "a b",
        "{{$}}",
    ],
)
def test_a_registry_that_no_node_can_pull_from_is_refused(registry: str, tmp_path: Path):
    options = ["compile", "--output", str(tmp_path / "p.yaml"), "--registry", registry]
    refused = CliRunner().invoke(main, options)
    assert refused.exit_code == 2
    assert f"error: --registry {registry!r}: expected a host and a path" in refused.output
    assert not (tmp_path / "p.yaml").exists()


@pytest.mark.parametrize("tag", ["1.0 beta", "v1:2", "é", "", ".a", "-a", "a" * 129, "a/b"])
def test_a_tag_that_no_node_can_pull_is_refused(tag: str, tmp_path: Path):
    refused = CliRunner().invoke(main, ["compile", "--output", str(tmp_path / "p.yaml"), "--tag", tag])
    assert refused.exit_code == 2
    assert f"error: --tag {tag!r}: expected letters" in refused.output


@pytest.mark.parametrize("registry", [REGISTRY, "registry.example/team/", "10.0.0.1:5000/a__b/c"])
def test_registries_that_nodes_pull_from_are_taken(registry: str):
    check_image(registry, "1.0_beta-2.x")


@pytest.mark.parametrize("value", ["", "1", "8Gi", "512Mi", "8G", "100Ki"])
def test_sizes_that_kubernetes_reads_are_taken(value: str, tmp_path: Path):
    compiled_tasks(tmp_path, ClusterSettings(memory=value, shared_memory=value))


@pytest.mark.parametrize("value", ["", "2", "0.5", "500m"])
def test_processors_that_kubernetes_reads_are_taken(value: str, tmp_path: Path):
    compiled_tasks(tmp_path, ClusterSettings(cpu=value))


def test_the_command_line_says_the_rule_and_what_no_retries_mean():
    refused = CliRunner().invoke(main, ["compile", "--memory", "8GB"])
    assert refused.exit_code == 2
    assert "error: --memory 8GB: expected a Kubernetes quantity" in refused.output
    explained = " ".join(CliRunner().invoke(main, ["compile", "--help"]).output.split())
    assert "0 leaves it to the default of the cluster's controller" in explained
