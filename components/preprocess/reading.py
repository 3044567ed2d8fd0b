"""Reads a catalog's two parts, labeled products and products to categorize, and checks that they fit."""

from pathlib import Path
from typing import Any

from components.core.errors import InputError
from components.core.reading import read_json
from components.preprocess.catalog.dialects import read_table
from components.preprocess.catalog.quarantine import Finding, first_of
from components.preprocess.catalog.records import (
    Catalog,
    Record,
    apply_corrections,
    check_code_column,
    drop_unlabeled,
    read_catalog,
)
from components.preprocess.config import PreprocessConfig


def read_both_parts(
    paths: dict[str, Path], config: PreprocessConfig, findings: list[Finding]
) -> tuple[list[Record], list[Record], dict[str, Any]]:
    """Reads the labeled products and, where there are any, those to categorize.

    Args:
        paths: the catalog's files, by the names of `Sources`.
        findings: receives what was left out or normalized on the way.

    Returns:
        Labeled records, test records, and the product table's metadata.

    Raises:
        InputError: a file is wrong or missing, or the parts do not go together.
    """
    if "test_labels" in paths and "test_products" not in paths:
        raise InputError("test_labels: there are no test products; name them too, or leave the labels out")
    options = {"mapping": config.columns, "image_name": config.image_name}
    if "labels" not in paths and not config.columns:
        raise InputError("labels: name the file with the products' codes")
    labeled = read_catalog(paths["products"], paths.get("labels"), **options)
    if labeled.labels is None:
        check_code_column(labeled)
    drop_unlabeled(labeled)
    if "corrections" in paths:
        apply_corrections(labeled.records, read_table(paths["corrections"]))
    findings += labeled.findings
    metadata = {
        "dialect": labeled.dialect.name,
        "delimiter": (labeled.labels or labeled.products).delimiter,
        "labels_columns": _labels_columns(labeled),
        "rows": {"labeled": labeled.rows, "test": 0},
        "class_names": _class_names(paths.get("class_names")),
        "preprocess": config.model_dump(),
    }
    if "test_products" not in paths:
        return labeled.records, [], metadata
    test = read_catalog(paths["test_products"], paths.get("test_labels"), **options)
    findings += test.findings
    metadata["rows"]["test"] = test.rows
    _refuse_shared_ids(labeled.records, test.records)
    _refuse_unknown_codes(labeled.records, test.records)
    return labeled.records, test.records, metadata


def _labels_columns(catalog: Catalog) -> list[list[str]]:
    """[column, field] of the labels file in its order: the form that predictions go out in."""
    dialect = catalog.dialect
    if catalog.labels is None:
        return [[dialect.products["product_id"], "product_id"], [dialect.labels["code"], "code"]]
    field_of = {column: field for field, column in dialect.labels.items()}
    return [[column, field_of[column]] for column in catalog.labels.header if column in field_of]


def _class_names(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    names = read_json(path, 'a JSON object of code to name, {"10": "Books"}')
    return {code: str(name) for code, name in names.items()}


def _refuse_shared_ids(train: list[Record], test: list[Record]) -> None:
    lines = {record.product_id: record.line for record in train}
    shared = [
        f"{record.file}, line {record.line}: product {record.product_id!r} is labeled on line "
        f"{lines[record.product_id]}"
        for record in test
        if record.product_id in lines
    ]
    if shared:
        raise InputError(f"{len(shared)} test products are among the labeled ones\n{first_of(shared)}")


def _refuse_unknown_codes(train: list[Record], test: list[Record]) -> None:
    unknown = sorted({record.code for record in test if record.code} - {record.code for record in train})
    if unknown:
        raise InputError(f"the test labels have codes that no labeled product has: {', '.join(unknown[:20])}")
