"""The images' names: one a stage, registry and tag chosen when the pipeline is compiled."""

import subprocess
from pathlib import Path

STAGES = ("preprocess", "denoise", "text", "image", "fusion", "ensemble", "evaluate")
NAME = "product-categorization"
REGISTRY = "ghcr.io/product-categorization"
TAG = "0.1.0"


def image_name(stage: str, registry: str = REGISTRY, tag: str = TAG) -> str:
    """The image of a stage, `registry/stage:tag`."""
    return f"{registry.rstrip('/')}/{stage}:{tag}"


def code_revision() -> str:
    """The commit of the code that runs, with "-dirty" where files were changed since; "" outside git."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
