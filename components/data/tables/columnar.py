"""Reads Parquet and JSON Lines, every value as text."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.core.errors import InputError
from components.core.reading import unique_keys
from components.data.tables.findings import DROPPED, Finding, shown
from components.data.tables.lines import Lines, Unpacked
from components.data.tables.table import Scan, clean_names
from components.data.tables.workbooks import number_text

BATCH, BUFFER = 4096, 2**20  # rows and bytes of a Parquet file in memory at a time


def scan_parquet(source: Unpacked, path: Path) -> Scan:
    """A Parquet file; a row's line is its number, from 1. A null is ""."""
    schema = pq.read_schema(source.file)
    names = clean_names(schema.names)
    types = dict(zip(names, (field.type for field in schema), strict=False))
    scan = Scan(path, names, "Parquet", escaped=True)
    scan.nested = {name for name, kind in types.items() if pa.types.is_nested(kind)}
    scan.numeric = {
        name for name, kind in types.items() if pa.types.is_integer(kind) or pa.types.is_floating(kind)
    }
    scan.records = lambda: enumerate(_parquet_rows(source), 1)
    return scan


def _parquet_rows(source: Unpacked) -> Iterator[list[str]]:
    with pq.ParquetFile(source.file, buffer_size=BUFFER) as file:
        for batch in file.iter_batches(BATCH):
            columns = ([_text(value) for value in column.to_pylist()] for column in batch.columns)
            yield from map(list, zip(*columns, strict=True))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return "" if value != value else number_text(value)  # pandas writes a missing number as NaN
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def scan_json_lines(lines: Lines, path: Path) -> Scan:
    """One JSON object a line; the columns are all keys, in the order in which they come.

    A number stays as it is written, but for a point and zeros behind it; null and a missing key are "".

    Raises:
        InputError: no line is an object.
    """
    scan = Scan(path, [], "JSON Lines", escaped=True)
    keys: dict[str, None] = {}
    some = False
    for _, record in _objects(lines, path, scan.findings):
        some = True
        keys.update(dict.fromkeys(record))
        scan.nested |= {key.strip() for key, value in record.items() if isinstance(value, (dict, list))}
        scan.numeric |= {key.strip() for key, value in record.items() if isinstance(value, _Number)}
    if not some:
        why = scan.findings[0].detail if scan.findings else "empty"
        raise InputError(f"{path}: no line of it is a JSON object: {why}")
    scan.header = clean_names(keys)
    scan.records = lambda: (
        (number, [_json_text(record.get(key)) for key in keys])
        for number, record in _objects(lines, path, [])
    )
    return scan


def _objects(lines: Lines, path: Path, wrong: list[Finding]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(
                line,
                parse_int=_Number,
                parse_float=_Number,
                parse_constant=_Number,
                object_pairs_hook=unique_keys,
            )
            if not isinstance(record, dict):
                raise ValueError("not an object")
        except (ValueError, RecursionError) as error:
            detail = f"not a JSON object: {error}: {shown(line, 60)}"
            wrong.append(Finding(path.name, number, "", "bad_json", DROPPED, detail))
            continue
        yield number, record


class _Number(str):
    """A number as a JSON text writes it."""


def _json_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, _Number):
        return re.sub(r"\.0+$", "", value)
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else json.dumps(value)
