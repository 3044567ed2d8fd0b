"""Reads both parts of a catalog: the labeled products, and those to categorize."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.core.errors import InputError
from components.data.decisions import DROP, decisions_of
from components.data.products import Products
from components.data.tables.findings import DROPPED, FLAGGED, Finding, first_of
from components.data.tables.read import read_table
from components.data.tables.table import Scan
from components.preprocess.catalog.class_file import read_classes, tree_metadata, unused_names
from components.preprocess.catalog.corrections import apply_corrections
from components.preprocess.catalog.quarantine import codes_and_rows
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


def read_labeled(
    paths: dict[str, Path], config: PreprocessConfig, findings: list[Finding]
) -> tuple[Catalog, dict[str, Any]]:
    """The labeled products, and metadata of the catalog; `read_new` reads the others.

    Products without a code are to be categorized where the products file itself has the codes, and are
    quarantined where a labels file lacks them.

    Raises:
        InputError: a file is missing or cannot be read.
    """
    if "labels" not in paths and not config.columns:
        raise InputError(
            "labels: name the file with the products' codes, or the column that has them (columns option)"
        )
    labeled = read_catalog(paths["products"], paths.get("labels"), config)
    if not labeled.rows:
        raise InputError(f"{paths['products']}: column names and no row: expected one row a product")
    if labeled.labels is None:
        check_code_column(labeled)
    decisions = []
    if "corrections" in paths:
        corrections = read_table(paths["corrections"], encoding=config.encoding)
        decisions = [asdict(each) for each in apply_corrections(labeled, corrections)]
    waiting = _without_code(labeled)
    findings += labeled.findings
    codes = {record.code for record in labeled.records if record.code}
    findings += similar_codes(codes, labeled.products.path.name)
    names, tree = {}, {}
    if "class_names" in paths:
        names, parents = read_classes(paths["class_names"], config)
        tree = tree_metadata(parents, codes)
        if not tree:  # a tree has nodes without products
            findings += unused_names(names, codes, paths["class_names"])
    read_as = _read_as({"products": labeled.products, "labels": labeled.labels})
    return labeled, {
        "dialect": labeled.dialect.name,
        "delimiter": (labeled.labels or labeled.products).delimiter,
        "read_as": read_as,
        "labels_columns": labels_columns(labeled),
        "rows": {"labeled": labeled.rows - len(waiting)},
        "class_names": names,
        **tree,
        "decisions": decisions,
        "preprocess": config.model_dump(),
    }


def read_new(
    paths: dict[str, Path], config: PreprocessConfig, labeled: Products, findings: list[Finding]
) -> tuple[list[Catalog], dict[str, Any]]:
    """The products to categorize: those of the products file without a code, and those of the test file.

    What is wrong with the products file `read_labeled` has said; here it is read again only where it holds
    the codes itself.

    Returns:
        The products file, where it has such products, the test file where there is one; and metadata.

    Raises:
        InputError: a file cannot be read, or a product or a code contradicts the labeled products.
    """
    if "test_labels" in paths and "test_products" not in paths:
        raise InputError("test_labels: there are no test products; name them too, or leave the labels out")
    ids = {*labeled.ids.tolist()}
    waiting = _waiting(paths["products"], config, labeled, ids) if _has_waiting(paths) else None
    count = len(waiting.records) if waiting else 0
    found = [waiting] if waiting and count else []
    if "test_products" not in paths:
        return found, {"rows": {"test": count}}
    test = read_catalog(paths["test_products"], paths.get("test_labels"), config)
    if not test.rows:
        file = paths["test_products"].name
        findings.append(Finding(file, 0, "", "no_rows", FLAGGED, "column names and no row"))
    findings += test.findings
    for record in waiting.records if waiting else ():
        ids.add(record.product_id)
    _refuse_known_ids(ids, test.records)
    _refuse_unknown_codes({*labeled.classes, *labeled.metadata.get("small_classes", {})}, test.records)
    read_as = _read_as({"test_products": test.products, "test_labels": test.labels})
    found += [test] if test.records else []
    return found, {"rows": {"test": count + test.rows}, "read_as": read_as}


def _has_waiting(paths: dict[str, Path]) -> bool:
    """Whether the products file holds the codes itself, and so may have products without one."""
    return "products" in paths and "labels" not in paths


def _waiting(path: Path, config: PreprocessConfig, labeled: Products, ids: set[str]) -> Catalog:
    """The products of the products file that are to be categorized."""
    catalog = read_catalog(path, None, config)
    # Of a product without a code a person may have decided.
    dropped = {each.product_id for each in decisions_of(labeled.metadata) if each.choice == DROP}
    left = (record for record in take_unlabeled(catalog) if record.product_id not in ids)
    catalog.records = [record for record in left if record.product_id not in dropped]
    return catalog


def _without_code(labeled: Catalog) -> list[Record]:
    """The products to categorize of a file that has the codes itself; elsewhere they are quarantined."""
    if labeled.labels is not None:
        labeled.findings += [
            record.finding("no_label", DROPPED, "no code for this product")
            for record in take_unlabeled(labeled)
        ]
        return []
    waiting = take_unlabeled(labeled)
    if waiting:
        detail = f"{len(waiting)} rows have no code: these products are to be categorized"
        labeled.findings.append(
            Finding(waiting[0].file, waiting[0].line, "", "without_code", FLAGGED, detail)
        )
        log.info("%s: %s", waiting[0].file, detail)
    return waiting


def _read_as(tables: dict[str, Scan | None]) -> dict[str, str]:
    read_as = {name: table.form for name, table in tables.items() if table}
    for name, form in read_as.items():
        log.info("%s read as: %s", name, form)
    return read_as


def labels_columns(catalog: Catalog) -> list[list[str]]:
    """[column, field] of the labels file in its order: the form that predictions go out in."""
    dialect = catalog.dialect
    if catalog.labels is None:
        return [[dialect.products["product_id"], "product_id"], [dialect.labels["code"], "code"]]
    field_of = {column: field for field, column in dialect.labels.items()}
    return [[column, field_of[column]] for column in catalog.labels.header if column in field_of]


def _refuse_known_ids(known: set[str], test: list[Record]) -> None:
    shared = [
        f"{record.file}, line {record.line}: product {record.product_id!r}"
        for record in test
        if record.product_id in known
    ]
    if shared:
        raise InputError(
            f"{len(shared)} test products are in the products file too\n{first_of(shared)}\n"
            "Take them out of one of the two files, or, where each file counts its rows, give them ids of "
            "their own."
        )


def _refuse_unknown_codes(known: set[str], test: list[Record]) -> None:
    unknown = [record for record in test if record.code and record.code not in known]
    if unknown:
        raise InputError(
            f"the test labels have codes that no labeled product has: {codes_and_rows(unknown)}\n"
            "Write them as the labeled products have them, or leave these products without a code: they are "
            "predicted, and not scored."
        )
