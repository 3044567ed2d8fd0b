"""Reads delimited text: which delimiter, and whether quotes enclose fields, is decided by the whole file.

In a file quotes enclose fields (RFC 4180: pandas, Excel, R, shops' exports) or are text (the challenge's
tab-delimited files). The reading taken is the one in which the records have the header's width. Where both
do, what only a writer of quoted fields would have written decides. Where quoted and unquoted fields
contradict each other, or a quote swallows whole records, the file is refused with the line of the quote.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from components.core.errors import InputError

DELIMITERS = "\t;,|"
Quotes = Literal["", "none", "doubled"]
Record = tuple[int, list[str]]  # the line that it starts on, its values


@dataclass(frozen=True)
class Reading:
    """The records of a text in one way to read it.

    Attributes:
        bad: how many records have another width than the header.
        stray: line of a quote that opens a field and is not closed as one, or 0.
    """

    delimiter: str
    quoted: bool
    records: list[Record]
    bad: int
    stray: int = 0

    @property
    def width(self) -> int:
        """Columns of the header, without empty ones at its end."""
        return _width(self.records[0][1]) if self.records else 0


def read_delimited(text: str, quotes: Quotes, where: str) -> Reading:
    """Reads a delimited text; its first record is the header.

    Args:
        quotes: "none" where quotes are text, "doubled" where they enclose fields, "" to decide.

    Raises:
        InputError: a stray quote swallows records, or quoted and unquoted readings contradict each other.
    """
    named = re.match(r"sep=([\t;,|])\r?\n?", text)
    delimiters, skipped = (named[1], 1) if named else (DELIMITERS, 0)
    text = text[named.end() :] if named else text
    text = text.replace("\r\n", "\n")
    readings = [_best(text.replace("\r", end), delimiters, quotes, where, skipped) for end in _ends(text)]
    return min(readings, key=lambda reading: reading.bad)


def _ends(text: str) -> Sequence[str]:
    """What a lone carriage return may stand for: the end of a line, or a space in it."""
    return "\n" if "\r" not in text or "\n" not in text else "\n "


def _best(text: str, delimiters: str, quotes: Quotes, where: str, skipped: int) -> Reading:
    lines = text.split("\n")
    first = next((line for line in lines if line.strip()), "")
    found = [delimiter for delimiter in delimiters if delimiter in first] or [","]
    readings, refused = [], []
    for delimiter in found:
        try:
            readings.append(_read(text, lines, delimiter, quotes, where, skipped))
        except InputError as error:
            refused.append(error)
    if not readings:
        raise refused[0]
    best = max(readings, key=lambda reading: (-reading.bad / len(reading.records or [0]), reading.width))
    if refused and best.bad:
        raise refused[0]
    return best


def _read(text: str, lines: list[str], delimiter: str, quotes: Quotes, where: str, skipped: int) -> Reading:
    plain = _plain(lines, delimiter, skipped)
    if quotes == "none" or not re.search(f'(?:^|{re.escape(delimiter)}) *"', text, re.MULTILINE):
        return plain
    quoted = _quoted(lines, delimiter, skipped)
    if quotes == "doubled":
        if quoted.stray:
            _refuse(where, quoted.stray, "it is not closed as a field's quote")
        return quoted
    written = _shows_quoting(plain, quoted)
    if quoted.stray:
        if written:
            _refuse(
                where, quoted.stray, "it is not closed as a field's quote, though other fields are quoted"
            )
        return plain
    swallowed = _swallowing(quoted)
    if swallowed:
        if delimiter != "\t" or written:
            _refuse(where, swallowed, "the field that it opens would hold whole records of this file")
        return plain
    if quoted.bad != plain.bad:
        return quoted if quoted.bad < plain.bad or written else plain
    return quoted if delimiter != "\t" or written else plain


def _refuse(where: str, line: int, why: str) -> None:
    raise InputError(
        f"{where}, line {line}: a quote opens here and {why}. Double the quotes inside quoted fields, or set "
        "quotes=none where quotes are text and enclose nothing (quotes=doubled where they enclose fields)."
    )


def _plain(lines: list[str], delimiter: str, skipped: int) -> Reading:
    records = [(number, line.split(delimiter)) for number, line in enumerate(lines, 1 + skipped) if line]
    return _reading(delimiter, False, records)


def _quoted(lines: list[str], delimiter: str, skipped: int) -> Reading:
    csv.field_size_limit(2**31 - 1)  # longer fields are left out with their lines
    spaced = any(f'{delimiter} "' in line for line in lines) and not any(
        f'{delimiter}"' in line for line in lines
    )
    reader = csv.reader(
        (f"{line}\n" for line in lines), delimiter=delimiter, strict=True, skipinitialspace=spaced
    )
    records, start = [], 0
    try:
        for values in reader:
            if values:
                records.append((start + 1 + skipped, values))
            start = reader.line_num
    except csv.Error:
        opened = _opening("\n".join(lines[start:]), delimiter)
        return Reading(delimiter, True, records, 0, stray=start + 1 + opened + skipped)
    return _reading(delimiter, True, records)


def _opening(text: str, delimiter: str) -> int:
    """How many lines after the start of a record its first quote opens that is not closed as a field's."""
    field = re.compile(
        rf'"[^"]*(?:""[^"]*)*"(?=[{re.escape(delimiter)}\n])|[^"{re.escape(delimiter)}\n][^{re.escape(delimiter)}\n]*|'
    )
    at = 0
    while at < len(text) and (found := field.match(text, at)):
        if found.end() == at and text[at] == '"':
            break
        at = found.end() + 1
    return text.count("\n", 0, at)


