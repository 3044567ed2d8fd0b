"""`python -m components.core.selfcheck <stage>`: imports all of a stage, prints the versions it runs on."""

import importlib
import os
import platform
import sys
from importlib.metadata import distributions
from pathlib import Path

from components.core.project import STAGES

SHOWN = (
    "cleanlab",
    "kfp",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "torch",
    "torchvision",
    "transformers",
)


def check_stage(stage: str) -> list[str]:
    """Imports every module of the stage's folder and what runs a component in its pod.

    Returns:
        Lines of name and version.

    Raises:
        ImportError: something is missing in the image.
    """
    root = Path(__file__).parents[2]
    folder = root / "components" / stage
    modules = sorted(path for path in folder.rglob("*.py") if path.stem not in ("__init__", "component"))
    names = [".".join(path.relative_to(root).with_suffix("").parts) for path in modules]
    if not names:
        raise ImportError(f"no code of stage {stage} in {folder}")
    for name in names:
        importlib.import_module(name)
    os.environ["_KFP_RUNTIME"] = "true"
    importlib.import_module("kfp.dsl.executor_main")
    versions = {found.metadata["Name"].lower(): found.version for found in distributions()}
    lines = [f"python {platform.python_version()}"]
    return lines + [f"{name} {versions[name]}" for name in SHOWN if name in versions]


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in STAGES:
        sys.exit(f"usage: python -m components.core.selfcheck {{{','.join(STAGES)}}}")
    print("\n".join([f"stage {sys.argv[1]}", *check_stage(sys.argv[1])]))
