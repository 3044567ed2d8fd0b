"""The compiled documents: strict against the published protos, equal to the golden ones, light to make."""
# Generated protobuf modules carry no types.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.json_format import ParseDict
from kfp.compiler import Compiler
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineDeploymentConfig, PipelineSpec, PlatformSpec
from outline import outline

from components.client.presets import PRESETS
from components.core.project import TASK_NAMES, TRAININGS
from pipeline import build_pipeline

ON_GPUS = (*TRAININGS, "monitor", "predict")

ROOT = Path(__file__).parents[2]
HEAVY = (
    *("torch", "torchvision", "transformers", "tokenizers", "safetensors", "cleanlab", "sklearn", "scipy"),
    *("pandas", "numpy", "pyarrow", "PIL", "simplejpeg", "jinja2", "matplotlib"),
)
# What the pipelines UI draws.
SHOWN = ("HTML", "Markdown", "Metrics", "ClassificationMetrics")


def compiled(folder: Path, *options: str) -> Path:
    """The compiled pipeline, made with kfp alone: heavy packages cannot be imported."""
    script = (
        "import sys, runpy\n"
        f"for name in {HEAVY!r}: sys.modules[name] = None\n"
        f"sys.argv[0] = {str(ROOT / 'pipeline.py')!r}\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    path = folder / "pipeline.yaml"
    command = [sys.executable, "-c", script, "compile", "--output", str(path), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return path


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pipeline's document and the platform's."""
    spec, platform = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    return spec, platform


@pytest.fixture(scope="module", params=sorted(PRESETS))
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, compiled(tmp_path_factory.mktemp("compiled"), "--preset", request.param)


@pytest.fixture(scope="module")
def documents(package: tuple[str, Path]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    preset, path = package
    return preset, *read(path)


def executors(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return spec["deploymentSpec"]["executors"]


def tasks(dag: dict[str, Any], spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every task of the graph with those inside loops, by component."""
    found = {}
    for task in dag["tasks"].values():
        component = spec["components"][task["componentRef"]["name"]]
        if "dag" in component:
            found |= tasks(component["dag"], spec)
        else:
            found[component["executorLabel"] + task["taskInfo"]["name"]] = task
    return found


def group(spec: dict[str, Any], name: str) -> dict[str, Any]:
    """The tasks of the group that holds a task of this name."""
    parts = [spec["root"], *spec["components"].values()]
    return next(part["dag"]["tasks"] for part in parts if name in part.get("dag", {}).get("tasks", {}))


def loops_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The groups of trainings that are repeated: all that are, but for the shards of the catalog."""
    loops = [part for name, part in spec["components"].items() if name.startswith("comp-for-loop")]
    return [loop for loop in loops if set(loop["dag"]["tasks"]) != {"preprocess-shard"}]


def test_its_outline_is_the_golden_one(package):
    preset, path = package
    golden = (ROOT / "tests" / "deploy" / "golden" / f"{preset}.txt").read_text(encoding="utf-8")
    assert outline(path) == golden, "after a change that is meant: python tests/support/renew_golden.py"


def test_the_defaults_are_the_presets(documents):
    preset, spec, _ = documents
    expected = {**PRESETS[preset], "denoise_config": denoise_config(preset)}
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    shared = set(parameters) & set(expected)
    assert len(shared) == 7
    assert {name: parameters[name]["defaultValue"] for name in shared} == {
        name: expected[name] for name in shared
    }


def denoise_config(preset: str) -> dict[str, Any]:
    return PRESETS[preset]["denoise_configs"][PRESETS[preset]["denoise_on"]]


def test_every_report_and_metric_says_its_stage(documents):
    _, spec, _ = documents
    shown = [
        (component["executorLabel"].removeprefix("exec-").split("-")[0], name)
        for component in spec["components"].values()
        if "executorLabel" in component
        for name, each in component.get("outputDefinitions", {}).get("artifacts", {}).items()
        if each["artifactType"]["schemaTitle"].removeprefix("system.") in SHOWN
    ]
    assert {stage for stage, _ in shown} == set(TASK_NAMES)
    assert all(name.startswith(f"{stage}_") for stage, name in shown)


def test_one_pipeline_is_one_file_byte_for_byte(package, tmp_path: Path):
    preset, path = package
    assert compiled(tmp_path, "--preset", preset).read_bytes() == path.read_bytes()


def test_what_no_person_sets_is_no_parameter(documents):
    _, spec, _ = documents
    assert not {"facts", "metadata", "graph"} & set(spec["root"]["inputDefinitions"]["parameters"])


def test_what_checks_evaluates_and_promotes_is_never_cached(documents):
    _, spec, _ = documents
    cached = {name: bool(task["cachingOptions"]) for name, task in tasks(spec["root"]["dag"], spec).items()}
    assert {name for name, each in cached.items() if not each} == {
        *("exec-check-parameterscheck-parameters", "exec-evaluateevaluate"),
        *("exec-promotepromote", "exec-no-models-storeno-models-store"),
        *("exec-monitormonitor", "exec-not-trainednot-trained", "exec-alertalert"),
    }


def test_both_documents_fit_the_published_protos(documents):
    _, spec, platform = documents
    parsed = ParseDict(spec, PipelineSpec())
    assert len(ParseDict(spec["deploymentSpec"], PipelineDeploymentConfig()).executors) >= len(TASK_NAMES)
    assert parsed.pipeline_info.name == "product-categorization"
    assert "kubernetes" in ParseDict(platform, PlatformSpec()).platforms
    configured = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(configured) == set(executors(spec))
    for config in configured.values():
        ParseDict(config, KubernetesExecutorConfig())


def test_an_unknown_field_would_be_refused(documents):
    with pytest.raises(Exception, match="no field named"):
        ParseDict({"shareMemory": "8Gi"}, KubernetesExecutorConfig())


def test_only_what_runs_networks_asks_for_accelerators_and_shared_memory(documents):
    _, spec, platform = documents
    configured = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for name, executor in executors(spec).items():
        training = executor["container"]["image"].rsplit("/", 1)[1].split(":")[0] in ON_GPUS
        assert ("accelerator" in executor["container"]["resources"]) == training, name
        mounts = [mount["mountPath"] for mount in configured[name].get("emptyDirMounts", [])]
        assert mounts == (["/dev/shm"] if training else []), name
        assert ("tolerations" in configured[name]) == training, name
        assert ("nodeSelector" in configured[name]) == training, name


def test_a_parameter_that_sets_a_pod_reaches_the_loop_it_is_used_in(documents):
    _, spec, platform = documents
    text = json.dumps([spec["deploymentSpec"], platform])
    used = {name for name in spec["root"]["inputDefinitions"]["parameters"] if f"channel--{name}" in text}
    assert used == {"cluster_accelerator_count", "cluster_node_selector", "cluster_tolerations"}
    loops = loops_of(spec)
    assert len(loops) == 3
    for loop in loops:
        assert {f"pipelinechannel--{name}" for name in used} <= set(loop["inputDefinitions"]["parameters"])


def test_the_tasks_of_a_loop_ask_for_an_accelerator_where_one_of_them_uses_it(documents):
    _, spec, _ = documents
    asked = {
        name.removeprefix("exec-"): executor["container"]["resources"]["accelerator"]["resourceType"]
        for name, executor in executors(spec).items()
        if "accelerator" in executor["container"]["resources"]
    }
    loops = [part["dag"]["tasks"] for part in loops_of(spec)]
    for name, task in {name: task for loop in loops for name, task in loop.items()}.items():
        parameters = task["inputs"]["parameters"]
        output = parameters["gpu_type"]["componentInputParameter"]
        stage, folds = task["taskInfo"]["name"].split("-")[0], parameters.get("folds") or parameters["fold"]
        suffix = "_fold" if "componentInputParameter" in folds else ""
        assert output == f"pipelinechannel--check-parameters-{stage}{suffix}"
        assert asked[name] == f"{{{{$.inputs.parameters['{output}']}}}}"


def test_preprocess_starts_when_what_the_run_was_given_is_checked_and_is_not_cached_by_it(documents):
    _, spec, _ = documents
    task = group(spec, "preprocess")["preprocess-read"]
    assert task["dependentTasks"] == ["check-parameters"]
    given = parameters_of(task)
    assert {name.partition("_")[0] for name in given} == {"catalog", "preprocess"}


def test_what_says_how_products_are_split_renews_the_merge_alone(documents):
    _, spec, _ = documents
    graph = group(spec, "preprocess")
    of_shard = parameters_of(group(spec, "preprocess-shard")["preprocess-shard"])
    assert of_shard == {"preprocess-read-Output-loop-item", "preprocess_config"} | {
        *("catalog_images", "catalog_snapshot"),
    }
    alone = parameters_of(graph["preprocess"]) - parameters_of(graph["preprocess-read"]) - of_shard
    assert alone == {"catalog_earlier_profile", "denoise_folds", "seed"}


def test_a_training_waits_for_the_products_to_categorize_and_reads_nothing_of_them(documents):
    _, spec, _ = documents
    before, trained = group(spec, "preprocess"), group(spec, "evaluate")
    (branches,) = [task for name, task in before.items() if name.startswith("condition-branches")]
    assert "preprocess-new" in branches["dependentTasks"]
    reading = {name for name, task in trained.items() if "preprocess-new" in str(task.get("inputs"))}
    assert reading == {"predict", "evaluate"}
    given = parameters_of(before["preprocess-read"]) | parameters_of(before["preprocess"])
    assert not any(name.startswith("catalog_test") for name in given)


def parameters_of(task: dict[str, Any]) -> set[str]:
    """The pipeline's parameters that a task reads."""
    given = task["inputs"]["parameters"].values()
    return {each["componentInputParameter"].removeprefix("pipelinechannel--") for each in given}


def conditions(spec: dict[str, Any]) -> list[list[str]]:
    """The conditions of every group of branches."""
    branches = [part["dag"]["tasks"] for name, part in spec["components"].items() if "branches" in name]
    return [[task["triggerPolicy"]["condition"] for task in tasks.values()] for tasks in branches]


def test_every_if_has_an_else_so_that_a_run_that_trains_nothing_ends_as_complete(documents):
    _, spec, _ = documents
    parts = [spec["root"], *spec["components"].values()]
    graphs = [part["dag"]["tasks"] for part in parts if "dag" in part]
    alone = [
        task
        for tasks in graphs
        for task in tasks.values()
        if task.get("triggerPolicy", {}).get("condition") and len(tasks) == 1
    ]
    assert alone == []
    assert len(conditions(spec)) == 2
    for first, second in conditions(spec):
        assert {first, second} == {(plain := min(first, second, key=len)), f"!({plain})"}


def test_the_alert_is_told_how_all_other_tasks_ended_and_alone_reads_the_webhooks_address(tmp_path: Path):
    spec, platform = read(compiled(tmp_path, "--secret=keys"))
    root = spec["root"]["dag"]["tasks"]
    assert set(root) == {"exit-handler-1", "alert"}
    assert root["alert"]["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    ended = root["alert"]["inputs"]["parameters"]["status"]
    assert ended == {"taskFinalStatus": {"producerTask": "exit-handler-1"}}
    configured = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert {name for name, each in configured.items() if "ALERT_WEBHOOK" in str(each)} == {"exec-alert"}


def test_every_task_is_tried_again_with_backoff_and_never_runs_as_root(documents):
    _, spec, platform = documents
    for name, task in tasks(spec["root"]["dag"], spec).items():
        policy = task["retryPolicy"]
        assert policy["maxRetryCount"] == 3, name
        assert policy["backoffFactor"] == 2
    for config in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
        assert config["securityContext"] == {"runAsNonRoot": True}
        run_id = {"name": "PIPELINE_RUN_ID", "fieldPath": "metadata.labels['pipeline/runid']"}
        assert config["fieldPathAsEnv"] == [run_id]
        assert config["podMetadata"]["labels"] == {"app.kubernetes.io/name": "product-categorization"}
        assert int(config["activeDeadlineSeconds"]) > 0


def test_registry_and_tag_make_the_images(tmp_path: Path):
    spec, _ = read(
        compiled(tmp_path, "--preset", "paper", "--registry", "registry.example/team", "--tag", "1.2.3")
    )
    images = {executor["container"]["image"] for executor in executors(spec).values()}
    assert images == {f"registry.example/team/{stage}:1.2.3" for stage in TASK_NAMES}


@pytest.mark.parametrize("name", ["preprocess-read", "preprocess-shard", "preprocess", "preprocess-new"])
def test_the_snapshot_is_part_of_what_preprocess_is_cached_by(documents, name: str):
    _, spec, _ = documents
    task = group(spec, name)[name]
    assert "catalog_snapshot" in parameters_of(task)
    assert task["cachingOptions"] == {"enableCache": True}


def test_settings_reach_every_pod(tmp_path: Path):
    options = ["--no-cache", "--volume=disk", "--mount=/disk", "--secret=keys", "--retries=0", "--timeout=0"]
    options.append("--checkpoint-days=3")
    spec, platform = read(compiled(tmp_path, *options))
    assert all(not task["cachingOptions"] for task in tasks(spec["root"]["dag"], spec).values())
    assert not any("retryPolicy" in task for task in tasks(spec["root"]["dag"], spec).values())
    assert (
        spec["root"]["inputDefinitions"]["parameters"]["cluster_checkpoints"]["defaultValue"]
        == "/disk/checkpoints"
    )
    for name, executor in spec["deploymentSpec"]["executors"].items():
        set_to = {each["name"]: each["value"] for each in executor["container"].get("env", [])}
        training = name.removeprefix("exec-").split("-")[0] in ON_GPUS
        assert set_to.get("HF_HOME") == ("/disk/weights/huggingface" if training else None)
        assert set_to.get("PIPELINE_CHECKPOINT_DAYS") == ("3" if training else None)
    for config in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
        assert [mount["mountPath"] for mount in config["pvcMount"]] == ["/disk"]
        assert config["secretAsEnv"][0]["secretName"] == "keys"
        assert config["secretAsEnv"][0]["optional"] is True


def test_no_stage_installs_a_package_when_it_starts(documents):
    _, spec, _ = documents
    assert "pip install" not in json.dumps(spec["deploymentSpec"])


@pytest.mark.parametrize(
    "choice, predicts", [("text", {"text"}), ("image", {"image"}), ("both", {"text", "image"})]
)
def test_denoising_reads_the_folds_that_were_chosen(tmp_path: Path, choice: str, predicts: set[str]):
    spec, _ = read(compiled(tmp_path, "--denoise-on", choice))
    denoise = group(spec, "denoise")["denoise"]
    artifacts = denoise["inputs"]["artifacts"]
    assert {name.removesuffix("_folds") for name in artifacts if name.endswith("_folds")} == predicts
    settings = spec["root"]["inputDefinitions"]["parameters"]["denoise_config"]["defaultValue"]
    assert settings == PRESETS["laptop"]["denoise_configs"][choice]


def test_a_fusion_end_to_end_is_placed_as_a_training(tmp_path: Path):
    joint = {"name": "joint", "kind": "concat", "training": "end_to_end"}
    preset = {**PRESETS["paper"], "fusion_configs": [*PRESETS["paper"]["fusion_configs"], joint]}
    path = tmp_path / "pipeline.yaml"
    Compiler().compile(build_pipeline(preset), str(path))
    spec, platform = read(path)
    assert "accelerator" in executors(spec)["exec-fusion"]["container"]["resources"]
    placed = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-fusion"]
    assert placed["emptyDirMounts"][0]["mountPath"] == "/dev/shm"
    assert "tolerations" in placed
