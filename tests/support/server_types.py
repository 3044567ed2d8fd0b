"""The server's rule of types: its driver refuses a task whose input has another type than what feeds it.

The compiler does not check it where a loop runs over a parameter annotated as a bare `list`.
"""

from collections.abc import Iterator
from typing import Any


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
