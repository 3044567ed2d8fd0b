"""Joins a catalog's files into records: products with their codes."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from components.core.errors import InputError
from components.data.codes import clean_code, clean_id
from components.data.tables.findings import DROPPED, IGNORED, Finding, first_of, shown
from components.data.tables.read import scan_table
from components.data.tables.table import Row, Rows, Scan
from components.preprocess.catalog.dialects import Dialect, checked_rows, detect_dialect, plural
from components.preprocess.catalog.joining import number_form, refuse_merged, why_not_joined
from components.preprocess.config import PreprocessConfig


@dataclass(slots=True)
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
    row: int = -1  # its number among the records of its part of the catalog

    def finding(self, reason: str, action: str, detail: str) -> Finding:
        """A line of the quarantine report about this product."""
        return Finding(self.file, self.line, self.product_id, reason, action, detail)


@dataclass
class Catalog:
    """A products file joined with its labels.

    Attributes:
        records: without titles, descriptions and names of images, which `complete` adds: a catalog's texts
            stay on the disk.
        rows: how many rows the products file has, usable or not.
        findings: what was left out or normalized on the way.
        also: of each record what stands in a column that was asked for.
    """

    products: Scan
    dialect: Dialect
    image_name: str
    labels: Scan | None = None
    records: list[Record] = field(default_factory=list)
    rows: int = 0
    findings: list[Finding] = field(default_factory=list)
    also: list[str] = field(default_factory=list)

    def complete(self, records: Iterable[Record]) -> Iterator[Record]:
        """Copies of some records, in the order of the file, with all that stands in it.

        Raises:
            InputError: the file is another one by now.
        """
        rows = iter(Rows(self.products))
        for record in records:
            row = next((row for row in rows if row.line == record.line), None)
            if row is None or clean_id(row.values[self.dialect.products["product_id"]]) != record.product_id:
                raise InputError(f"{self.products.path}: was changed while it was read; start again")
            yield self._completed(record, row)

    def _completed(self, record: Record, row: Row) -> Record:
        values, columns = row.values, self.dialect.products
        if "image" in columns:
            name = values[columns["image"]]
        elif record.image_id or "{image_id" not in self.image_name:
            name = self.image_name.format(image_id=record.image_id, product_id=record.product_id)
        else:
            name = ""
        description = values[columns["description"]] if "description" in columns else ""
        return replace(record, title=values[columns["title"]], description=description, image_name=name)


def read_catalog(products: Path, labels: Path | None, config: PreprocessConfig, *, also: str = "") -> Catalog:
    """Reads one products file and its labels.

    Args:
        labels: the labels file; None where the products file has the codes or there are none.
        also: a column that is kept beside the records.

    Raises:
        InputError: missing columns, repeated ids, empty codes, ids that disagree between the files.
    """
    scan = scan_table(products, encoding=config.encoding, quotes=config.quotes)
    dialect = detect_dialect(scan, config.columns)
    catalog = Catalog(scan, dialect, config.image_name)
    # Refuses a column that is there twice.
    scan.missing([*([dialect.labels["code"]] if labels is None else []), *([also] if also else [])])
    findings = [*scan.findings]
    for row in checked_rows(Rows(scan, findings), scan, dialect.products, findings):
        catalog.records.append(_record(row, scan.path.name, dialect))
        if also:
            catalog.also.append(row.values.get(also, ""))
    catalog.rows = len(catalog.records) + sum(finding.action == DROPPED for finding in findings)
    catalog.findings = findings
    if labels is not None:
        catalog.labels = scan_table(labels, encoding=config.encoding, quotes=config.quotes)
        found = _join_codes(catalog.records, catalog.labels, dialect, config.match_ids == "number")
        catalog.findings += _as_ignored(found)
    return catalog


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


def _record(row: Row, file: str, dialect: Dialect) -> Record:
    columns, values = dialect.products, row.values
    product_id = values[columns["product_id"]]
    row_id = (values[columns["row_id"]] if "row_id" in columns else "") or product_id
    image_id = clean_id(values[columns["image_id"]]) if "image_id" in columns else ""
    code = clean_code(values.get(dialect.labels["code"], ""))
    # One text in memory for what is often the same.
    row_id = product_id if row_id == product_id else row_id
    image_id = product_id if image_id == product_id else image_id
    code = sys.intern(code) if code else None
    return Record(file, row.line, row_id, product_id, "", "", image_id, "", code)


def _check_label_columns(labels: Scan, dialect: Dialect) -> None:
    missing = labels.missing(dialect.labels.values())
    if missing:
        raise InputError(
            f"{labels.path}: {plural(missing, 'column')} missing; it has {labels.named()} "
            f"(read as {labels.form}). Labels join on the products' id and hold a column of codes; "
            "see the columns option."
        )


class _Labels:
    """The rows of a labels file, all of which have a code."""

    def __init__(self, scan: Scan, code: str, findings: list[Finding]) -> None:
        self._scan, self._code, self._rows = scan, code, Rows(scan, findings)

    def __iter__(self) -> Iterator[Row]:
        empty = []
        for row in self._rows:
            row.values[self._code] = clean_code(row.values[self._code])
            if not row.values[self._code]:
                empty.append(f"line {row.line}: {self._code} is empty")
            yield row
        if empty:
            raise InputError(
                f"{self._scan.path}: {len(empty)} rows have no code\n{first_of(empty)}\n"
                "Give them one, or leave these rows out of the labels."
            )


def _join_codes(records: Sequence[Record], labels: Scan, dialect: Dialect, as_numbers: bool) -> list[Finding]:
    """Gives the records their codes; returns what was found in the labels."""
    _check_label_columns(labels, dialect)
    key, column = next(iter(dialect.labels.items()))
    columns = {name: name_there for name, name_there in dialect.labels.items() if name != "code"}
    code, findings, form = dialect.labels["code"], [*labels.findings], number_form if as_numbers else str
    place = {form(getattr(record, key)): at for at, record in enumerate(records)}
    joined, disagreeing, left = np.zeros(len(records), bool), [], {}
    values = []
    for row in checked_rows(_Labels(labels, code, findings), labels, columns, findings):
        value = row.values[column]
        values += [value] if as_numbers else []
        at = place.get(form(value))
        if at is None:
            left[value] = row.line
            continue
        joined[at], records[at].code = True, sys.intern(row.values[code])
        disagreeing += [(at, each) for each in _disagreements(records[at], row, dialect, form)]
    if as_numbers:
        refuse_merged([getattr(record, key) for record in records], "products")
        refuse_merged(values, "labels")
    _refuse_disagreeing(labels, [each for _, each in sorted(disagreeing, key=lambda pair: pair[0])])
    unjoined = [records[at] for at in np.flatnonzero(~joined).tolist()]
    reasons = why_not_joined([getattr(record, key) for record in unjoined], [*left]) if left else {}
    if unjoined and left and len(unjoined) == len(records):
        _refuse_disjoint(labels, key, unjoined, [*left], reasons)
    for value, line in left.items():
        detail = f"no usable product has this id{reasons.get(value, '')}"
        findings.append(Finding(labels.path.name, line, value, "label_without_product", IGNORED, detail))
    return findings


def _disagreements(record: Record, row: Row, dialect: Dialect, form: type | object) -> list[str]:
    """The other ids of a label's row that are not the product's."""
    found = []
    for name in ("product_id", "image_id"):
        column, expected = dialect.labels.get(name), getattr(record, name)
        if column and form(clean_id(row.values[column])) != form(expected):  # type: ignore[operator]
            where = f"{record.file} line {record.line}"
            found.append(
                f"line {row.line}: {column} {shown(row.values[column])}, but {where} has {shown(expected)}"
            )
    return found


def _refuse_disagreeing(labels: Scan, disagreeing: Sequence[str]) -> None:
    if disagreeing:
        raise InputError(
            f"{labels.path}: {len(disagreeing)} rows belong to other products\n{first_of(disagreeing)}\n"
            "The two files must be of one catalog, their ids written alike."
        )


def _refuse_disjoint(
    labels: Scan, key: str, records: Sequence[Record], keys: Sequence[str], reasons: dict[str, str]
) -> None:
    ids = [getattr(record, key) for record in records]
    why = next(iter(reasons.values()), "; none of the usual reasons: are they of one catalog?")
    raise InputError(
        f"{labels.path}: none of its {len(keys)} labels has the id of a product of {records[0].file}{why}\n"
        f"  products: {', '.join(map(shown, ids[:3]))}\n  labels: {', '.join(map(shown, keys[:3]))}"
    )
