"""What can be set of the gate between a trained model and the champion."""

from functools import partial
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field

from components.core.configuration import NAME_PATTERN, Config, Share, parse_config, setting
from components.core.errors import InputError
from components.data.uris import check_uri, is_uri

SCHEMES = ("file", "s3", "s3a", "gs", "gcs")


class GateConfig(Config):
    """When a challenger replaces the champion."""

    margin: Share = setting(
        0.01,
        "macro-F1 that the challenger may lose: the lower end of the 95 % interval of the difference must be "
        "above minus this",
    )
    class_loss: Share = setting(0.1, "F1 that no class may lose more than")
    class_support: Annotated[int, Field(ge=1)] = setting(
        50, "compared products that a class must have for its loss to count", expert=True
    )
    min_macro_f1: Share = setting(0.0, "macro-F1 on validation that every model must reach")
    min_accuracy: Share = setting(0.0, "accuracy on validation that every model must reach")


def parse_store(place: str) -> str:
    """Checks where models are stored; "" for nowhere.

    Raises:
        InputError: a quote, with which a server takes the condition on it for false, or a scheme in which no
            models are stored.
    """
    if "'" in place or '"' in place:
        raise InputError(f"{place}: a store's address may hold no quotes")
    check_place(place)
    return place


def check_place(place: str) -> None:
    """Refuses what is neither a folder nor in a store that writes only if a condition holds.

    Raises:
        InputError: see `check_uri`, or another scheme.
    """
    if is_uri(place):
        check_uri(place)
        if urlsplit(place).scheme not in SCHEMES:
            raise InputError(f"{place}: a store of models lies in a folder, in s3:// or in gs://")


def parse_name(name: str) -> str:
    """Checks what a model is called in its store.

    Raises:
        InputError: it cannot name a folder.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise InputError(f"model {name!r}: expected letters, digits, '.', '_', '+' and '-', 64 at most")
    return name


# The pipeline's parameters that the lifecycle's tasks read, and what makes of each what they take.
PARAMETERS = {
    "models_store": parse_store,
    "models_name": parse_name,
    "models_gate": partial(parse_config, GateConfig, where="models_gate"),
}
