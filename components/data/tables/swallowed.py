"""Finds quotes that swallow records: a stray one opens a field that ends lines later."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

Record = tuple[int, list[str]]  # the line that it starts on, its values


def width_of(header: list[str]) -> int:
    """Columns of a header, without empty ones at its end."""
    width = len(header)
    while width > 1 and not header[width - 1].strip():
        width -= 1
    return width


def fits(values: list[str], header: list[str]) -> bool:
    """Whether a record has the header's columns; empty ones at the end may be more or fewer than there."""
    if len(values) == len(header):
        return True
    width = width_of(header)
    return len(values) >= width and not any(value.strip() for value in values[width:])


def swallowing_line(records: Sequence[Record], delimiter: str) -> int:
    """Line of the first quoted field that holds records of the file, whole or in part; 0 for none.

    Args:
        records: of the quoted reading, the header first.
    """
    header = records[0][1]
    broken = [record for record in records if any("\n" in value for value in record[1])]
    if not broken:
        return 0
    known = _known_shapes(records)
    for start, values in broken:
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


def _rows_within(values: list[str], at: int, delimiter: str) -> Iterator[list[str]]:
    """The records that a field's lines would be, were the quotes around it text."""
    pieces = [line.split(delimiter) for line in values[at].split("\n")]
    pieces[0] = values[:at] + pieces[0]
    pieces[-1] = pieces[-1] + values[at + 1 :]
    yield from pieces


def _known_shapes(records: Sequence[Record]) -> dict[int, set[str]]:
    """For each column whose cells are much alike (ids, codes, file names): the shapes that they have."""
    width = width_of(records[0][1])
    rows = [values for _, values in records[1:] if len(values) >= width]
    shapes = {}
    for at in range(width):
        counts = Counter(_shape(values[at]) for values in rows)
        common = {shape for shape, count in counts.items() if count >= max(1, 0.01 * len(rows))}
        if len(common) <= 12 and sum(counts[shape] for shape in common) >= 0.8 * len(rows):
            shapes[at] = common
    return shapes


def _shape(value: str) -> str:
    return re.sub(r"\d+", "9", re.sub(r"[^\W\d_]+", "a", value.strip()[:60]))


def _looks_alike(row: list[str], known: dict[int, set[str]]) -> bool:
    return all(_shape(row[at]) in shapes for at, shapes in known.items())
