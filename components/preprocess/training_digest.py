"""What a model follows from, as digests: equal ones would train an equal model again."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from components.core.project import code_revision
from components.core.stage import described
from components.data.class_tree import PATHS
from components.data.decisions import settled_products
from components.data.products import Products
from components.data.uris import state_of

# Parameters that change no model.
BESIDE = ("models_", "drift_", "alert_", "cluster_", "preprocess_shard_size")
CONTENT = ("product_id", "title", "description", "image", "code", "split", "fold", "group")
# Of the products' metadata, what a package takes over.
NAMED = ("class_names", PATHS, "dialect", "delimiter", "labels_columns")


def settings_digest(settings: Mapping[str, Any]) -> str:
    """SHA-256 of a run's configurations, and of the weights and lists that they name, in hexadecimal.

    Args:
        settings: configurations, seed, the images' tag, ...; what changes no model is left out.

    Raises:
        InputError: weights lie in a store that does not answer.
    """
    settings = {name: value for name, value in settings.items() if not name.startswith(BESIDE)}
    contents = [weights_digest(settings), content_digest([str(settings.get("denoise_keep_ids", ""))])]
    return _digest([_plain(settings), contents, code_revision()])


def weights_digest(settings: Mapping[str, Any]) -> str:
    """`content_digest` of all weights that configurations name."""
    return content_digest(_weights(settings))


def content_digest(places: Iterable[str]) -> str:
    """SHA-256 of what lies at paths and URIs, in hexadecimal; "" where none is named. A hub's name is itself.

    Raises:
        InputError: a store does not answer.
    """
    states = {place: described(state_of(place)) for place in sorted({*places}) if place}
    return _digest(states) if states else ""


def training_digest(products: Products, settings: str) -> str:
    """SHA-256 of the labeled products in whatever order, with their splits and folds, and of the settings.

    Args:
        settings: see `settings_digest`.
    """
    rows, table = hashlib.sha256(), products.table
    # Groups are numbered in the file's order: one is known by its first product.
    first = table.groupby("group", dropna=False)["product_id"].transform("min")
    for row in table.assign(group=first).sort_values("product_id")[list(CONTENT)].itertuples(index=False):
        rows.update("\0".join("" if pd.isna(value) else str(value) for value in row).encode() + b"\0\0")
    named = {name: products.metadata.get(name) for name in NAMED}
    # What a person settled is not denoised, though its row is the same.
    settled = sorted(settled_products(products.metadata))
    return _digest([rows.hexdigest(), products.classes, named, settled, settings])


def _weights(value: Any) -> Iterator[str]:
    """The weights that configurations at any depth name."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from [inner] if key == "weights" and isinstance(inner, str) else _weights(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _weights(inner)


def _plain(value: Any) -> Any:
    """A value as it is whether or not it passed through Kubeflow Pipelines, which makes 40 of a list 40.0."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
