"""Where a run's artifacts lie: from the results of evaluate everything else that the run made is found."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.core.artifacts import write_json
from components.core.environment import run_id

LINEAGE = "lineage.json"


def write_lineage(results: Path, inputs: Mapping[str, Any]) -> None:
    """Writes `lineage.json` into the results.

    It holds "run", the run's id on a server ("" on a laptop), and "inputs", the URI of each of evaluate's
    inputs by name: a list of URIs for a list of artifacts. A cached task leaves nothing under its own run's
    path, so these lead to the run that made the artifacts.

    Args:
        inputs: the component's artifacts, and lists of them.
    """
    uris = {
        name: [each.uri for each in artifact] if isinstance(artifact, list) else artifact.uri
        for name, artifact in inputs.items()
    }
    write_json(results / LINEAGE, {"run": run_id(), "inputs": uris})
