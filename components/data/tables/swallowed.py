"""Finds quotes that swallow records: a stray one opens a field that ends lines later."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

Record = tuple[int, list[str]]  # the line that it starts on, its values
MANY = 50_000  # shapes of a column that are counted at a time


def width_of(header: Sequence[str]) -> int:
    """Columns of a header, without empty ones at its end."""
    width = len(header)
    while width > 1 and not header[width - 1].strip():
        width -= 1
    return width


def fits(values: Sequence[str], header: Sequence[str]) -> bool:
    """Whether a record has the header's columns; empty ones at the end may be more or fewer than there."""
    if len(values) == len(header):
        return True
    width = width_of(header)
    return len(values) >= width and not any(value.strip() for value in values[width:])


def swallowing_line(records: Iterable[Record], delimiter: str) -> int:
    """Line of the first quoted field that holds records of the file, whole or in part; 0 for none.

    Args:
        records: of the quoted reading, the header first; they are iterated over several times.
    """
    header = next(iter(records), (0, []))[1]
    if not any(map(_broken, records)):
        return 0
    known = _known_shapes(records)
    for start, values in filter(_broken, records):
        if not fits(values, header):
            return start
        line = start
        for at, value in enumerate(values):
            rows = list(_rows_within(values, at, delimiter)) if "\n" in value else []
            alike = [fits(row, header) and _looks_alike(row, known) for row in rows]
            if any(alike[1:-1]) or (rows and alike[0] and alike[-1]):
                return line
            line += value.count("\n")
    return 0


def _broken(record: Record) -> bool:
    return any("\n" in value for value in record[1])


def _rows_within(values: list[str], at: int, delimiter: str) -> Iterator[list[str]]:
    """The records that a field's lines would be, were the quotes around it text."""
    pieces = [line.split(delimiter) for line in values[at].split("\n")]
    pieces[0] = values[:at] + pieces[0]
    pieces[-1] = pieces[-1] + values[at + 1 :]
    yield from pieces


def _known_shapes(records: Iterable[Record]) -> dict[int, set[str]]:
    """For each column whose cells are much alike (ids, codes, file names): the shapes that they have."""
    (_, header), *_ = islice(records, 1)
    count, counts = 0, [Counter[str]() for _ in range(width_of(header))]
    for _, values in islice(records, 1, None):
        if len(values) < len(counts):
            continue
        count += 1
        for of_column, value in zip(counts, values, strict=False):
            of_column[_shape(value)] += 1
            if len(of_column) > MANY:  # what is seen once among so many is no common shape
                for shape in [shape for shape, times in of_column.items() if times == 1]:
                    del of_column[shape]
    shapes = {}
    for at, of_column in enumerate(counts):
        common = {shape for shape, times in of_column.items() if times >= max(1, 0.01 * count)}
        if len(common) <= 12 and sum(of_column[shape] for shape in common) >= 0.8 * count:
            shapes[at] = common
    return shapes


def _shape(value: str) -> str:
    return re.sub(r"\d+", "9", re.sub(r"[^\W\d_]+", "a", value.strip()[:60]))


def _looks_alike(row: list[str], known: dict[int, set[str]]) -> bool:
    return all(_shape(row[at]) in shapes for at, shapes in known.items())
