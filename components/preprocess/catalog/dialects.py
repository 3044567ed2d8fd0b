"""Which columns of a catalog's files hold what: the challenge's two dialects, and a mapping of the user's."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from components.core.errors import InputError
from components.data.codes import clean_id
from components.data.tables.findings import DROPPED, FLAGGED, NORMALIZED, Finding, first_of, shown
from components.data.tables.table import Row, Table

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


def detect_dialect(table: Table, mapping: str) -> Dialect:
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


def check_ids(table: Table, columns: dict[str, str]) -> None:
    """Checks the row and product ids of a table in place: any text is an id, unusable ones are quarantined.

    Raises:
        InputError: an id occurs twice; all of them are named.
    """
    ids = [columns[name] for name in ("row_id", "product_id") if name in columns]
    spaced = [row for row in table.rows if _strip_ids(row, ids)]
    kept = []
    for row in table.rows:
        problem = next(
            (f"{_called(column)} {why}" for column in ids if (why := _unusable(row.values[column]))), ""
        )
        if problem:
            product = row.values.get(columns.get("product_id", ""), "")
            table.findings.append(Finding(table.path.name, row.line, product, "bad_id", DROPPED, problem))
        else:
            kept.append(row)
    table.rows = kept
    if spaced:
        detail = f"{len(spaced)} rows have ids with white space around them; they are read without it"
        table.findings.append(Finding(table.path.name, spaced[0].line, "", "id_spaces", NORMALIZED, detail))
    for column in ids:
        if column in table.numeric:
            detail = (
                f"{_called(column)} holds numbers: zeros at the start of an id are lost; keep ids as text"
            )
            table.findings.append(Finding(table.path.name, 0, "", "ids_are_numbers", FLAGGED, detail))
        _refuse_repeated(table, column)


def _strip_ids(row: Row, ids: list[str]) -> bool:
    before = [row.values[column] for column in ids]
    row.values.update({column: clean_id(row.values[column]) for column in ids})
    return any(len(value) != len(value.strip()) for value in before)


def _unusable(value: str) -> str:
    if not value:
        return "is empty"
    if len(value) > MAX_ID:
        return f"has {len(value)} characters, {shown(value, 40)}: an id has at most {MAX_ID}"
    return f"is {shown(value)}: an id holds no control characters" if _CONTROL.search(value) else ""


def _called(column: str) -> str:
    return column or "the first column"


def _refuse_repeated(table: Table, column: str) -> None:
    first: dict[str, int] = {}
    repeated = []
    for row in table.rows:
        value = row.values[column]
        if value in first:
            repeated.append(
                f"line {row.line}: {_called(column)} {shown(value)}, first on line {first[value]}"
            )
        first.setdefault(value, row.line)
    if repeated:
        found = "1 id occurs" if len(repeated) == 1 else f"{len(repeated)} ids occur"
        raise InputError(
            f"{table.path}: {found} more than once\n{first_of(repeated)}\n"
            "Give every product one row and one id."
        )
