"""The parameters that a user sets of a run: read and checked before anything starts."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from components.core.errors import InputError
from components.core.parameters import parse_values
from components.core.reading import parse_json, reason

# Of version 0.1: old name -> new; "" where there is none any more.
RENAMED = {
    "products": "catalog_products",
    "labels": "catalog_labels",
    "images": "catalog_images",
    "test_products": "catalog_test_products",
    "test_images": "catalog_test_images",
    "test_labels": "catalog_test_labels",
    "class_names": "catalog_class_names",
    "corrections": "catalog_corrections",
    "earlier_profile": "catalog_earlier_profile",
    "snapshot": "catalog_snapshot",
    "folds": "denoise_folds",
    "keep_ids": "denoise_keep_ids",
    "accelerator_type": "cluster_accelerator_type",
    "accelerator_count": "cluster_accelerator_count",
    "node_selector": "cluster_node_selector",
    "tolerations": "cluster_tolerations",
    "checkpoints": "cluster_checkpoints",
    "facts": "",
}


def parse_parameters(items: Sequence[str], types: Mapping[str, str]) -> dict[str, Any]:
    """Reads `KEY=JSON` items; a configuration among them is checked as its stage will check it.

    Without this a misspelt key of a text configuration would show after hours of training folds.

    Args:
        items: as given on the command line.
        types: the pipeline's parameters and their types; a "String" is taken as it is, or as a JSON string.

    Raises:
        InputError: an unknown parameter, an old name of one, a value that is not JSON, a configuration that
            is wrong.
    """
    parsed = {}
    for item in items:
        key, separator, value = item.partition("=")
        if not separator or key not in types:
            raise InputError(f"--param {item[:80]!r}: {_unknown(key, types)}")
        try:
            parsed[key] = _read_text(value) if types[key] == "String" else parse_json(value)
        except (ValueError, RecursionError) as error:
            raise InputError(f"--param {key}: not JSON: {reason(error)}") from error
        _check_type(key, parsed[key], types[key])
    parse_values(parsed)
    return parsed


def _read_text(value: str) -> Any:
    quoted = len(value) > 1 and value[0] == value[-1] == '"'
    return parse_json(value) if quoted or value == "null" else value


def _unknown(key: str, types: Mapping[str, str]) -> str:
    if key in types:
        return f"expected {key}=JSON: {_TYPES[types[key]][2]}"
    if key in RENAMED:
        return f"{key} is called {RENAMED[key]} now" if RENAMED[key] else f"{key} is no parameter any more"
    alike = difflib.get_close_matches(key, types, n=1)
    hint = f" Did you mean {alike[0]}?" if alike else ""
    return f"expected KEY=JSON with KEY one of {', '.join(sorted(types))}.{hint}"


def _check_type(key: str, value: Any, expected: str) -> None:
    kind, item, name = _TYPES[expected]
    items = value if item and isinstance(value, list) else []
    if not _is(value, kind) or not all(_is(each, item) for each in items):
        raise InputError(f"--param {key}: {repr(value)[:200]}: expected {name}")


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


# Every type that a parameter of the pipeline has: what a value is, what a list's items are, in words.
_TYPES: dict[str, tuple[type, Any, str]] = {
    "String": (str, None, "a text"),
    "Integer": (int, None, "a whole number"),
    "Boolean": (bool, None, "true or false"),
    "Dict": (dict, None, "a JSON object, {...}"),
    "List[Integer]": (list, int, "a JSON list of whole numbers, [0, 1]"),
    "List[Dict]": (list, dict, "a JSON list of objects, [{...}]"),
}