def _reading(delimiter: str, quoted: bool, records: list[Record]) -> Reading:
    records = [record for record in records if any(value and not value.isspace() for value in record[1])]
    header = records[0][1] if records else []
    bad = sum(not fits(values, header) for _, values in records)
    return Reading(delimiter, quoted, records, bad)


def _width(header: list[str]) -> int:
    width = len(header)
    while width > 1 and not header[width - 1].strip():
        width -= 1
    return width


def fits(values: list[str], header: list[str]) -> bool:
    """Whether a record has the header's columns; empty ones at the end may be more or fewer than there."""
    if len(values) == len(header):
        return True
    width = _width(header)
    return len(values) >= width and not any(value.strip() for value in values[width:])


def _shows_quoting(plain: Reading, quoted: Reading) -> bool:
    """Whether a file has what only a writer of quoted fields writes.

    That is a field whose quotes are needed and make its record fit (a delimiter, a line break or doubled
    quotes in it), a column of which every cell is quoted, or quotes around just the cells with a space (PHP).
    """
    delimiter, header = plain.delimiter, plain.records[0][1] if plain.records else []
    escaped = re.escape(delimiter)
    cell = re.compile(rf'(?:^|{escaped})"((?:[^"]|"")*)"(?={escaped}|$)')
    for _, values in plain.records:
        line = delimiter.join(values)
        if '"' not in line:
            continue
        if not fits(values, header) and re.search(rf'(?:^|{escaped})"(?:[^"]|"")*$', line):
            return True  # a quote that is open at the end of a line which is no record
        needed = any(delimiter in inner or '""' in inner for inner in cell.findall(line))
        if needed and fits(next(csv.reader([line], delimiter=delimiter)), header):
            return True
    if not quoted.stray and quoted.bad < plain.bad:
        return True
    return _columns_quoted(plain, header)


def _columns_quoted(plain: Reading, header: list[str]) -> bool:
    rows = [values for _, values in plain.records[1:] if len(values) == len(header)]
    columns = [[value for value in column if value] for column in zip(*rows, strict=True)]
    enclosed = [[len(value) > 1 and value[0] == value[-1] == '"' for value in column] for column in columns]
    if any(len(column) > 2 and sum(column) > 0.9 * len(column) for column in enclosed):
        return True
    cells = [
        (value, is_quoted)
        for pair in zip(columns, enclosed, strict=True)
        for value, is_quoted in zip(*pair, strict=True)
    ]
    with_space = [is_quoted for value, is_quoted in cells if " " in value]
    return len(with_space) > 2 and all(with_space) and not any(q for value, q in cells if " " not in value)


def _swallowing(reading: Reading) -> int:
    """Line of the first quoted field that holds whole records of the file, 0 where there is none."""
    header = reading.records[0][1]
    broken = [record for record in reading.records if any("\n" in value for value in record[1])]
    if not broken:
        return 0
    known = _known_shapes(reading)
    for start, values in broken:
        line = start
        for at, value in enumerate(values):
            rows = list(_rows_within(values, at, reading.delimiter)) if "\n" in value else []
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


def _known_shapes(reading: Reading) -> dict[int, set[str]]:
    """For each column whose cells are much alike (ids, codes, file names): the shapes that they have."""
    width = reading.width
    rows = [values for _, values in reading.records[1:] if len(values) >= width]
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
