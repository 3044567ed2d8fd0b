"""Which columns of a catalog's files hold what: the challenge's two dialects, and a mapping of the user's."""

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from components.core.errors import InputError
from components.data.codes import clean_id
from components.data.tables.findings import DROPPED, FLAGGED, NORMALIZED, Finding, first_of, shown
from components.data.tables.table import Columns, Row

MAX_ID = 255  # characters
FIELDS = ("row_id", "product_id", "title", "description", "image_id", "image", "code")
REQUIRED = ("product_id", "title")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


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


def parse_mapping(text: str) -> dict[str, str]:
    """Reads `product_id=sku,title=name,...` into field -> column; a column's name may hold commas.

    Raises:
        InputError: not of this form, an unknown field, a field twice, or product_id, title or code missing.
    """
    return _mapping("columns", text, FIELDS, (*REQUIRED, "code"))


def class_columns(text: str) -> dict[str, str]:
    """Reads `code=id,name=label,parent=parent_id` in the same way; a parent is optional.

    Raises:
        InputError: as `parse_mapping`.
    """
    return _mapping("class_columns", text, ("code", "name", "parent"), ("code", "name"))


def _mapping(option: str, text: str, known: Sequence[str], required: Sequence[str]) -> dict[str, str]:
    # A comma ends a column's name where another `field=` follows it.
    pairs = [item.split("=", 1) for item in re.split(r",(?=\s*\w+\s*=|\s*$)", text) if item.strip()]
    if any(len(pair) != 2 for pair in pairs):
        raise InputError(f"{option}: {text!r}: expected field=column,field=column")
    fields = [name.strip() for name, _ in pairs]
    mapping = {name: " ".join(column.split()) for name, (_, column) in zip(fields, pairs, strict=True)}
    problems = {
        "unknown": sorted(set(fields) - set(known)),
        "missing": sorted(set(required) - set(fields)),
        "without a column": sorted(name for name, column in mapping.items() if not column),
        "named twice": sorted({name for name in fields if fields.count(name) > 1}),
    }
    found = [f"{what}: {', '.join(names)}" for what, names in problems.items() if names]
    if found:
        raise InputError(
            f"{option}: {'; '.join(found)}. Expected each of the fields once: {', '.join(known)}"
        )
    return mapping


def detect_dialect(table: Columns, mapping: str) -> Dialect:
    """The dialect of a products file by its columns, or the user's own through `mapping`.

    Raises:
        InputError: columns are missing, all of which the message names, or one that is needed is there twice.
    """
    if mapping:
        columns = parse_mapping(mapping)
        products = {name: column for name, column in columns.items() if name != "code"}
        key = "row_id" if "row_id" in columns else "product_id"
        dialect = Dialect("mapped", products, {key: columns[key], "code": columns["code"]})
    else:
        dialect = TSV if {"Title", "Integer_id"} & set(table.header) else CSV
    missing = table.missing(dialect.products.values())
    if missing:
        raise InputError(
            f"{table.path}: {plural(missing, 'column')} missing; it has {table.named()} "
            f"(read as {table.form}). "
            f"Expected the challenge's columns: {', '.join(map(repr, TSV.products.values()))}; "
            f"or {', '.join(map(repr, CSV.products.values()))}; "
            "name others with the columns option: product_id=...,title=...,description=...,image=...,code=..."
        )
    return dialect


def plural(names: list[str], noun: str) -> str:
    """`column 'a'` or `columns 'a', 'b'`."""
    return f"{noun}{'s' if len(names) > 1 else ''} {', '.join(map(shown, names))}"


def checked_rows(
    rows: Iterable[Row], file: Columns, columns: dict[str, str], findings: list[Finding]
) -> Iterator[Row]:
    """The rows whose row and product ids can be used, without white space around them; any text is an id.

    Args:
        rows: of the file; they are iterated over once more where an id occurs twice.
        columns: field -> column.
        findings: receives, once all rows are read, what is wrong with ids.

    Raises:
        InputError: an id occurs twice; all of them are named.
    """
    ids = [columns[name] for name in ("row_id", "product_id") if name in columns]
    seen = {column: array("q") for column in ids}
    unusable, spaced = [], []
    for row in rows:
        if _strip_ids(row, ids):
            spaced.append(row.line)
        if problem := _problem(row, ids):
            product = row.values.get(columns.get("product_id", ""), "")
            unusable.append(Finding(file.path.name, row.line, product, "bad_id", DROPPED, problem))
            continue
        for column, hashes in seen.items():
            hashes.append(hash(row.values[column]))
        yield row
    findings += unusable
    if spaced:
        detail = f"{len(spaced)} rows have ids with white space around them; they are read without it"
        findings.append(Finding(file.path.name, spaced[0], "", "id_spaces", NORMALIZED, detail))
    for column, hashes in seen.items():
        if column in file.numeric:
            detail = (
                f"{_called(column)} holds numbers: zeros at the start of an id are lost; keep ids as text"
            )
            findings.append(Finding(file.path.name, 0, "", "ids_are_numbers", FLAGGED, detail))
        values, times = np.unique(np.frombuffer(hashes, np.int64), return_counts=True)
        if repeated := {*values[times > 1].tolist()}:
            _refuse_repeated(rows, file, column, ids, repeated)


def _strip_ids(row: Row, ids: list[str]) -> bool:
    before = [row.values[column] for column in ids]
    row.values.update({column: clean_id(row.values[column]) for column in ids})
    return any(len(value) != len(value.strip()) for value in before)


def _problem(row: Row, ids: list[str]) -> str:
    found = (f"{_called(column)} {why}" for column in ids if (why := _unusable(row.values[column])))
    return next(found, "")


def _unusable(value: str) -> str:
    if not value:
        return "is empty"
    if len(value) > MAX_ID:
        return f"has {len(value)} characters, {shown(value, 40)}: an id has at most {MAX_ID}"
    return f"is {shown(value)}: an id holds no control characters" if _CONTROL.search(value) else ""


def _called(column: str) -> str:
    return column or "the first column"


def _refuse_repeated(
    rows: Iterable[Row], file: Columns, column: str, ids: list[str], hashes: set[int]
) -> None:
    """Refuses ids that occur twice among those of these hashes."""
    first: dict[str, int] = {}
    repeated = []
    for row in rows:
        _strip_ids(row, ids)
        value = row.values[column]
        if hash(value) not in hashes or _problem(row, ids):
            continue
        if value in first:
            repeated.append(
                f"line {row.line}: {_called(column)} {shown(value)}, first on line {first[value]}"
            )
        first.setdefault(value, row.line)
    if repeated:
        found = "1 id occurs" if len(repeated) == 1 else f"{len(repeated)} ids occur"
        raise InputError(
            f"{file.path}: {found} more than once\n{first_of(repeated)}\n"
            "Give every product one row and one id."
        )
