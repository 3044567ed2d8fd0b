"""`python -m components.core.selfcheck`: imports all of the stages that are here, prints their versions.

An image holds one stage, of the others what can be set, and what the stage imports of them, so there it says
whether anything is missing.
"""

import importlib
import os
import platform
from importlib.metadata import distributions
from pathlib import Path

from components.core.project import TASKS
from components.core.stage import LIBRARIES

COMPONENTS = Path(__file__).parents[1]
SHOWN = sorted((*LIBRARIES, "kfp", "pyarrow", "pydantic"))


def import_stage(stage: str) -> None:
    """Imports every module of the stage's folder, and what runs a component in its pod.

    Raises:
        ImportError: something is missing here.
    """
    for path in sorted((COMPONENTS / stage).rglob("*.py")):
        if path.stem not in ("__init__", "component"):
            parts = path.relative_to(COMPONENTS.parent).with_suffix("").parts
            importlib.import_module(".".join(parts))
    os.environ["_KFP_RUNTIME"] = "true"
    importlib.import_module("kfp.dsl.executor_main")


def main() -> None:
    print(f"python {platform.python_version()}")
    here = [task for task in TASKS if all((COMPONENTS / room / "run.py").is_file() for room in task.rooms)]
    for room in dict.fromkeys(room for task in here for room in task.rooms):
        import_stage(room)
    for task in here:
        print(f"stage {task.name}: complete")
    versions = {found.metadata["Name"].lower(): found.version for found in distributions()}
    for name in SHOWN:
        if name in versions:
            print(f"{name} {versions[name]}")


if __name__ == "__main__":
    main()
