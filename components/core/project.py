"""What the project is called, its version and images, and the table of its stages."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from components.core.errors import InputError

NAME = "product-categorization"
VERSION = "0.2.0"
REGISTRY = "ghcr.io/product-categorization"
TAG = VERSION


@dataclass(frozen=True)
class Stage:
    """A stage of the pipeline: its component and its image have this name.

    Attributes:
        packages: the target of docker/Dockerfile that holds what the stage imports.
        question: what its report answers.
        trains: its tasks may train networks for hours, so they get GPUs, checkpoints and patience.
        others: folders in `components/` that it imports beside the one of its name.
        room: the folder in `components/` where it lies, if that has another name.
    """

    name: str
    packages: str
    question: str
    trains: bool = False
    others: tuple[str, ...] = ()
    room: str = ""

    @property
    def rooms(self) -> tuple[str, ...]:
        """The folders in `components/` whose code only this image holds: its own, and `others`."""
        return (self.room or self.name, *self.others)

    @property
    def row(self) -> str:
        """What `make images` builds its image by: name:packages:room+room."""
        return f"{self.name}:{self.packages}:{'+'.join(self.rooms)}"


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
# What is done with a trained model. Its code lies above the stages', which it imports.
READS_MODELS = ("preprocess", "text", "image", "fusion", "ensemble")
LIFECYCLE = (
    Stage("monitor", "torch", "What changed, and is it trained?", others=READS_MODELS, room="lifecycle"),
    Stage("predict", "torch", "What are the new products?", others=READS_MODELS, room="lifecycle"),
    Stage("promote", "registries", "Is it better than the champion?", others=READS_MODELS, room="lifecycle"),
)
# No task: the image of the HTTP server.
SERVING = Stage("serving", "serving", "", others=("lifecycle", *READS_MODELS))
TASKS = (*STAGES, *LIFECYCLE)
IMAGES = (*TASKS, SERVING)
STAGE_NAMES = tuple(stage.name for stage in STAGES)
TASK_NAMES = tuple(stage.name for stage in TASKS)
TRAININGS = tuple(stage.name for stage in STAGES if stage.trains)


def image_name(stage: str, registry: str = REGISTRY, tag: str = TAG) -> str:
    """The image of a stage, `registry/stage:tag`."""
    return f"{registry.rstrip('/')}/{stage}:{tag}"


def check_image(registry: str, tag: str) -> None:
    """Refuses what no node could pull (github.com/distribution/reference).

    Raises:
        InputError: the registry or the tag breaks the rules for an image's name.
    """
    host, *path = registry.removesuffix("/").split("/")
    of_host = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*(:[0-9]{1,5})?"
    of_path = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
    fits = re.fullmatch(of_host, host) and all(re.fullmatch(of_path, part) for part in path)
    if not fits or len(registry) > 200:
        raise InputError(
            f"--registry {registry!r}: expected a host and a path in lower case, without https://, "
            f"such as {REGISTRY}"
        )
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", tag):
        raise InputError(f"--tag {tag!r}: expected letters, digits, '.', '_' and '-', 128 at most")


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
