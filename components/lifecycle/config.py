"""What can be set of stored models: where they lie, gate, drift, alert, and what the champion predicts."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field

from components.core.configuration import NAME_PATTERN, Config, Share, parse_config, setting
from components.core.errors import InputError, holds_credentials
from components.data.uris import check_uri, is_uri
from components.preprocess.config import parse_shard_size

SCHEMES = ("file", "s3", "s3a", "gs", "gcs")
LAST_RUN = "last-run"  # in place of a date


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


class DriftConfig(Config):
    """From which distance on a change of the catalog counts as drift, and what follows."""

    on_drift: Literal["warn", "stop"] = setting(
        "warn", '"stop": the run ends before training, as failed; "warn": report, metrics and alert say so'
    )
    changed_classes: Annotated[int, Field(ge=0)] = setting(
        0, "classes that may have appeared or vanished since the champion was trained"
    )
    classes: Share = setting(
        0.1, "of the classes' shares among the labeled products: what part had to move for them to be alike"
    )
    lengths: Share = setting(0.15, "the same of the lengths of titles and of descriptions")
    languages: Share = setting(0.1, "the same of languages, as guessed by function words")
    missing: Share = setting(0.1, "change of the share of products without title, description or picture")
    pictures: Share = setting(0.15, "distance of the pictures' sizes, and of their borders")
    predictions: Share = setting(
        0.15,
        "distance of the classes that the champion predicts of new products from those it did of validation",
    )
    confidence: Share = setting(
        0.1, "fall of the champion's mean probability, from validation to new products"
    )
    min_accuracy: Share = setting(
        0.0, "accuracy that the latest week of `models score` must reach; 0 to leave it"
    )


def parse_address(address: str) -> str:
    """Checks the address of a server's pages; "" for none.

    Raises:
        InputError: it is none of the web, or holds a password, which every message would show.
    """
    if address and (not address.startswith(("http://", "https://")) or holds_credentials(address)):
        raise InputError("expected the address of the pipelines' pages, https://..., without a password")
    return address.rstrip("/")


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


def parse_output(place: str) -> str:
    """Checks where predictions are written.

    Raises:
        InputError: nowhere, or neither in a folder nor in s3:// or gs://.
    """
    if not place:
        raise InputError("no place is named: expected a folder, s3://... or gs://...")
    check_place(place)
    return place


def parse_since(since: str) -> datetime | None:
    """Reads since when products are new; None for all of them, and for `LAST_RUN`.

    Raises:
        InputError: neither of these, nor a date.
    """
    if since in ("", LAST_RUN):
        return None
    try:
        return moment_of(since)
    except ValueError as error:
        raise InputError(f"{since!r}: expected a date such as 2026-01-31, or {LAST_RUN}") from error


def check_since(since: str, column: str) -> None:
    """Checks that a date comes with the column that it is about.

    Raises:
        InputError: one of them is named alone.
    """
    if since and not column:
        raise InputError(f"catalog_since = {since!r}: name the column of the dates too, catalog_date_column")
    if column and not since:
        raise InputError(
            f"catalog_date_column = {column!r} is read only with catalog_since, a date or {LAST_RUN}; "
            "without it the whole catalog is predicted"
        )


def moment_of(text: str) -> datetime:
    """A date or a time as ISO 8601 writes it; UTC where it names no zone.

    Raises:
        ValueError: it is none.
    """
    moment = datetime.fromisoformat(text.strip())
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def parse_name(name: str) -> str:
    """Checks what a model is called in its store.

    Raises:
        InputError: it cannot name a folder.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise InputError(f"model {name!r}: expected letters, digits, '.', '_', '+' and '-', 64 at most")
    return name


class RegistriesConfig(Config):
    """Who hears of a promotion; the store stays what decides which model predicts."""

    mlflow: str = setting("", "address of an MLflow server; its client must be installed: the extra mlflow")
    model_registry: str = setting(
        "", "address of Kubeflow's Model Registry; its client must be installed: the extra model-registry"
    )

    def problems(self) -> Iterator[str]:
        schemes = {"mlflow": ("http", "https", "sqlite"), "model_registry": ("http", "https")}
        for name, known in schemes.items():
            address = getattr(self, name)
            if address and (urlsplit(address).scheme not in known or holds_credentials(address)):
                expected = " or ".join(f"{scheme}://" for scheme in known)
                yield f"{name}: expected {expected} and no password, which comes from the environment"


# The pipeline's parameters that the lifecycle's tasks read, and what makes of each what they take.
PARAMETERS = {
    "models_store": parse_store,
    "models_name": parse_name,
    "models_gate": partial(parse_config, GateConfig, where="models_gate"),
    "models_registries": partial(parse_config, RegistriesConfig, where="models_registries"),
    "catalog_since": parse_since,
    "predict_output": parse_output,
    "predict_shard_size": parse_shard_size,
    "drift_config": partial(parse_config, DriftConfig, where="drift_config"),
    "alert_address": parse_address,
}
