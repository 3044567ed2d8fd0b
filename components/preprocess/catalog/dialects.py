"""Reads the challenge's two dialects, and other catalogs through a column mapping, strictly."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from components.core.errors import InputError
from components.preprocess.catalog.quarantine import DROPPED, NORMALIZED, Finding, first_of

MAX_FIELD = 2**20  # characters
ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
FIELDS = ("row_id", "product_id", "title", "description", "image_id", "image", "code")
REQUIRED = ("product_id", "title")


@dataclass(frozen=True)
class Dialect:
    """How a catalog's columns are called.

    Attributes:
        name: "tsv", "csv" (the challenge's, section 2) or "mapped".
        products: field -> column of the products file.
        labels: field -> column of the labels file; rows join on its first column.
    """

    name: str
    products: dict[str, str]
    labels: dict[str, str]


TSV = Dialect(
    "tsv",
    {
        "row_id": "Integer_id",
        "title": "Title",
        "description": "Description",
        "image_id": "Image_id",
        "product_id": "Product_id",
    },
    {"row_id": "Integer_id", "image_id": "Image_id", "product_id": "Product_id", "code": "Prdtypecode"},
)
CSV = Dialect(
    "csv",
    {
        "row_id": "",
        "title": "designation",
        "description": "description",
        "product_id": "productid",
        "image_id": "imageid",
    },
    {"row_id": "", "code": "prdtypecode"},
)


@dataclass
class Row:
    """One record of a file: its fields by name and the line it starts on."""

    line: int
    values: dict[str, str]


@dataclass
class Table:
    """A file read whole: its columns, its usable rows, and what was found on the way."""

    path: Path
    header: list[str]
    delimiter: str
    rows: list[Row]
    findings: list[Finding] = field(default_factory=list)


def parse_mapping(text: str) -> dict[str, str]:
    """Reads `product_id=sku,title=name,...` into field -> column.

    Raises:
        InputError: not of this form, an unknown field, or product_id, title or code missing.
    """
    pairs = [item.split("=", 1) for item in text.split(",") if item.strip()]
    if any(len(pair) != 2 for pair in pairs):
        raise InputError(f"columns: {text!r} is not of the form field=column,field=column")
    mapping = {name.strip(): column.strip() for name, column in pairs}
    unknown = sorted(set(mapping) - set(FIELDS))
    missing = sorted({*REQUIRED, "code"} - set(mapping))
    empty = sorted(name for name, column in mapping.items() if not column)
    problems = {"unknown": unknown, "missing": missing, "without a column": empty}
    found = [f"{what}: {', '.join(names)}" for what, names in problems.items() if names]
    if found:
        raise InputError(f"columns: {'; '.join(found)}. The fields are {', '.join(FIELDS)}")
    return mapping


def detect_dialect(header: list[str], mapping: str, path: Path) -> Dialect:
    """The dialect of a products file by its columns, or the user's own through `mapping`.

    Raises:
        InputError: columns are missing; the message names all of them.
    """
    if mapping:
        columns = parse_mapping(mapping)
        products = {name: column for name, column in columns.items() if name != "code"}
        key = "row_id" if "row_id" in columns else "product_id"
        dialect = Dialect("mapped", products, {key: columns[key], "code": columns["code"]})
    else:
        dialect = TSV if "Title" in header or "Integer_id" in header else CSV
    missing = [column for column in dialect.products.values() if column not in header]
    if missing:
        raise InputError(
            f"{path}: {plural(missing, 'column')} missing; it has {', '.join(map(repr, header))}. "
            f"Expected the challenge's columns: {', '.join(map(repr, TSV.products.values()))}; "
            f"or {', '.join(map(repr, CSV.products.values()))}; "
            "name others with the columns option: product_id=...,title=...,description=...,image=...,code=..."
        )
    return dialect


def plural(names: list[str], noun: str) -> str:
    """`column 'a'` or `columns 'a', 'b'`."""
    return f"{noun}{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))}"


def read_table(path: Path) -> Table:
    """Reads a delimited text file: tabs without quoting where its header has a tab, else CSV with quotes.

    A TSV record is one line, and quotes in it are text; pandas' defaults lose rows there. Bad UTF-8 and
    NUL are replaced and reported; a row with another number of fields than the header, or a field over
    one million characters, is quarantined with its line.

    Raises:
        InputError: no header, a column twice, or quoting that cannot be read.
    """
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        first = file.readline()
    delimiter = "\t" if "\t" in first else max(",;", key=first.count)
    records = _tab_records(path) if delimiter == "\t" else _quoted_records(path, delimiter)
    line, header = next(records, (1, []))
    if not any(header):
        raise InputError(f"{path}: empty: expected a line of column names")
    if len(set(header)) != len(header):
        raise InputError(f"{path}: a column name occurs twice: {header}")
    table = Table(path, header, delimiter, [])
    for line, values in records:
        _take(table, line, values)
    return table


def _take(table: Table, line: int, values: list[str]) -> None:
    name = table.path.name
    if len(values) != len(table.header):
        detail = f"{len(values)} fields, expected {len(table.header)}"
        table.findings.append(Finding(name, line, "", "field_count", DROPPED, detail))
        return
    longest = max(map(len, values))
    if longest > MAX_FIELD:
        detail = f"a field of {longest:,} characters, at most {MAX_FIELD:,} are read"
        table.findings.append(Finding(name, line, "", "field_too_long", DROPPED, detail))
        return
    for reason, sign in (("bad_utf8", "\ufffd"), ("nul", "\0")):
        if any(sign in value for value in values):
            table.findings.append(Finding(name, line, "", reason, NORMALIZED, "replaced"))
    values = [value.replace("\0", " ") for value in values]
    table.rows.append(Row(line, dict(zip(table.header, values, strict=True))))


def _tab_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as file:
        for number, line in enumerate(file, 1):
            text = line.rstrip("\r\n")
            if text:
                yield number, text.split("\t")


def _quoted_records(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(64 * MAX_FIELD)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        start = 1
        try:
            for values in reader:
                if values:
                    yield start, values
                start = reader.line_num + 1
        except csv.Error as error:
            raise InputError(
                f"{path}: the record that starts on line {start} cannot be read: {error}. "
                "Quotes inside a quoted field must be doubled."
            ) from error


def check_ids(table: Table, columns: dict[str, str]) -> None:
    """Checks the row and product ids of a table in place: unsafe ones are quarantined, repeated ones refused.

    Raises:
        InputError: an id occurs twice; all of them are named.
    """
    ids = [columns[name] for name in ("row_id", "product_id") if name in columns]
    kept = []
    for row in table.rows:
        bad = [column for column in ids if not ID_PATTERN.fullmatch(row.values[column])]
        if bad:
            name = bad[0] or "the first column"
            detail = f"{name} is {row.values[bad[0]]!r}: expected letters, digits and . _ : -"
            product = row.values.get(columns.get("product_id", ""), "")
            table.findings.append(Finding(table.path.name, row.line, product, "bad_id", DROPPED, detail))
        else:
            kept.append(row)
    table.rows = kept
    for column in ids:
        _refuse_repeated(table, column)


def _refuse_repeated(table: Table, column: str) -> None:
    first: dict[str, int] = {}
    repeated = []
    for row in table.rows:
        value = row.values[column]
        if value in first:
            repeated.append(
                f"line {row.line}: {column or 'the first column'} {value!r}, first on line {first[value]}"
            )
        first.setdefault(value, row.line)
    if repeated:
        found = "1 id occurs" if len(repeated) == 1 else f"{len(repeated)} ids occur"
        raise InputError(f"{table.path}: {found} more than once\n{first_of(repeated)}")
