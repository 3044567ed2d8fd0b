"""A table as it was read: every value is text."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from components.core.errors import InputError
from components.data.tables.findings import DROPPED, NORMALIZED, Finding, shown
from components.data.tables.swallowed import width_of

MAX_FIELD = 2**20  # characters
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass
class Row:
    """One record of a file: its fields by column and the line (of a workbook: the row) it starts on."""

    line: int
    values: dict[str, str]


@dataclass
class Table:
    """A file read whole: its columns, its usable rows, and what was found on the way.

    Attributes:
        header: the columns' names, without spaces around them.
        form: what the file was read as: "utf-8 text, delimited by tabs, quotes are text", and why.
        delimiter: of a delimited text, else "".
        numeric: columns that hold numbers as such, so that zeros before a number are lost.
        nested: columns that hold lists or objects.
    """

    path: Path
    header: list[str]
    form: str
    delimiter: str = ""
    rows: list[Row] = field(default_factory=list)
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

    def take(self, line: int, values: list[str], *, escaped: bool = False) -> None:
        """Adds a record as a row, or says why not. Empty ones are left out silently.

        Args:
            escaped: the values may hold lone surrogates, which are bytes of no character.
        """
        if not any(value and not value.isspace() for value in values):
            return
        problem = self._problem(values, escaped)
        if problem:
            self.findings.append(Finding(self.path.name, line, "", problem[0], DROPPED, problem[1]))
            return
        if any("\0" in value for value in values):
            self.findings.append(Finding(self.path.name, line, "", "nul", NORMALIZED, "replaced by a space"))
            values = [value.replace("\0", " ") for value in values]
        # Of a name that occurs twice the first counts; `missing` refuses one that is read.
        self.rows.append(
            Row(line, dict(zip(reversed(self.header), reversed(values[: len(self.header)]), strict=True)))
        )

    def _problem(self, values: list[str], escaped: bool) -> tuple[str, str] | None:
        width = len(self.header)
        if len(values) < width or any(value.strip() for value in values[width:]):
            return "field_count", f"{len(values)} fields, expected {width}"
        longest = max(map(len, values))
        if longest > MAX_FIELD:
            return "field_too_long", f"a field of {longest:,} characters, at most {MAX_FIELD:,} are read"
        wrong = next((value for value in values if _SURROGATE.search(value)), None) if escaped else None
        return None if wrong is None else ("bad_encoding", f"bytes that are no characters: {shown(wrong)}")


def clean_names(header: Iterable[str]) -> list[str]:
    """Columns' names without spaces around them, and without empty ones at the end."""
    names = [" ".join(name.split()) for name in header]
    return names[: width_of(names)]
