"""Reads delimited text: which delimiter, and whether quotes enclose fields, is decided by the whole file.

In a file quotes enclose fields (RFC 4180: pandas, Excel, R, shops' exports) or are text (the challenge's
tab-delimited files). The reading taken is the one in which the records have the header's width. Where both
do, what only a writer of quoted fields would have written decides. Where quoted and unquoted fields
contradict each other, or a quote swallows whole records, the file is refused with the line of the quote.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from components.core.errors import InputError
from components.data.tables.swallowed import Record, fits, swallowing_line, width_of

DELIMITERS = "\t;,|"
Quotes = Literal["", "none", "doubled"]


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
        return width_of(self.records[0][1]) if self.records else 0


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
    if quoted.stray:
        if _shows_quoting(plain, quoted):
            _refuse(
                where, quoted.stray, "it is not closed as a field's quote, though other fields are quoted"
            )
        return plain
    swallowed = swallowing_line(quoted.records, delimiter)
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
