"""The pipeline's parameters as the stages read them: checked before a run starts, and first thing in it."""

import importlib.util
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.core.errors import InputError
from components.core.project import STAGE_NAMES

LARGEST_SEED = 2**32 - 1  # numpy's and scikit-learn's


def parse_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the stages make of the values of the pipeline's parameters.

    A stage's `config.py` names the parameters that the stage reads in `PARAMETERS`, each with the function
    that parses it.

    Returns:
        By name, of those parameters that anything parses.

    Raises:
        InputError: a value is wrong; the message names its parameter.
    """
    parsers = {"seed": _parse_seed, "cluster_accelerator_count": _parse_count}
    for stage in STAGE_NAMES:
        parsers |= getattr(_configuration(stage), "PARAMETERS", {})
    return {name: _parse(name, parsers[name], value) for name, value in values.items() if name in parsers}


def wants_gpu(stage: str, configs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the training of any of a stage's configurations is to be placed on a GPU.

    Raises:
        InputError: one of them is wrong.
    """
    return getattr(_configuration(stage), f"{stage.upper()}_KINDS").any_wants_gpu(configs)


def check_checkpoints(folder: str) -> None:
    """Tests that this pod's user may write where trainings keep their checkpoints.

    Args:
        folder: on a mounted volume; "" for none.

    Raises:
        InputError: it cannot be written; a training would find out after its first minutes, or an hour.
    """
    if not folder:
        return
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"cluster_checkpoints: {folder} cannot be written by user {os.getuid()}, group {os.getgid()} "
            f"({error.strerror}): let group 0 write on the volume (chgrp -R 0, chmod -R g+rwX), or have it "
            "mounted with this user's group as fsGroup"
        ) from error


def _configuration(stage: str) -> Any:
    # By name, since no stage may know another: an image holds the configurations of all and the code of one.
    name = f"components.{stage}.config"
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


def _parse(name: str, parse: Callable[[Any], Any], value: Any) -> Any:
    try:
        return parse(value)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _parse_seed(value: int) -> int:
    if not 0 <= value <= LARGEST_SEED:
        raise InputError(f"{value} is not within 0 and {LARGEST_SEED}")
    return int(value)


def _parse_count(value: str) -> int:
    if not value.isdigit():
        raise InputError(f"{value!r}: expected a whole number of accelerators for each task")
    return int(value)
