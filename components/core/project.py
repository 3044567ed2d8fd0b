"""What the project is called, its version and images, and the table of its stages."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

NAME = "product-categorization"
VERSION = "0.2.0"
REGISTRY = "ghcr.io/product-categorization"
TAG = VERSION


@dataclass(frozen=True)
class Stage:
    """A stage of the pipeline: its component, its folder in `components/` and its image have this name.

    Attributes:
        packages: the target of docker/Dockerfile that holds what the stage imports.
        question: what its report answers.
        trains: its tasks may train networks for hours, so they get GPUs, checkpoints and patience.
    """

    name: str
    packages: str
    question: str
    trains: bool = False


# In the order in which they run. A new stage is a row here, a folder of its own and a task in pipeline.py.
STAGES = (
    Stage("preprocess", "tables", "Is the data sound, and what does it hold?"),
    Stage("denoise", "tables", "Which labels look wrong?"),
    Stage("text", "torch", "How did the training on titles and descriptions go?", trains=True),
    Stage("image", "torch", "How did the training on pictures go?", trains=True),
    Stage("fusion", "torch", "What do text and image add to each other?"),
    Stage("ensemble", "tables", "Why did the vote decide so?"),
    Stage("evaluate", "tables", "How good is it, why, and what to do next?"),
)
STAGE_NAMES = tuple(stage.name for stage in STAGES)
TRAININGS = tuple(stage.name for stage in STAGES if stage.trains)


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
