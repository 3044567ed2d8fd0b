"""What can be known of a run before its first stage."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from components.core.errors import InputError
from components.core.parameters import parse_values
from components.data.hub import TEXT_FILES, check_hub
from components.data.ids import read_ids
from components.data.tables.findings import SHOWN, Finding, grouped
from components.data.uris import check_there, fetch, is_uri
from components.image.kinds.best_of import BestOfConfig
from components.preprocess.config import sources_of
from components.preprocess.reading import read_labeled
from components.preprocess.run import check_catalog

TABLES = ("products", "labels", "corrections")
DECODED = 200  # pictures, unless all are asked for


def check_before(arguments: Mapping[str, Any], loops: tuple[str, ...]) -> None:
    """Tests what lies beside the catalog: pretrained weights, and the list of products to keep.

    Args:
        arguments: every parameter of the pipeline.
        loops: the stages whose folds denoising reads.

    Raises:
        InputError: weights cannot be reached: a training would find out after the folds, or an hour.
    """
    _check_weights(arguments, loops)
    if arguments["denoise_keep_ids"]:
        known = []
        with suppress(InputError):  # preprocess says what is wrong with the catalog
            known = _ids(arguments)
        read_ids(arguments["denoise_keep_ids"], known)


def _ids(arguments: Mapping[str, Any]) -> list[str]:
    config = parse_values(arguments)["preprocess_config"]
    with tempfile.TemporaryDirectory() as folder:
        uris = {name: arguments[f"catalog_{name}"] for name in TABLES}
        paths = {name: fetch(uri, Path(folder) / name) for name, uri in uris.items() if uri}
        labeled, _ = read_labeled(paths, config, [])
    return [record.product_id for record in labeled.records]


def _check_weights(arguments: Mapping[str, Any], loops: tuple[str, ...]) -> None:
    values = parse_values(arguments)
    for stage in ("text", "image"):
        folds = [values[f"{stage}_fold_config"]] if stage in loops else []
        for config in [*values[f"{stage}_configs"], *folds]:
            _check_weights_of(stage, config)


def _check_weights_of(stage: str, config: Any) -> None:
    if isinstance(config, BestOfConfig):
        for candidate in config.parsed():
            _check_weights_of(stage, candidate)
        return
    weights = getattr(config, "weights", "scratch")  # other kinds have none
    if weights == "scratch":
        return
    if stage == "image" and weights == "pretrained":
        # Not at the top: timm takes seconds to import.
        from components.modeling.image.pretrained import check_pretrained

        check_pretrained(config.backbone)
    elif stage == "image" or is_uri(weights) or weights.startswith((".", "/", "~")):
        check_there(weights)
    else:
        what = f"weights {weights!r}: no such folder, and config.json"
        check_hub(weights, "config.json", config.revision or None, what=what, instead=TEXT_FILES)


def check_run(arguments: Mapping[str, Any], *, decoded: int | None) -> Iterator[str]:
    """Checks a run's catalog as preprocess will, and what else is given with it.

    Args:
        arguments: every parameter of the pipeline.
        decoded: how many pictures are decoded; None for all.

    Yields:
        Lines that say what was found.

    Raises:
        InputError: something would stop the run.
    """
    values = parse_values(arguments)
    findings: list[Finding] = []
    try:
        products, new, pictures = check_catalog(
            sources_of(arguments),
            values["preprocess_config"],
            folds=values["denoise_folds"],
            seed=values["seed"],
            earlier_profile=arguments["catalog_earlier_profile"],
            findings=findings,
            decoded=decoded,
        )
    finally:
        for line in _found(findings):
            click.echo(line)
    splits = Counter([*products.table["split"], *new.table["split"]])
    yield ", ".join(f"{splits[split]:,} {split}" for split in ("train", "validation", "test")) + " products"
    yield f"{len(products.classes)} classes; of all pictures the header was read, {pictures:,} were decoded"


def _found(findings: list[Finding]) -> Iterator[str]:
    for first, count in grouped(findings)[:SHOWN]:
        yield f"{count:6,} {first.reason} ({first.action}); the first: {str(first)[:300]}"
