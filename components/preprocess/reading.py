"""Reads both parts of a catalog: the labeled products, and those to categorize."""

import logging
from pathlib import Path
from typing import Any

from components.core.errors import InputError
from components.data.tables.findings import DROPPED, FLAGGED, Finding, first_of
from components.data.tables.read import read_table
from components.preprocess.catalog.corrections import apply_corrections, read_class_names, unused_names
from components.preprocess.catalog.records import (
    Catalog,
    Record,
    check_code_column,
    read_catalog,
    take_unlabeled,
)
from components.preprocess.catalog.similar import similar_codes
from components.preprocess.config import PreprocessConfig

log = logging.getLogger(__name__)


def read_both_parts(
    paths: dict[str, Path], config: PreprocessConfig, findings: list[Finding]
) -> tuple[list[Record], list[Record], list[Record], dict[str, Any]]:
    """The labeled records; those beside them without a code; the test records; metadata of the catalog.

    Products without a code are to be categorized where the products file itself has the codes, and are
    quarantined where a labels file lacks them.

    Raises:
        InputError: a file is missing or cannot be read, or the two parts contradict each other.
    """
    if "test_labels" in paths and "test_products" not in paths:
        raise InputError("test_labels: there are no test products; name them too, or leave the labels out")
    if "labels" not in paths and not config.columns:
        raise InputError(
            "labels: name the file with the products' codes, or the column that has them (columns option)"
        )
    labeled = read_catalog(paths["products"], paths.get("labels"), config)
    waiting = _without_code(labeled)
    findings += labeled.findings
    if "corrections" in paths:
        corrections = read_table(paths["corrections"], encoding=config.encoding, quotes=config.quotes)
        apply_corrections(labeled.records, corrections)
    codes = {record.code for record in labeled.records if record.code}
    findings += similar_codes(codes, labeled.products.path.name)
    names = {}
    if "class_names" in paths:
        names = read_class_names(paths["class_names"])
        findings += unused_names(names, codes, paths["class_names"])
    test = None
    if "test_products" in paths:
        test = read_catalog(paths["test_products"], paths.get("test_labels"), config)
        findings += test.findings
        _refuse_shared_ids([*labeled.records, *waiting], test.records)
        _refuse_unknown_codes(labeled.records, test.records)
    metadata = _metadata(labeled, test, len(waiting)) | {
        "class_names": names,
        "preprocess": config.model_dump(),
    }
    return labeled.records, waiting, test.records if test else [], metadata


def _without_code(labeled: Catalog) -> list[Record]:
    """The products to categorize of a file that has the codes itself; elsewhere they are quarantined."""
    if labeled.labels is not None:
        labeled.findings += [
            record.finding("no_label", DROPPED, "no code for this product")
            for record in take_unlabeled(labeled)
        ]
        return []
    check_code_column(labeled)
    waiting = take_unlabeled(labeled)
    if waiting:
        detail = f"{len(waiting)} rows have no code: these products are to be categorized"
        labeled.findings.append(
            Finding(waiting[0].file, waiting[0].line, "", "without_code", FLAGGED, detail)
        )
        log.info("%s: %s", waiting[0].file, detail)
    return waiting


def _metadata(labeled: Catalog, test: Catalog | None, waiting: int) -> dict[str, Any]:
    tables = {"products": labeled.products, "labels": labeled.labels, "test_products": test and test.products}
    read_as = {name: table.form for name, table in tables.items() if table}
    for name, form in read_as.items():
        log.info("%s read as: %s", name, form)
    return {
        "dialect": labeled.dialect.name,
        "delimiter": (labeled.labels or labeled.products).delimiter,
        "read_as": read_as,
        "labels_columns": labels_columns(labeled),
        "rows": {"labeled": labeled.rows - waiting, "test": waiting + (test.rows if test else 0)},
    }


def labels_columns(catalog: Catalog) -> list[list[str]]:
    """[column, field] of the labels file in its order: the form that predictions go out in."""
    dialect = catalog.dialect
    if catalog.labels is None:
        return [[dialect.products["product_id"], "product_id"], [dialect.labels["code"], "code"]]
    field_of = {column: field for field, column in dialect.labels.items()}
    return [[column, field_of[column]] for column in catalog.labels.header if column in field_of]


def _refuse_shared_ids(train: list[Record], test: list[Record]) -> None:
    lines = {record.product_id: record.line for record in train}
    shared = [
        f"{record.file}, line {record.line}: product {record.product_id!r} is labeled on line "
        f"{lines[record.product_id]}"
        for record in test
        if record.product_id in lines
    ]
    if shared:
        raise InputError(
            f"{len(shared)} test products are among the labeled ones\n{first_of(shared)}\n"
            "Take them out of one of the two files."
        )


def _refuse_unknown_codes(train: list[Record], test: list[Record]) -> None:
    unknown = sorted({record.code for record in test if record.code} - {record.code for record in train})
    if unknown:
        raise InputError(f"the test labels have codes that no labeled product has: {', '.join(unknown[:20])}")
