"""Models on the Hugging Face hub: whether one can be had, and what is said where not."""

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

from components.core.errors import InputError
from components.core.reading import reason

TIMEOUT = 10.0  # seconds
TEXT_FILES = "a folder or a URI that holds config.json, model.safetensors and tokenizer.json"


@contextmanager
def asking_hub(what: str, *, instead: str) -> Iterator[None]:
    """Whatever the hub's library raises inside the block becomes one line with what to do.

    Args:
        what: what is asked for.
        instead: what can be given in its place.

    Raises:
        InputError: there is no connection, no such model or no such file.
    """
    try:
        yield
    except Exception as error:  # its own, and those of the HTTP client below it, of no common kind
        raise InputError(
            f"{what} cannot be had from the hub: {reason(error)}. Without internet, give {instead}"
        ) from error


def check_hub(name: str, file: str, revision: str | None, *, what: str, instead: str) -> None:
    """Tests that a file of a model is in the cache of this machine or answers on the hub.

    Args:
        what, instead: see `asking_hub`.

    Raises:
        InputError: neither.
    """
    with asking_hub(what, instead=instead):
        if not isinstance(try_to_load_from_cache(name, file, revision=revision), str):
            get_hf_file_metadata(hf_hub_url(name, file, revision=revision), timeout=TIMEOUT)
