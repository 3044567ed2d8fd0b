"""Tables of ids and codes that a person makes."""

from collections.abc import Set
from pathlib import Path

import numpy as np

from components.core.errors import InputError
from components.data.codes import clean_id
from components.data.tables.delimited import Quotes
from components.data.tables.findings import DROPPED, first_of
from components.data.tables.read import read_table


def read_labels(
    path: Path, *, known_ids: Set[str], encoding: str = "", quotes: Quotes = ""
) -> tuple[np.ndarray, np.ndarray]:
    """Reads ids and codes as strings, both (N,).

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
    pairs = [[row.values[column] for column in columns] for row in table.rows]
    # A first line that names a product is no header.
    pairs = [columns, *pairs] if columns[0] in known_ids else pairs
    ids = [product if product in known_ids else clean_id(product) for product, _ in pairs]
    row_of: dict[str, int] = {}
    for row, product in enumerate(ids, 1):
        if row_of.setdefault(product, row) != row:
            raise InputError(
                f"{path}: id {product!r} occurs twice (row {row}, first in row {row_of[product]})"
            )
    return np.array(ids, dtype=object), np.array([code for _, code in pairs], dtype=object)
