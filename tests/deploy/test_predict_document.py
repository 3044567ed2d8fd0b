"""The compiled document of the second pipeline: its outline, the published protos, the server's types."""
# Generated protobuf modules carry no types.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import command
from google.protobuf.json_format import ParseDict
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec, PlatformSpec
from outline import outline
from server_types import mismatches

from components.core.project import NAME

GOLDEN = Path(__file__).parent / "golden" / "predict.txt"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compiled") / "predict.yaml"
    command("compile", "--pipeline", "predict", "--preset", "paper", "--output", path)
    return path


@pytest.fixture(scope="module")
def documents(compiled: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(compiled.read_text(encoding="utf-8")))


def test_its_outline_is_the_golden_one(compiled: Path):
    golden = GOLDEN.read_text(encoding="utf-8")
    assert outline(compiled) == golden, "after a change that is meant: python tests/support/renew_golden.py"


def test_both_documents_fit_the_published_protos(documents: list[dict[str, Any]]):
    spec, platform = documents
    assert ParseDict(spec, PipelineSpec()).pipeline_info.name == f"{NAME}-predict"
    ParseDict(platform, PlatformSpec())
    configured = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(configured) == set(spec["deploymentSpec"]["executors"])
    for config in configured.values():
        ParseDict(config, KubernetesExecutorConfig())


def test_what_feeds_a_task_has_its_inputs_type(documents: list[dict[str, Any]]):
    assert mismatches(documents[0]) == []


def test_whatever_becomes_of_it_its_last_task_tells(documents: list[dict[str, Any]]):
    tasks = documents[0]["root"]["dag"]["tasks"]
    assert set(tasks) == {"exit-handler-1", "alert"}
    assert tasks["alert"]["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}


def test_nothing_is_cached_and_the_shards_alone_ask_for_what_the_plan_says(documents: list[dict[str, Any]]):
    spec, _ = documents
    graphs = [spec["root"], *(each for each in spec["components"].values() if "dag" in each)]
    tasks = {name: task for graph in graphs for name, task in graph["dag"]["tasks"].items()}
    assert [name for name, task in tasks.items() if task.get("cachingOptions")] == []
    asking = {
        name: executor["container"]["resources"]["accelerator"]["resourceType"]
        for name, executor in spec["deploymentSpec"]["executors"].items()
        if "accelerator" in executor["container"]["resources"]
    }
    wanted = "{{$.inputs.parameters['pipelinechannel--predict-plan-accelerator']}}"
    assert asking == {"exec-predict-shard": wanted}
