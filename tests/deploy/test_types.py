"""The server's rule of types: its driver refuses a task whose input has another type than what feeds it.

The compiler does not check it where a loop runs over a parameter annotated as a bare `list`.
"""
# Generated functions of kfp carry no types.
# pyright: reportArgumentType=false

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp.compiler import Compiler

from components.client.presets import DENOISE_ON, PRESETS
from pipeline import build_pipeline

ROOT = Path(__file__).parents[2]


def compiled(graph: Any, folder: Path) -> dict[str, Any]:
    path = folder / "pipeline.yaml"
    Compiler().compile(graph, str(path))
    return next(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def mismatches(spec: dict[str, Any]) -> list[str]:
    """Every input of a task, at every level, that has another type than its source."""
    parts = {**spec["components"], "root": spec["root"]}
    graphs = {name: part for name, part in parts.items() if "dag" in part}
    return [
        f"{name}, task {task}: {problem}"
        for name, part in graphs.items()
        for task in part["dag"]["tasks"]
        for kind in ("parameter", "artifact")
        for problem in _of_task(part, task, parts, kind)
    ]


def _of_task(part: dict[str, Any], task: str, parts: dict[str, Any], kind: str) -> Iterator[str]:
    tasks = part["dag"]["tasks"]
    of_task = {name: parts[each["componentRef"]["name"]] for name, each in tasks.items()}
    # What a pod's placeholders read is an input of the task that its component does not declare.
    declared = of_task[task].get("inputDefinitions", {}).get(f"{kind}s", {})
    for name, given in tasks[task].get("inputs", {}).get(f"{kind}s", {}).items():
        source = None
        if inner := given.get(f"componentInput{kind.capitalize()}"):
            source = part["inputDefinitions"][f"{kind}s"][inner]
        elif output := given.get(f"taskOutput{kind.capitalize()}"):
            made = of_task[output["producerTask"]]["outputDefinitions"][f"{kind}s"]
            source = made[output[f"output{kind.capitalize()}Key"]]
        if source and name in declared and _type(source) != _type(declared[name]):
            yield f"{name} is {_type(declared[name])}, got {_type(source)}"


def _type(definition: dict[str, Any]) -> str:
    return definition.get("parameterType") or definition["artifactType"]["schemaTitle"]


@pytest.mark.parametrize("denoise_on", DENOISE_ON)
@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_what_feeds_a_task_has_its_inputs_type(preset: dict[str, Any], denoise_on: str, tmp_path: Path):
    spec = compiled(build_pipeline({**preset, "denoise_on": denoise_on}), tmp_path)
    assert mismatches(spec) == []


@pytest.mark.parametrize(
    ("parameter", "problem"),
    [
        ("denoise_folds: list[int]", "fold is NUMBER_INTEGER, got STRING"),
        ("text_configs: list[dict]", "config is STRUCT, got STRING"),
        ("image_configs: list[dict]", "config is STRUCT, got STRING"),
    ],
)
def test_a_bare_list_to_loop_over_breaks_the_rule(parameter: str, problem: str, tmp_path: Path):
    source = (ROOT / "pipeline.py").read_text(encoding="utf-8")
    assert parameter in source
    twin: dict[str, Any] = {"__name__": "twin"}
    bare = parameter.partition("[")[0]
    exec(compile(source.replace(parameter, bare), "twin.py", "exec"), twin)
    found = mismatches(compiled(twin["build_pipeline"](PRESETS["laptop"]), tmp_path))
    assert any(problem in each for each in found), found
