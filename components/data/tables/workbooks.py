"""Reads the first sheet of an .xlsx workbook, every cell as text."""

import datetime
import io
import re
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import openpyxl

from components.core.errors import InputError
from components.data.tables.findings import DROPPED, FLAGGED, Finding, shown
from components.data.tables.table import Scan, Values, clean_names

EXACT = 10**15  # a workbook keeps 15 digits of a number
_DIGITS_ADDED = re.compile(r"0{2,}(?![.,0#])")  # a number format such as 00000
_ESCAPED = re.compile("_x(00[01][0-9A-Fa-f])_")  # control characters; what else looks so is text


def scan_workbook(data: bytes, path: Path) -> Scan:
    """The first sheet that holds something, read whole; its first row is the header.

    Whole numbers are written without a point. What a person saw otherwise in the spreadsheet is flagged, once
    a column: dates, numbers of more digits than are kept, numbers whose format adds zeros, errors.

    Raises:
        InputError: the workbook is empty.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openpyxl's, of drop-down lists and the like
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
        filled = [(sheet.title, rows) for sheet in sheets if (rows := _rows(sheet))]
        formulas = _formulas(data, filled[0][0]) if filled else {}
    if not filled:
        raise InputError(f"{path}: an empty workbook: expected a row of column names")
    (title, rows), *others = filled
    without = formulas.keys() - {number for number, _ in rows}  # rows of formulas alone, none with its result
    rows = sorted([*rows, *((number, []) for number in without)])
    _, first = rows[0]
    header = clean_names([_text(cell) for cell in first])
    scan = Scan(path, header, f"workbook, sheet {title!r}", escaped=True)
    if others:
        names = ", ".join(shown(name, 40) for name, _ in others)
        detail = f"only the first sheet, {title!r}, is read; not {names}"
        scan.findings.append(Finding(path.name, 0, "", "other_sheets", FLAGGED, detail))
    records = _records(scan, rows[1:], formulas)
    scan.records = lambda: records
    return scan


def _rows(sheet: Any) -> list[tuple[int, list[Any]]]:
    sheet.reset_dimensions()  # some writers give wrong ones
    rows = ((number, list(cells)) for number, cells in enumerate(sheet.iter_rows(), 1))
    return [(number, cells) for number, cells in rows if any(cell.value not in (None, "") for cell in cells)]


def _formulas(data: bytes, title: str) -> dict[int, dict[int, str]]:
    """Row -> place in it -> the formula there, whose result the file may lack."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        sheets = [name for name in archive.namelist() if name.startswith("xl/worksheets/")]
        if not any(re.search(rb"<f[ >/]", archive.read(name)) for name in sheets):
            return {}
    book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=False)
    found = {}
    for number, cells in _rows(book[title]):
        own = {
            at: f"{cell.coordinate}: {cell.value}" for at, cell in enumerate(cells) if cell.data_type == "f"
        }
        found |= {number: own} if own else {}
    return found


def _records(
    scan: Scan, rows: list[tuple[int, list[Any]]], formulas: dict[int, dict[int, str]]
) -> list[Values | Finding]:
    width = len(scan.header)
    records: list[Values | Finding] = []
    odd: dict[tuple[int, str], list[tuple[int, str]]] = {}
    numbers = [0] * width
    for line, cells in rows:
        if formula := next((text for at, text in formulas.get(line, {}).items() if _lacks(cells, at)), ""):
            detail = f"a formula without its result, {shown(formula)}: save it in a spreadsheet program"
            records.append(Finding(scan.path.name, line, "", "no_result", DROPPED, detail))
            continue
        for at, cell in enumerate(cells[:width]):
            if isinstance(cell.value, (int, float)):
                numbers[at] += 1
            if what := _oddity(cell):
                odd.setdefault((at, what), []).append((line, _text(cell)))
        values = [_text(cell) for cell in cells]
        records.append((line, values + [""] * (width - len(values))))
    scan.numeric = {name for name, count in zip(scan.header, numbers, strict=True) if count}
    return [*records, *_flagged(scan, odd)]


def _lacks(cells: list[Any], at: int) -> bool:
    """Whether the result of a formula is not in the file; a text of no letters is one."""
    return at >= len(cells) or (cells[at].value is None and cells[at].data_type == "n")


def _flagged(scan: Scan, odd: dict[tuple[int, str], list[tuple[int, str]]]) -> Iterable[Finding]:
    for (at, what), cells in odd.items():
        line, value = cells[0]
        detail = (
            f"column {scan.header[at]!r}: {len(cells)} cells are {what}; the first is read as {shown(value)}"
        )
        yield Finding(scan.path.name, line, "", "cell_format", FLAGGED, detail)


def _oddity(cell: Any) -> str:
    value = cell.value
    if value is None or isinstance(value, str):
        return "errors of the spreadsheet" if getattr(cell, "data_type", "") == "e" else ""
    if isinstance(value, (datetime.date, datetime.time, datetime.timedelta)):
        return "dates or times"
    if isinstance(value, bool):
        return ""
    if abs(value) >= EXACT:
        return "numbers of more than 15 digits, of which a workbook keeps 15"
    if _DIGITS_ADDED.match(cell.number_format or ""):
        return f"numbers shown with zeros before them by the format {cell.number_format}"
    return ""


def _text(cell: Any) -> str:
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, str):
        return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), value)
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, (int, float)):
        return number_text(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def number_text(value: float) -> str:
    """A number as text, a whole one without a point: 12.0 -> "12"."""
    if isinstance(value, int) or (value.is_integer() and abs(value) < EXACT):
        return str(int(value))
    return repr(value)
