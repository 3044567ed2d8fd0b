"""Joins a catalog's files into records: products with their codes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from components.core.errors import InputError
from components.data.codes import clean_code, clean_id
from components.data.tables.findings import DROPPED, IGNORED, Finding, first_of, shown
from components.data.tables.read import read_table
from components.data.tables.table import Row, Table
from components.preprocess.catalog.dialects import Dialect, check_ids, detect_dialect, plural
from components.preprocess.catalog.joining import number_form, refuse_merged, why_not_joined
from components.preprocess.config import PreprocessConfig


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
    picture: str | None = None  # what the image shows: near duplicates have the key of one of them

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


def read_catalog(products: Path, labels: Path | None, config: PreprocessConfig) -> Catalog:
    """Reads one products file and its labels.

    Args:
        labels: the labels file; None where the products file has the codes or there are none.

    Raises:
        InputError: missing columns, repeated ids, empty codes, ids that disagree between the files.
    """
    table = read_table(products, encoding=config.encoding, quotes=config.quotes)
    dialect = detect_dialect(table, config.columns)
    check_ids(table, dialect.products)
    table.missing(
        [dialect.labels["code"]] if labels is None else []
    )  # refuses a column of codes that is there twice
    records = [_record(row, table, dialect, config.image_name) for row in table.rows]
    label_table = None
    if labels is not None:
        label_table = read_table(labels, encoding=config.encoding, quotes=config.quotes)
        _check_label_columns(label_table, dialect)
        check_ids(label_table, {field: name for field, name in dialect.labels.items() if field != "code"})
        _join_codes(records, label_table, dialect, config.match_ids == "number")
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
    column, table = catalog.dialect.labels["code"], catalog.products
    if column not in table.header:
        raise InputError(
            f"{table.path}: column {column!r} missing, which was to hold the codes; it has {table.named()}. "
            "Name the column with the columns option (code=...), or the file that has the codes."
        )


def take_unlabeled(catalog: Catalog) -> list[Record]:
    """Takes the records without a code out of a catalog, in place, and returns them."""
    unlabeled = [record for record in catalog.records if record.code is None]
    catalog.records = [record for record in catalog.records if record.code is not None]
    return unlabeled


def _record(row: Row, table: Table, dialect: Dialect, image_name: str) -> Record:
    columns, values = dialect.products, row.values

    def value(field: str) -> str:
        return values[columns[field]] if field in columns else ""

    product_id, image_id = value("product_id"), clean_id(value("image_id"))
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
        code=clean_code(values.get(dialect.labels["code"], "")) or None,
    )


def _check_label_columns(table: Table, dialect: Dialect) -> None:
    missing = table.missing(dialect.labels.values())
    if missing:
        raise InputError(
            f"{table.path}: {plural(missing, 'column')} missing; it has {table.named()} "
            f"(read as {table.form}). Labels join on the products' id and hold a column of codes; "
            "see the columns option."
        )
    code = dialect.labels["code"]
    for row in table.rows:
        row.values[code] = clean_code(row.values[code])
    empty = [f"line {row.line}: {code} is empty" for row in table.rows if not row.values[code]]
    if empty:
        raise InputError(
            f"{table.path}: {len(empty)} rows have no code\n{first_of(empty)}\n"
            "Give them one, or leave these rows out of the labels."
        )


def _join_codes(records: Sequence[Record], labels: Table, dialect: Dialect, as_numbers: bool) -> None:
    field, column = next(iter(dialect.labels.items()))
    form = number_form if as_numbers else str
    rows = {form(row.values[column]): row for row in labels.rows}
    if as_numbers:
        refuse_merged([getattr(record, field) for record in records], "products")
        refuse_merged([row.values[column] for row in labels.rows], "labels")
    unjoined, disagreeing = [], []
    for record in records:
        row = rows.pop(form(getattr(record, field)), None)
        if row is None:
            unjoined.append(record)
            continue
        record.code = row.values[dialect.labels["code"]]
        disagreeing += _disagreements(record, row, dialect, form)
    if disagreeing:
        raise InputError(
            f"{labels.path}: {len(disagreeing)} rows belong to other products\n{first_of(disagreeing)}\n"
            "The two files must be of one catalog, their ids written alike."
        )
    left = [row.values[column] for row in rows.values()]
    reasons = why_not_joined([getattr(record, field) for record in unjoined], left)
    if unjoined and rows and len(unjoined) == len(records):
        _refuse_disjoint(labels, field, unjoined, left, reasons)
    for row in rows.values():
        value = row.values[column]
        detail = f"no usable product has this id{reasons.get(value, '')}"
        labels.findings.append(
            Finding(labels.path.name, row.line, value, "label_without_product", IGNORED, detail)
        )


def _disagreements(record: Record, row: Row, dialect: Dialect, form: type | object) -> list[str]:
    """The other ids of a label's row that are not the product's."""
    found = []
    for field in ("product_id", "image_id"):
        column, expected = dialect.labels.get(field), getattr(record, field)
        if column and form(clean_id(row.values[column])) != form(expected):  # type: ignore[operator]
            where = f"{record.file} line {record.line}"
            found.append(
                f"line {row.line}: {column} {shown(row.values[column])}, but {where} has {shown(expected)}"
            )
    return found


def _refuse_disjoint(
    labels: Table, field: str, records: Sequence[Record], keys: Sequence[str], reasons: dict[str, str]
) -> None:
    ids = [getattr(record, field) for record in records]
    why = next(iter(reasons.values()), "; none of the usual reasons: are they of one catalog?")
    raise InputError(
        f"{labels.path}: none of its {len(keys)} labels has the id of a product of {records[0].file}{why}\n"
        f"  products: {', '.join(map(shown, ids[:3]))}\n  labels: {', '.join(map(shown, keys[:3]))}"
    )
