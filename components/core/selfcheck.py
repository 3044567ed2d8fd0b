"""`python -m components.core.selfcheck`: imports all of the stages that are here, prints their versions.

An image holds one stage (of the others what can be set), so there it says whether anything is missing.
"""

import importlib
import os
import platform
from importlib.metadata import distributions
from pathlib import Path

from components.core.project import STAGE_NAMES
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
    for stage in [name for name in STAGE_NAMES if (COMPONENTS / name / "run.py").is_file()]:
        import_stage(stage)
        print(f"stage {stage}: complete")
    versions = {found.metadata["Name"].lower(): found.version for found in distributions()}
    for name in SHOWN:
        if name in versions:
            print(f"{name} {versions[name]}")


if __name__ == "__main__":
    main()
