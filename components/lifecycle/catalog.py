"""A catalog predicted from its files: read as a run reads it, its pictures and answers a part at a time."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from components.core.configuration import parse_config
from components.core.errors import InputError
from components.data.image_store import ImageStore
from components.data.prediction_files import prediction_rows
from components.data.tables.findings import Finding
from components.data.uris import fetch
from components.lifecycle.detail import detail_rows, send_some_to_review
from components.lifecycle.model import Model
from components.lifecycle.predictions import Predictions
from components.modeling.trained import PREDICTED_AT_ONCE
from components.preprocess.catalog.quarantine import refuse_if_too_many, write_findings
from components.preprocess.catalog.records import Catalog, Record, read_catalog
from components.preprocess.catalog.texts import OddTexts, cleaned, text_findings, text_hash
from components.preprocess.config import PreprocessConfig
from components.preprocess.examination import quarantined
from components.preprocess.images.coverage import check_coverage
from components.preprocess.images.packing import Part, pack_images
from components.preprocess.images.sources import FolderImages, images_at

log = logging.getLogger(__name__)

DELIMITERS = {".csv": ",", ".tsv": "\t"}
FIELDS = ("product_id", "title", "description", "image", "row_id", "image_id")


@dataclass(frozen=True)
class CatalogPredictions:
    """What became of a catalog: counts of its rows, and the files written."""

    products: int
    left_out: int
    without_image: int
    files: tuple[Path, ...]


def predict_catalog(
    model: Model,
    products: str,
    images: str,
    output: Path,
    *,
    columns: str = "",
    settings: Mapping[str, Any] | None = None,
) -> CatalogPredictions:
    """Predicts every product of a catalog, and writes its codes and, beside them, their detail.

    The table's texts are held in memory; pictures and probabilities are of `PREDICTED_AT_ONCE` products at a
    time. Of a catalog with codes these are not looked at.

    Args:
        products, images: paths or URIs, as a run takes them; "" for no images.
        output: `NAME.csv` or `NAME.tsv`; beside it go `NAME_detail.tsv` and, where a row was not taken as it
            came, `NAME_quarantine.tsv`.
        columns, settings: the catalog's, where they are not those of the catalog that was trained on; see
            `reading_config`.

    Raises:
        InputError: the catalog cannot be read, or too many of its rows; or it would be written over.
    """
    if output.suffix not in DELIMITERS:
        raise InputError(f"{output}: expected a name that ends with .csv or .tsv")
    config, findings = reading_config(model, columns, settings or {}), []
    detail, quarantine = (output.with_name(f"{output.stem}_{what}.tsv") for what in ("detail", "quarantine"))
    for written in (output, detail, quarantine):
        if written.resolve() == Path(products).resolve():
            raise InputError(f"{products}: would be written over; name another --output than {output}")
    quarantine.unlink(missing_ok=True)  # an earlier prediction's
    with TemporaryDirectory() as scratch:
        try:
            records, left_out = catalog_records(products, config, Path(scratch), findings)
            part = with_images(records, images, config, Path(scratch))
            found = _predict(model, part, config, output, detail)
            if images:  # else all products are without, and nobody needs to hear it of each
                findings += found
                check_coverage("test", records, found, 1, part.names.strangers())
        finally:
            if findings:
                write_findings(findings, quarantine)
    blind = sum(record.image is None for record in records)
    files = (output, detail, *([quarantine] if findings else []))
    return CatalogPredictions(len(records), left_out, blind, files)


def reading_config(model: Model, columns: str, settings: Mapping[str, Any]) -> PreprocessConfig:
    """How a catalog is read: as the one that was trained on, but for what is given.

    Args:
        columns: the names of its columns, "" where they are the same.
        settings: keys of the configuration.
    """
    given = {**model.preprocess.model_dump(), **settings}
    if columns:
        # Whoever names columns must name that of the codes, which a catalog to predict need not have.
        named = columns if "code=" in columns.replace(" ", "") else f"{columns},code=code"
        given["columns"] = named
    return parse_config(PreprocessConfig, given, where="preprocess configuration")


def catalog_records(
    products: str,
    config: PreprocessConfig,
    scratch: Path,
    findings: list[Finding],
    choose: Callable[[Catalog], None] | None = None,
    also: str = "",
) -> tuple[list[Record], int]:
    """The products of a catalog, cleaned, and how many rows were left out.

    Args:
        products: a path or URI.
        scratch: a folder for its copy.
        findings: receives what is found.
        choose: takes out of the catalog, in place, what is not to be predicted.
        also: a column that it looks at.

    Raises:
        InputError: the catalog cannot be read, or too many of its rows.
    """
    catalog = read_catalog(fetch(products, scratch / "products"), None, config, also=also)
    if choose is not None:
        choose(catalog)
    findings += catalog.findings
    refuse_if_too_many(findings, catalog.rows, config.max_quarantined)
    left_out = quarantined(findings)
    odd = OddTexts()
    records = list(cleaned(catalog.complete(catalog.records), findings, odd))
    descriptions = np.array([text_hash(record.description) for record in records], np.uint64)
    findings += text_findings(
        odd, descriptions, catalog.products.path.name, lambda row: records[row].description
    )
    return records, left_out


def with_images(records: list[Record], images: str, config: PreprocessConfig, scratch: Path) -> Part:
    """Products with the folder or zip of their images, a path or URI; "" where there is none."""
    if images:
        source = images_at(images, scratch / "images")
    else:
        (empty := scratch / "no images").mkdir()
        source = FolderImages(empty)
        for record in records:
            record.image_name = ""
    return Part(records, source, "keep", config.image_separator)


def _predict(
    model: Model, part: Part, config: PreprocessConfig, output: Path, detail_path: Path
) -> list[Finding]:
    """Writes both files of predictions; returns what was found of the images."""
    found: list[Finding] = []
    with ExitStack() as stack:
        rows = stack.enter_context(prediction_rows(output, model.document, DELIMITERS[output.suffix]))
        detail = stack.enter_context(detail_rows(detail_path, model))
        for table, predictions in predicted(model, part, config, found):
            rows.write(table, predictions.codes)
            detail.write(table, predictions)
    send_some_to_review(detail_path, model)
    return found


def predicted(
    model: Model, part: Part, config: PreprocessConfig, found: list[Finding]
) -> Iterator[tuple[pd.DataFrame, Predictions]]:
    """Predicts products part by part: what was read of some, and what the model says of them.

    Args:
        found: receives what is found of their images.
    """
    done = 0
    for piece in part.pieces(PREDICTED_AT_ONCE):
        with TemporaryDirectory() as folder:
            packed, _ = pack_images(piece, folder=Path(folder), max_pixels=config.max_image_pixels)
            found += packed
            table = table_of(piece.records)
            predictions = model.predict_cleaned(table, ImageStore(Path(folder), check=False))
        yield table, predictions
        done += len(table)
        log.info("predicted %s of %s products", f"{done:,}", f"{len(part.records):,}")


def table_of(records: Sequence[Record]) -> pd.DataFrame:
    """What a model reads of some records, and by what their predictions are written."""
    return pd.DataFrame({name: [getattr(each, name) for each in records] for name in FIELDS}, dtype=object)
