"""Reads Parquet and JSON Lines, every value as text."""

import io
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.core.errors import InputError
from components.data.tables.findings import DROPPED, Finding, shown
from components.data.tables.table import Table, clean_names
from components.data.tables.workbooks import number_text


def read_parquet(data: bytes, path: Path) -> Table:
    """Reads a Parquet file; a row's line is its number, from 1. A null is ""."""
    content = pq.ParquetFile(io.BytesIO(data)).read()
    names = clean_names(content.column_names)
    table = Table(path, names, "Parquet")
    types = dict(zip(names, (field.type for field in content.schema), strict=False))
    table.nested = {name for name, kind in types.items() if pa.types.is_nested(kind)}
    table.numeric = {
        name for name, kind in types.items() if pa.types.is_integer(kind) or pa.types.is_floating(kind)
    }
    columns = ([_text(value) for value in column.to_pylist()] for column in content.columns)
    for number, values in enumerate(zip(*columns, strict=True), 1):
        table.take(number, list(values), escaped=True)
    return table


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return "" if value != value else number_text(value)  # pandas writes a missing number as NaN
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def read_json_lines(text: str, path: Path) -> Table:
    """Reads one JSON object a line; the columns are all keys, in the order in which they come.

    A number stays as it is written, but for a point and zeros behind it; null and a missing key are "".

    Raises:
        InputError: no line is an object.
    """
    records, wrong = [], []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(
                line, parse_int=_Number, parse_float=_Number, parse_constant=_Number, object_pairs_hook=_once
            )
            if not isinstance(record, dict):
                raise ValueError("not an object")
            records.append((number, record))
        except (ValueError, RecursionError) as error:
            detail = f"not a JSON object: {error}: {shown(line, 60)}"
            wrong.append(Finding(path.name, number, "", "bad_json", DROPPED, detail))
    if not records:
        raise InputError(f"{path}: no line of it is a JSON object: {wrong[0].detail if wrong else 'empty'}")
    keys = list(dict.fromkeys(key for _, record in records for key in record))
    table = Table(path, clean_names(keys), "JSON Lines", findings=wrong)
    table.nested = set(_with(records, (dict, list)))
    table.numeric = set(_with(records, _Number))
    for number, record in records:
        table.take(number, [_json_text(record.get(key)) for key in keys], escaped=True)
    return table


class _Number(str):
    """A number as a JSON text writes it."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("a key occurs twice")
    return record


def _with(records: list[tuple[int, dict[str, Any]]], kind: Any) -> Iterable[str]:
    for _, record in records:
        yield from (key.strip() for key, value in record.items() if isinstance(value, kind))


def _json_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, _Number):
        return re.sub(r"\.0+$", "", value)
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else json.dumps(value)
