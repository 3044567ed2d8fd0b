"""The pipeline's parameters as the stages read them: checked before a run starts, and first thing in it."""

import importlib.util
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.core.errors import InputError, holds_credentials
from components.core.project import STAGE_NAMES

PLACEHOLDER = "{{$"
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
SEPARATOR = ","  # a list of lists is no type that a loop may run over, and a list of texts is one
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
    check_texts(values)
    parsers = {
        "seed": _parse_seed,
        "cluster_accelerator_count": _parse_count,
        "cluster_accelerator_type": _parse_type,
    }
    for room in (*STAGE_NAMES, "lifecycle"):
        parsers |= getattr(_configuration(room), "PARAMETERS", {})
    parsed = {name: _parse(name, parsers[name], value) for name, value in values.items() if name in parsers}
    sides = [parsed.get(f"{side}_configs", ()) for side in ("text", "image")]
    of_text, of_image = ({config.name for config in side} for side in sides)
    if both := sorted(of_text & of_image):
        raise InputError(f"image_configs: {', '.join(both)} is a text classifier too; every name once")
    return parsed


def check_texts(values: Mapping[str, Any]) -> None:
    """Refuses texts that cannot pass through a run, at any depth of its parameters' values.

    Raises:
        InputError: one holds a placeholder of Kubeflow Pipelines, a user name or a password in a URI, half of
            a surrogate pair (bytes of a command line that are no UTF-8) or a NUL.
    """
    for name, value in values.items():
        for problem in filter(None, map(_problem, _texts(value))):
            raise InputError(f"{name}: {problem}")


def _problem(text: str) -> str:
    if PLACEHOLDER in text:
        return f"{PLACEHOLDER} starts a placeholder of Kubeflow Pipelines: expected a text without it"
    if holds_credentials(text):
        return "a URI holds a user name or a password, which reports would show: use environment variables"
    return "a text holds a NUL or what is no UTF-8: take it out" if _NO_TEXT.search(text) else ""


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for item in value.items() for text in _texts(item))
    elif isinstance(value, list | tuple):
        yield from (text for item in value for text in _texts(item))


def wants_gpu(stage: str, configs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the training of any of a stage's configurations is to be placed on a GPU.

    Raises:
        InputError: one of them is wrong.
    """
    return getattr(_configuration(stage), f"{stage.upper()}_KINDS").any_wants_gpu(configs)


def text_fold_groups(config: Mapping[str, Any], folds: int) -> list[str]:
    """Which folds each task of the loop over text folds trains, as `fold_numbers` reads them.

    Returns:
        All of them in one where the configuration's kind fits them together, else one each.

    Raises:
        InputError: the configuration is wrong.
    """
    kinds, numbers = _configuration("text").TEXT_KINDS, [str(fold) for fold in range(folds)]
    return [SEPARATOR.join(numbers)] if kinds.of(kinds.parse(config)).fit_folds else numbers


def fold_numbers(group: str) -> list[int]:
    """ "0,1,2" -> [0, 1, 2]; "" -> [], of a training that is no fold's."""
    return [int(number) for number in group.split(SEPARATOR) if number]


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
        raise InputError(f"{value}: expected a whole number from 0 to {LARGEST_SEED}")
    return int(value)


def _parse_count(value: str) -> int:
    if not re.fullmatch("[0-9]{1,4}", value):
        raise InputError(f"{value!r}: expected a whole number of accelerators for each task")
    return int(value)


def _parse_type(value: str) -> str:
    if value and not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-\w.]*[A-Za-z0-9])?", value):
        raise InputError(f'{value!r}: expected a resource\'s name such as nvidia.com/gpu, or "" for a CPU')
    return value
