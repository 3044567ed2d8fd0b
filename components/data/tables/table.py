"""A table as it was read, whole or row by row: every value is text."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from components.core.errors import InputError
from components.core.reading import reading
from components.data.tables.findings import DROPPED, IGNORED, NORMALIZED, Finding, shown
from components.data.tables.lines import FORMATS
from components.data.tables.swallowed import width_of

MAX_FIELD = 2**20  # characters
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass
class Row:
    """One record of a file: its fields by column and the line (of a workbook: the row) it starts on."""

    line: int
    values: dict[str, str]


@dataclass
class Columns:
    """What is known of a file before its rows are read.

    Attributes:
        header: the columns' names, without spaces around them.
        form: what the file was read as: "utf-8 text, delimited by tabs, quotes are text", and why.
        delimiter: of a delimited text, else "".
        findings: what is odd about the file as a whole.
        numeric: columns that hold numbers as such, so that zeros before a number are lost.
        nested: columns that hold lists or objects.
    """

    path: Path
    header: list[str]
    form: str
    delimiter: str = ""
    findings: list[Finding] = field(default_factory=list)
    numeric: set[str] = field(default_factory=set)
    nested: set[str] = field(default_factory=set)

    def missing(self, columns: Iterable[str]) -> list[str]:
        """Those of the columns that it does not have.

        Raises:
            InputError: it has one of them twice, or holds no texts in it.
        """
        wanted = list(columns)
        twice = [column for column in wanted if column and self.header.count(column) > 1]
        if twice:
            raise InputError(
                f"{self.path}: column {shown(twice[0])} is to be read, and there are "
                f"{self.header.count(twice[0])} of this name: rename all but one"
            )
        nested = [column for column in wanted if column in self.nested]
        if nested:
            raise InputError(f"{self.path}: column {shown(nested[0])} holds lists or objects; expected texts")
        return [column for column in wanted if column not in self.header]

    def named(self) -> str:
        """Its columns as a message lists them, a line at most."""
        names = [shown(name, 40) for name in self.header]
        more = f" and {len(names) - 12} more" if len(names) > 12 else ""
        return f"{', '.join(names[:12])}{more}"


@dataclass
class Table(Columns):
    """A file read whole: its usable rows; `findings` names the others."""

    rows: list[Row] = field(default_factory=list)


Values = tuple[int, list[str]]  # the line that a record starts on, and its fields


@dataclass
class Scan(Columns):
    """A file whose rows are read from it anew each time that they are asked for.

    Attributes:
        records: its records in their order, and findings about what is none.
        escaped: its values may hold lone surrogates, which are bytes of no character.
    """

    records: Callable[[], Iterable[Values | Finding]] = tuple
    escaped: bool = False

    def whole(self) -> Table:
        """The file with all its rows in memory."""
        table = Table(self.path, self.header, self.form, self.delimiter, [*self.findings], self.numeric)
        table.nested, table.rows = self.nested, list(Rows(self, table.findings))
        return table


@dataclass(frozen=True)
class Rows:
    """The usable rows of a file, read from it each time that they are iterated over.

    Attributes:
        findings: receives why others are not usable; empty ones are left out silently.
    """

    scan: Scan
    findings: list[Finding] = field(default_factory=list)

    def __iter__(self) -> Iterator[Row]:
        header, path = self.scan.header, self.scan.path
        place = {name: at for at, name in reversed([*enumerate(header)])}  # of two names the first
        with reading(path, f"a table: {FORMATS}"):
            for record in self.scan.records():
                if isinstance(record, Finding):
                    self.findings.append(record)
                elif values := self._usable(*record):
                    yield Row(record[0], {name: values[at] for name, at in place.items()})

    def _usable(self, line: int, values: list[str]) -> list[str] | None:
        if not any(value and not value.isspace() for value in values):
            return None
        name = self.scan.path.name
        if self._is_header(values):
            detail = "the column names again: are these several files, one behind the other?"
            self.findings.append(Finding(name, line, "", "header_again", IGNORED, detail))
            return None
        if problem := self._problem(values):
            self.findings.append(Finding(name, line, "", problem[0], DROPPED, problem[1]))
            return None
        if any("\0" in value for value in values):
            self.findings.append(Finding(name, line, "", "nul", NORMALIZED, "replaced by a space"))
            return [value.replace("\0", " ") for value in values]
        return values

    def _is_header(self, values: list[str]) -> bool:
        first = values[0].removeprefix("\ufeff")
        return first.strip() == self.scan.header[0] and clean_names([first, *values[1:]]) == self.scan.header

    def _problem(self, values: list[str]) -> tuple[str, str] | None:
        width = len(self.scan.header)
        if len(values) < width or any(value.strip() for value in values[width:]):
            return "field_count", f"{len(values)} fields, expected {width}"
        longest = max(map(len, values))
        if longest > MAX_FIELD:
            return "field_too_long", f"a field of {longest:,} characters, at most {MAX_FIELD:,} are read"
        if self.scan.escaped and (wrong := next(filter(_SURROGATE.search, values), None)) is not None:
            return "bad_encoding", f"bytes that are no characters: {shown(wrong)}"
        return None


def clean_names(header: Iterable[str]) -> list[str]:
    """Columns' names without spaces around them, and without empty ones at the end."""
    names = [" ".join(name.split()) for name in header]
    return names[: width_of(names)]
