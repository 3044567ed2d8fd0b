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
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from components.core.errors import InputError
from components.data.tables.lines import Lines
from components.data.tables.swallowed import Record, fits, swallowing_line, width_of

DELIMITERS = "\t;,|"
LONGEST = 2**24  # characters that a quote may enclose: one that is never closed would take the whole file
SEARCHED = 10_000  # lines in which the quote of a record is looked for that is not closed
Quotes = Literal["", "none", "doubled"]


@dataclass(frozen=True)
class Reading:
    """One way to read a text: its records are read from it anew each time that they are iterated over.

    Attributes:
        spaced: spaces before a quote belong to no field.
        count, bad: how many records there are, and how many of them have another width than the header.
        stray: line of the record with a quote that opens a field and is not closed as one, or 0.
    """

    lines: Lines
    delimiter: str
    quoted: bool
    spaced: bool = False
    header: Sequence[str] = ()
    count: int = 0
    bad: int = 0
    stray: int = 0

    @property
    def width(self) -> int:
        """Columns of the header, without empty ones at its end."""
        return width_of(self.header) if self.header else 0

    def __iter__(self) -> Iterator[Record]:
        """The records that are not blank, the header first."""
        for record in self._quoted() if self.quoted else self._plain():
            if any(value and not value.isspace() for value in record[1]):
                yield record

    def _plain(self) -> Iterator[Record]:
        for number, line in enumerate(self.lines, 1 + self.lines.skipped):
            if line:
                yield number, line.split(self.delimiter)

    def _quoted(self) -> Iterator[Record]:
        csv.field_size_limit(LONGEST)  # longer fields than are read are left out with their lines
        ended = (f"{line}\n" for line in self.lines)
        reader = csv.reader(ended, delimiter=self.delimiter, strict=True, skipinitialspace=self.spaced)
        start = 0
        try:
            for values in reader:
                if values:
                    yield start + 1 + self.lines.skipped, values
                start = reader.line_num
        except csv.Error as error:
            raise _Stray(start + 1 + self.lines.skipped) from error


class _Stray(Exception):
    """A quote in the record on a line is not closed as a field's."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


def read_delimited(lines: Lines, quotes: Quotes, where: str) -> Reading:
    """Reads a delimited text; its first record is the header.

    Args:
        quotes: "none" where quotes are text, "doubled" where they enclose fields, "" to decide.

    Raises:
        InputError: a stray quote swallows records, or quoted and unquoted readings contradict each other.
    """
    delimiters = DELIMITERS
    if named := lines.separator():
        delimiters, lines = named, replace(lines, skipped=1)
    ends = "\n " if lines.lone_returns() else "\n"
    readings = [_best(replace(lines, returns=end), delimiters, quotes, where) for end in ends]
    return min(readings, key=lambda reading: reading.bad)


def _best(lines: Lines, delimiters: str, quotes: Quotes, where: str) -> Reading:
    first = lines.first()
    found = [delimiter for delimiter in delimiters if delimiter in first] or [","]
    readings, refused = [], []
    for delimiter in found:
        try:
            readings.append(_read(lines, delimiter, quotes, where))
        except InputError as error:
            refused.append(error)
    if not readings:
        raise refused[0]
    best = max(readings, key=lambda reading: (-reading.bad / (reading.count or 1), reading.width))
    if refused and best.bad:
        raise refused[0]
    return best


def _read(lines: Lines, delimiter: str, quotes: Quotes, where: str) -> Reading:
    plain = _counted(Reading(lines, delimiter, quoted=False))
    opening = re.compile(f'(?:^|{re.escape(delimiter)}) *"')
    if quotes == "none" or not any(opening.search(line) for line in lines if '"' in line):
        return plain
    quoted = _counted(Reading(lines, delimiter, quoted=True, spaced=_spaced(lines, delimiter)))
    if quotes == "doubled":
        if quoted.stray:
            _refuse_stray(where, quoted, "it is not closed as a field's quote")
        return quoted
    if quoted.stray:
        if _shows_quoting(plain, quoted):
            why = "it is not closed as a field's quote, though other fields are quoted"
            _refuse_stray(where, quoted, why)
        return plain
    swallowed = swallowing_line(quoted, delimiter)
    if swallowed:
        if delimiter != "\t" or _shows_quoting(plain, quoted):
            _refuse(
                where,
                swallowed,
                "the field that it opens would hold whole records of this file, or parts of them",
            )
        return plain
    if quoted.bad != plain.bad:
        return quoted if quoted.bad < plain.bad or _shows_quoting(plain, quoted) else plain
    return quoted if delimiter != "\t" or _shows_quoting(plain, quoted) else plain


def _refuse(where: str, line: int, why: str) -> None:
    raise InputError(
        f"{where}, line {line}: a quote opens here and {why}. Double the quotes inside quoted fields, or set "
        "quotes=none where quotes are text and enclose nothing (quotes=doubled where they enclose fields)."
    )


def _refuse_stray(where: str, quoted: Reading, why: str) -> None:
    start = quoted.stray - 1 - quoted.lines.skipped
    behind = "\n".join(islice(quoted.lines, start, start + SEARCHED))
    _refuse(where, quoted.stray + _opening(behind, quoted.delimiter), why)


def _counted(reading: Reading) -> Reading:
    """A reading with its header and counts."""
    header, count, bad = [], 0, 0
    try:
        for _, values in reading:
            header = values if count == 0 else header
            count += 1
            bad += not fits(values, header)
    except _Stray as stray:
        return replace(reading, stray=stray.line)
    return replace(reading, header=header, count=count, bad=bad)


def _spaced(lines: Lines, delimiter: str) -> bool:
    """Whether quotes stand behind a delimiter and a space, and none right behind a delimiter."""
    spaced = False
    for line in lines:
        if f'{delimiter}"' in line:
            return False
        spaced = spaced or f'{delimiter} "' in line
    return spaced


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


def _shows_quoting(plain: Reading, quoted: Reading) -> bool:
    """Whether a file has what only a writer of quoted fields writes.

    That is a field whose quotes are needed and make its record fit (a delimiter, a line break or doubled
    quotes in it), a column of which every cell is quoted, or quotes around just the cells with a space (PHP).
    """
    delimiter, header = plain.delimiter, plain.header
    escaped = re.escape(delimiter)
    cell = re.compile(rf'(?:^|{escaped})"((?:[^"]|"")*)"(?={escaped}|$)')
    for _, values in plain:
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
    return _columns_quoted(plain)


def _columns_quoted(plain: Reading) -> bool:
    width = len(plain.header)
    cells, enclosed = [0] * width, [0] * width
    # By whether a cell is quoted: how many have a space, and how many have none.
    with_space, without = Counter[bool](), Counter[bool]()
    for _, values in islice(plain, 1, None):
        if len(values) != width:
            continue
        for at, value in enumerate(values):
            if value:
                is_quoted = len(value) > 1 and value[0] == value[-1] == '"'
                cells[at] += 1
                enclosed[at] += is_quoted
                (with_space if " " in value else without)[is_quoted] += 1
    if any(count > 2 and part > 0.9 * count for count, part in zip(cells, enclosed, strict=True)):
        return True
    return with_space[True] > 2 and not with_space[False] and not without[True]
