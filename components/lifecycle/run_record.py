"""What the deciding tasks of a run leave in the store for its last one: STORE/runs/<run id>/<stage>.json."""

from collections.abc import Mapping
from typing import Any

from components.core.environment import run_id
from components.lifecycle.objects import Objects
from components.lifecycle.version import as_json, parse_object


def record_name(stage: str) -> str | None:
    """The name of a stage's object; None where the run has no id."""
    return f"runs/{run_id()}/{stage}.json" if run_id() else None


def leave(objects: Objects, stage: str, document: Mapping[str, Any]) -> None:
    """Writes what a stage decided, over what an earlier attempt has written."""
    if name := record_name(stage):
        objects.write(name, as_json(document))


def left(objects: Objects, stage: str) -> dict[str, Any]:
    """What a stage decided; {} where it left nothing.

    Raises:
        InputError: the store does not answer, or the object is damaged.
    """
    name = record_name(stage)
    content = objects.read(name) if name else None
    return parse_object(content, f"{objects.place}/{name}") if content else {}
