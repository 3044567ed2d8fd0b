"""The pipeline as Kubernetes resources, for clusters that store pipelines there."""
# Generated protobuf modules carry no types.
# pyright: reportAttributeAccessIssue=false

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from google.protobuf.json_format import ParseDict
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec, PlatformSpec
from kustomize import MANIFESTS, build, one

from components.core.project import NAME, REGISTRY, TAG, TASK_NAMES
from pipeline import main

ROOT = MANIFESTS.parent
MUTABLE = ("displayName", "tags")  # all that the server lets a stored pipeline change


class Cluster:
    """Takes resources as `kubectl apply` does where the pipelines' own rule guards what is stored."""

    def __init__(self) -> None:
        self.stored: dict[tuple[str, ...], dict[str, Any]] = {}

    def apply(self, resources: list[dict[str, Any]]) -> None:
        """Raises ValueError where a stored pipeline or version would change."""
        for resource in resources:
            metadata = resource["metadata"]
            assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", metadata["name"])
            key = (resource["kind"], metadata["namespace"], metadata["name"])
            fixed = {name: value for name, value in resource["spec"].items() if name not in MUTABLE}
            if self.stored.setdefault(key, fixed) != fixed:
                raise ValueError("Pipeline spec is immutable; only mutable fields can be updated")


def resources(folder: Path, *options: str) -> list[dict[str, Any]]:
    """The overlay, made by its one command."""
    shutil.copytree(MANIFESTS, folder / "manifests", dirs_exist_ok=True)
    target = folder / "manifests" / "overlays" / "pipeline-resources"
    command = ["make", "--silent", "pipeline-resources", f"PYTHON={sys.executable}", f"RESOURCES={target}"]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return build("pipeline-resources", folder / "manifests")


def test_they_fit_the_pipelines_own_schema(tmp_path: Path):
    made = resources(tmp_path)
    pipeline, version = one(made, "Pipeline"), one(made, "PipelineVersion")
    assert version["spec"]["pipelineName"] == pipeline["metadata"]["name"] == NAME
    ParseDict(version["spec"]["pipelineSpec"], PipelineSpec())
    ParseDict(version["spec"]["platformSpec"], PlatformSpec())
    executors = version["spec"]["pipelineSpec"]["deploymentSpec"]["executors"].values()
    images = {executor["container"]["image"] for executor in executors}
    assert images == {f"{REGISTRY}/{stage}:{TAG}" for stage in TASK_NAMES}
    configured = version["spec"]["platformSpec"]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert {each["secretAsEnv"][0]["secretName"] for each in configured.values()} == {NAME}


@pytest.mark.parametrize(("options", "namespace"), [([], "kubeflow"), (["NAMESPACE=team"], "team")])
def test_they_are_in_the_namespace_that_was_asked_for(tmp_path: Path, options: list[str], namespace: str):
    assert {each["metadata"]["namespace"] for each in resources(tmp_path, *options)} == {namespace}


def compiled(folder: Path, *options: str) -> list[dict[str, Any]]:
    """Resources with options of `compile` that change what the pipeline says."""
    target = folder / "manifests" / "overlays" / "pipeline-resources" / "pipeline.yaml"
    shutil.copytree(MANIFESTS, folder / "manifests", dirs_exist_ok=True)
    command = ["compile", "--manifest", "--output", str(target), *options]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    return build("pipeline-resources", folder / "manifests")


def test_another_content_under_the_same_tag_is_another_version(tmp_path: Path):
    cluster = Cluster()
    first = compiled(tmp_path / "1", "--tag", "1.0.0", "--memory", "8Gi")
    second = compiled(tmp_path / "2", "--tag", "1.0.0", "--memory", "16Gi")
    for made in (first, first, second, first):
        cluster.apply(made)
    names = [one(made, "PipelineVersion")["metadata"]["name"] for made in (first, second)]
    shown = [one(made, "PipelineVersion")["spec"]["displayName"] for made in (first, second)]
    assert len(set(names)) == len(set(shown)) == 2
    assert all(name.startswith("1.0.0-") for name in shown)
    assert sorted(kind for kind, _, _ in cluster.stored) == ["Pipeline", "PipelineVersion", "PipelineVersion"]


def test_the_rule_of_the_cluster_would_be_met(tmp_path: Path):
    cluster = Cluster()
    first, second = compiled(tmp_path / "1"), compiled(tmp_path / "2", "--memory", "16Gi")
    cluster.apply(first)
    one(second, "PipelineVersion")["metadata"] = one(first, "PipelineVersion")["metadata"]
    with pytest.raises(ValueError, match="immutable"):
        cluster.apply(second)


def test_a_tag_that_is_no_kubernetes_name_is_taken(tmp_path: Path):
    Cluster().apply(compiled(tmp_path, "--tag", "Feature_X"))


def test_a_namespace_without_resources_is_refused(tmp_path: Path):
    command = ["compile", "--namespace", "team", "--output", str(tmp_path / "pipeline.yaml")]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert "only resources have one, add --manifest" in done.output
