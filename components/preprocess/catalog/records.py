"""Joins a catalog's files into records: products with their codes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from components.core.errors import InputError
from components.preprocess.catalog.dialects import (
    Dialect,
    Row,
    Table,
    check_ids,
    detect_dialect,
    plural,
    read_table,
)
from components.preprocess.catalog.quarantine import DROPPED, IGNORED, Finding, first_of


@dataclass
class Record:
    """One product as its catalog has it; `code` is None where there is no label."""

    file: str
    line: int
    row_id: str
    product_id: str
    title: str
    description: str
    image_id: str
    image_name: str  # file names of the images, "" where none is named
    code: str | None = None
    image: str | None = None  # key in the image store

    def finding(self, reason: str, action: str, detail: str) -> Finding:
        """A line of the quarantine report about this product."""
        return Finding(self.file, self.line, self.product_id, reason, action, detail)


@dataclass
class Catalog:
    """A products file joined with its labels.

    Attributes:
        rows: how many rows the products file has, usable or not.
        findings: what was left out or normalized on the way.
    """

    records: list[Record]
    rows: int
    findings: list[Finding]
    products: Table
    labels: Table | None
    dialect: Dialect


def read_catalog(products: Path, labels: Path | None, *, mapping: str, image_name: str) -> Catalog:
    """Reads one products file and its labels.

    Args:
        labels: the labels file; None where the products file has the codes or there are none.
        mapping: the column mapping, "" for the challenge's dialects.
        image_name: how an image file is called, with `{image_id}` and `{product_id}`.

    Raises:
        InputError: missing columns, repeated ids, empty codes, ids that disagree between the files.
    """
    table = read_table(products)
    dialect = detect_dialect(table.header, mapping, products)
    check_ids(table, dialect.products)
    records = [_record(row, table, dialect, image_name) for row in table.rows]
    label_table = None
    if labels is not None:
        label_table = read_table(labels)
        _check_label_columns(label_table, dialect)
        check_ids(label_table, {field: name for field, name in dialect.labels.items() if field != "code"})
        _join_codes(records, label_table, dialect)
    findings = table.findings + (_as_ignored(label_table.findings) if label_table else [])
    rows = len(records) + sum(finding.action == DROPPED for finding in table.findings)
    return Catalog(records, rows, findings, table, label_table, dialect)


def _as_ignored(findings: Sequence[Finding]) -> list[Finding]:
    # A label that cannot be read leaves its product unlabeled; the product is what counts as quarantined.
    return [replace(one, action=IGNORED) if one.action == DROPPED else one for one in findings]


def check_code_column(catalog: Catalog) -> None:
    """Checks that a products file without a labels file beside it holds the codes itself.

    Raises:
        InputError: it has no such column.
    """
    column, header = catalog.dialect.labels["code"], catalog.products.header
    if column not in header:
        raise InputError(
            f"{catalog.products.path}: column {column!r} missing, which was to hold the codes; it has "
            f"{', '.join(map(repr, header))}"
        )


def drop_unlabeled(catalog: Catalog) -> None:
    """Quarantines the records without a code, in place."""
    catalog.findings += [
        record.finding("no_label", DROPPED, "no code for this product")
        for record in catalog.records
        if record.code is None
    ]
    catalog.records = [record for record in catalog.records if record.code is not None]


def apply_corrections(records: Sequence[Record], corrections: Table) -> None:
    """Puts a person's codes in place of the catalog's.

    Raises:
        InputError: columns are missing, a row that cannot be read, a product or a code that the catalog
            does not have, or a product that is corrected twice.
    """
    missing = {"product_id", "code"} - set(corrections.header)
    if missing:
        raise InputError(f"{corrections.path}: missing columns {sorted(missing)}; expected product_id, code")
    by_id = {record.product_id: record for record in records}
    codes = {record.code for record in records}
    times = Counter(row.values["product_id"] for row in corrections.rows)
    wrong = [
        f"line {found.line}: {found.detail}" for found in corrections.findings if found.action == DROPPED
    ]
    wrong += [
        f"line {row.line}: product_id {row.values['product_id']!r} is corrected more than once"
        for row in corrections.rows
        if times[row.values["product_id"]] > 1
    ]
    wrong += [
        f"line {row.line}: {column} {row.values[column]!r} is not in the catalog"
        for row in corrections.rows
        for column, known in (("product_id", by_id), ("code", codes))
        if row.values[column] not in known
    ]
    if wrong:
        raise InputError(f"{corrections.path}: {len(wrong)} corrections cannot be made\n{first_of(wrong)}")
    for row in corrections.rows:
        by_id[row.values["product_id"]].code = row.values["code"]


def _record(row: Row, table: Table, dialect: Dialect, image_name: str) -> Record:
    columns, values = dialect.products, row.values

    def value(field: str) -> str:
        return values[columns[field]] if field in columns else ""

    product_id, image_id = value("product_id"), value("image_id")
    if "image" in columns:
        name = value("image")
    elif image_id or "{image_id" not in image_name:
        name = image_name.format(image_id=image_id, product_id=product_id)
    else:
        name = ""
    return Record(
        file=table.path.name,
        line=row.line,
        row_id=value("row_id") or product_id,
        product_id=product_id,
        title=value("title"),
        description=value("description"),
        image_id=image_id,
        image_name=name,
        code=values.get(dialect.labels["code"], "").strip() or None,
    )


def _check_label_columns(table: Table, dialect: Dialect) -> None:
    missing = [column for column in dialect.labels.values() if column not in table.header]
    if missing:
        raise InputError(
            f"{table.path}: {plural(missing, 'column')} missing; it has {', '.join(map(repr, table.header))}"
        )
    code = dialect.labels["code"]
    empty = [f"line {row.line}: {code} is empty" for row in table.rows if not row.values[code].strip()]
    if empty:
        raise InputError(f"{table.path}: {len(empty)} rows have no code\n{first_of(empty)}")


def _join_codes(records: Sequence[Record], labels: Table, dialect: Dialect) -> None:
    key_field, key = next(iter(dialect.labels.items()))
    rows = {row.values[key]: row for row in labels.rows}
    disagreeing = []
    for record in records:
        row = rows.pop(getattr(record, key_field), None)
        if row is None:
            continue
        record.code = row.values[dialect.labels["code"]].strip()
        for field in ("product_id", "image_id"):
            column, expected = dialect.labels.get(field), getattr(record, field)
            if column and row.values[column] != expected:
                where = f"{record.file} line {record.line}"
                disagreeing.append(
                    f"line {row.line}: {column} {row.values[column]!r}, but {where} has {expected!r}"
                )
    if disagreeing:
        raise InputError(
            f"{labels.path}: {len(disagreeing)} rows belong to other products\n{first_of(disagreeing)}"
        )
    detail = "no usable product has this id"
    labels.findings += [
        Finding(labels.path.name, row.line, value, "label_without_product", IGNORED, detail)
        for value, row in rows.items()
    ]
