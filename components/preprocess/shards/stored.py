"""Records and findings on the disk: what passes between the tasks of preprocess, read a batch at a time."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.core.artifacts import whole_file
from components.data.tables.findings import Finding
from components.preprocess.catalog.records import Record
from components.preprocess.images.packing import Found

BATCH = 4096  # records in memory at a time
BUFFER = 2**20  # bytes of a column
KEPT = tuple(field.name for field in fields(Record) if field.name not in ("code", "image"))
RECORDS = pa.schema([(name, pa.int64() if name in ("line", "row") else pa.string()) for name in KEPT])
FINDINGS = pa.schema(
    [
        ("attempt", pa.int64()),
        ("row", pa.int64()),
        *((field.name, pa.int64() if field.name == "line" else pa.string()) for field in fields(Finding)),
    ]
)
CLEANING = -1  # the attempt of a finding that concerns no image


def batches(items: Iterable[Any], size: int = BATCH) -> Iterator[list[Any]]:
    """The items, so many at a time."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


class RowWriter:
    """Writes rows, each in the order of the schema, as Parquet; holds a batch of them in memory."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema, self._waiting = schema, list[Sequence[Any]]()
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        """Writes some more rows, once there is a batch of them."""
        self._waiting += rows
        if len(self._waiting) >= BATCH:
            self._flush()

    def close(self) -> None:
        """Ends the file."""
        if self._waiting:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        columns = zip(zip(*self._waiting, strict=True), self._schema.types, strict=True)
        arrays = [pa.array(column, kind) for column, kind in columns]
        self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._waiting = []


@contextmanager
def written_rows(path: Path, schema: pa.Schema) -> Iterator[RowWriter]:
    """A writer of a Parquet file, which is whole or not there once the block is left."""
    with whole_file(path) as temporary, closing(RowWriter(temporary, schema)) as writer:
        yield writer


def write_rows(path: Path, schema: pa.Schema, rows: Iterable[Sequence[Any]]) -> int:
    """Writes rows, each in the order of the schema, as Parquet; returns how many there are."""
    count = 0
    with written_rows(path, schema) as writer:
        for batch in batches(rows):
            writer.add(batch)
            count += len(batch)
    return count


def read_batches(path: Path, columns: Sequence[str]) -> Iterator[dict[str, list[Any]]]:
    """Some columns of a Parquet file, a batch of rows at a time."""
    with pq.ParquetFile(path, buffer_size=BUFFER) as file:
        for batch in file.iter_batches(BATCH, columns=list(columns)):
            yield {name: batch.column(name).to_pylist() for name in columns}


def write_records(path: Path, records: Iterable[Record]) -> int:
    """Writes records without their codes and images; returns how many there are."""
    return write_rows(path, RECORDS, ([getattr(each, name) for name in KEPT] for each in records))


def read_records(path: Path) -> Iterator[Record]:
    """Reads what `write_records` wrote."""
    for batch in read_batches(path, KEPT):
        for values in zip(*batch.values(), strict=True):
            yield Record(**dict(zip(batch, values, strict=True)))


def rows_of_found(found: Iterable[Found]) -> Iterator[Sequence[Any]]:
    """Findings with the records that they are about, as rows of `FINDINGS`."""
    return ((each.attempt, each.row, *each.finding.values()) for each in found)


def read_found(path: Path) -> Iterator[Found]:
    """Reads what `rows_of_found` made; there may be one for every product."""
    for batch in read_batches(path, FINDINGS.names):
        known: dict[Any, Any] = {}  # one text in memory for what many findings share
        for attempt, row, *values in zip(*batch.values(), strict=True):
            yield Found(attempt, row, Finding(*(known.setdefault(value, value) for value in values)))
