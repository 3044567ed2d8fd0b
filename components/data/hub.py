"""Whether a model on the Hugging Face hub can be had, without fetching it."""

from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from components.core.errors import InputError
from components.core.reading import reason

TIMEOUT = 10.0  # seconds


def check_hub(name: str, file: str, revision: str | None) -> None:
    """Tests that a file of a model is in the cache of this machine or answers on the hub.

    Raises:
        InputError: neither.
    """
    try:
        if isinstance(try_to_load_from_cache(name, file, revision=revision), str):
            return
        get_hf_file_metadata(hf_hub_url(name, file, revision=revision), timeout=TIMEOUT)
    except (HFValidationError, OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"weights {name!r}: no such folder, and not to be had from the hub ({reason(error)}). Without "
            "internet, give a folder or a URI that holds config.json, model.safetensors and tokenizer.json"
        ) from error
