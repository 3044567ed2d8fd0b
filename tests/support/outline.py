"""What a person reviews of a compiled pipeline: parameters, tasks, what feeds them, their pods."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHANNEL = "pipelinechannel--"
OLD_RESOURCES = (
    "cpuLimit",
    "cpuRequest",
    "memoryLimit",
    "memoryRequest",
)  # the same as numbers, for old servers


def outline(compiled: Path) -> str:
    """An outline of a compiled pipeline: the pipeline's document and the platform's."""
    spec, platform = yaml.safe_load_all(compiled.read_text(encoding="utf-8"))
    pods: dict[str, list[str]] = {}
    tasks = list(_graph(spec["root"]["dag"], spec, platform, pods))
    lines = ["parameters", *_indented(_parameters(spec)), "", "tasks", *_indented(tasks)]
    for pod, names in pods.items():
        lines += ["", f"pods of {', '.join(names)}", *_indented(pod.splitlines())]
    return "\n".join(lines) + "\n"


def _parameters(spec: dict[str, Any]) -> Iterator[str]:
    for name, each in spec["root"]["inputDefinitions"]["parameters"].items():
        # Lists and objects are the preset's, whose own file is read.
        plain = not isinstance(each["defaultValue"], list | dict)
        yield f"{name}: {each['parameterType']}" + (f" = {_json(each['defaultValue'])}" if plain else "")


def _graph(
    dag: dict[str, Any], spec: dict[str, Any], platform: dict[str, Any], pods: dict[str, list[str]]
) -> Iterator[str]:
    for name in _in_order(dag["tasks"]):
        task = dag["tasks"][name]
        component = spec["components"][task["componentRef"]["name"]]
        if "dag" in component:
            yield f"{name}{_when(task)}"
            yield from _indented(_graph(component["dag"], spec, platform, pods))
        else:
            image = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]["image"]
            yield f"{name} in {image}"
            if "dependentTasks" in task:
                yield f"  after {', '.join(task['dependentTasks'])}"
            yield from _indented([*_inputs(task, component), *_outputs(component)])
            pod = "\n".join(_pod(component["executorLabel"], task, spec, platform))
            pods.setdefault(pod, []).append(name)


def _when(task: dict[str, Any]) -> str:
    """What a group's tasks run over, and on what condition."""
    condition = task.get("triggerPolicy", {}).get("condition", "")
    items = task.get("parameterIterator", {}).get("items", {}).get("inputParameter", "")
    found = [f"each of {items}"] * bool(items) + [f"if {condition}"] * bool(condition)
    return "".join(f", {each.replace(CHANNEL, '')}" for each in found)


def _in_order(tasks: dict[str, Any]) -> list[str]:
    done: list[str] = []
    while len(done) < len(tasks):
        ready = (name for name in tasks if set(tasks[name].get("dependentTasks", [])) <= set(done))
        done.append(next(name for name in ready if name not in done))
    return done


def _inputs(task: dict[str, Any], component: dict[str, Any]) -> Iterator[str]:
    for kind in ("Artifact", "Parameter"):
        given = task.get("inputs", {}).get(f"{kind.lower()}s", {})
        for name, each in component.get("inputDefinitions", {}).get(f"{kind.lower()}s", {}).items():
            if name in given:
                yield f"{name}: {_type(each)} <- {_source(given[name], kind)}"


def _outputs(component: dict[str, Any]) -> Iterator[str]:
    for outputs in component.get("outputDefinitions", {}).values():
        yield from (f"-> {name}: {_type(each)}" for name, each in outputs.items())


def _type(each: dict[str, Any]) -> str:
    name = each.get("parameterType") or each["artifactType"]["schemaTitle"].removeprefix("system.")
    return name + (", a list" if each.get("isArtifactList") else "")


def _source(given: dict[str, Any], kind: str) -> str:
    if "runtimeValue" in given:
        return _json(given["runtimeValue"]["constant"])
    if output := given.get(f"taskOutput{kind}"):
        return f"{output['producerTask']}-{output[f'output{kind}Key'].replace(CHANNEL, '')}"
    if "taskFinalStatus" in given:
        return f"how {given['taskFinalStatus']['producerTask']} ended"
    return given[f"componentInput{kind}"].removeprefix(CHANNEL)


def _pod(label: str, task: dict[str, Any], spec: dict[str, Any], platform: dict[str, Any]) -> Iterator[str]:
    container = spec["deploymentSpec"]["executors"][label]["container"]
    resources = {key: each for key, each in container["resources"].items() if key not in OLD_RESOURCES}
    configured = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"][label]
    settings = {
        "resources": resources,
        "retries": task.get("retryPolicy"),
        "cache": task["cachingOptions"],
        "env": container.get("env"),
        **configured,
    }
    yield from (f"{key}: {_json(value)}" for key, value in settings.items() if value is not None)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace(CHANNEL, "")


def _indented(lines: Any) -> Iterator[str]:
    return (f"  {line}" for line in lines)
