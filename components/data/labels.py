"""Tables of ids and codes that a person makes."""

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.core.errors import InputError
from components.data.codes import clean_id
from components.data.tables.delimited import Quotes
from components.data.tables.findings import DROPPED, first_of
from components.data.tables.read import read_table


@dataclass(frozen=True)
class Labels:
    """What a table says of N products, each (N,): its id and code as strings, and its line in the file."""

    ids: np.ndarray
    codes: np.ndarray
    lines: np.ndarray


def read_labels(path: Path, *, known_ids: Set[str], encoding: str = "", quotes: Quotes = "") -> Labels:
    """Reads a table of ids and codes.

    Args:
        path: a table of two columns, with or without a header, or of columns "id" (or "product_id") and
            "code" among others.
        encoding, quotes: how the table is read; see `read_table`.
        known_ids: ids of which some are expected; they are taken as they are written.

    Raises:
        InputError: it is no such table, or an id occurs twice.
    """
    table = read_table(path, encoding=encoding, quotes=quotes)
    dropped = [finding for finding in table.findings if finding.action == DROPPED]
    if dropped:
        raise InputError(f"{path}: {len(dropped)} rows cannot be read\n{first_of(dropped)}\nMend them.")
    names = [["id", "code"], ["product_id", "code"]]
    named = next((each for each in names if set(each) <= set(table.header)), None)
    columns = named or table.header
    if len(columns) != 2 or not table.rows or (named and table.missing(columns)):
        raise InputError(
            f"{path}: expected two columns, id and code, and at least one row; it has "
            f"{len(table.rows)} rows of {table.named()} (read as {table.form})"
        )
    rows = [(row.line, *(row.values[column] for column in columns)) for row in table.rows]
    # A first line that names a product is no header.
    rows = [(1, *columns), *rows] if columns[0] in known_ids else rows
    lines, written, codes = zip(*rows, strict=True)
    ids = [product if product in known_ids else clean_id(product) for product in written]
    line_of: dict[str, int] = {}
    for line, product in zip(lines, ids, strict=True):
        if product in line_of:
            raise InputError(
                f"{path}: id {product!r} occurs twice (line {line}, first in line {line_of[product]})"
            )
        line_of[product] = line
    return Labels(np.array(ids, dtype=object), np.array(codes, dtype=object), np.array(lines))
