"""Writes a table as a workbook whose cells are all texts, so that no spreadsheet program changes a code."""

import datetime
import io
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.xml.constants import ARC_CORE
from openpyxl.xml.functions import tostring

from components.core.artifacts import whole_file

LONGEST = 32_767  # characters of a cell
WIDEST = 60  # characters of a column as it is shown
LONG_AGO = datetime.datetime(2000, 1, 1)


def write_text_workbook(path: Path, title: str, table: pd.DataFrame) -> None:
    """Writes `table`, all of whose values are texts, as an xlsx; equal tables give equal bytes.

    A cell that no workbook can hold (longer, or with control characters) is cut, or loses them.

    Args:
        title: of the sheet.
    """
    book = Workbook(write_only=True)
    book.properties.created = LONG_AGO
    sheet = book.create_sheet(title)
    sheet.freeze_panes = "A2"
    for number, name in enumerate(table.columns):
        longest = max([len(name), *map(len, table[name])])
        sheet.column_dimensions[chr(ord("A") + number)].width = min(longest, WIDEST) + 2
    for row in (table.columns, *table.itertuples(index=False)):
        sheet.append([_text_cell(sheet, value) for value in row])
    written = io.BytesIO()
    book.save(written)
    book.properties.modified = LONG_AGO  # saving sets it to now
    dated = zipfile.ZipFile(written)
    parts = {name: dated.read(name) for name in dated.namelist()}
    parts[ARC_CORE] = tostring(book.properties.to_tree())
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in parts.items():
            entry = zipfile.ZipInfo(name, LONG_AGO.timetuple()[:6])
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)


def _text_cell(sheet: Any, value: str) -> Any:
    cell = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub("", value[:LONGEST]))
    cell.data_type, cell.number_format = "s", "@"  # else "=A1" is a formula
    return cell
