"""A table holds the same columns, rows and values, whatever program wrote it."""

import datetime
import io
from pathlib import Path

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter
from tables import FRENCH, HEADER, ODD, RUSSIAN, SOFFICE, WRITERS, by_openpyxl, rows_of, saved_by_libreoffice

from components.data.tables.read import read_table
from components.data.tables.table import Table
from components.preprocess.catalog.dialects import checked_rows

DAY = datetime.datetime(2024, 1, 5)
# What people's cells hold: an id as a number, a number where one is missing, a date, a true.
TYPED = [[12, 1.0, DAY, True, "0010"], [7, 2.5, DAY, False, "1e5"], [8, None, DAY, True, "NULL"]]
READ = [
    ["12", "1", "2024-01-05T00:00:00", "TRUE", "0010"],
    ["7", "2.5", "2024-01-05T00:00:00", "FALSE", "1e5"],
    ["8", "", "2024-01-05T00:00:00", "TRUE", "NULL"],
]


def known_rows() -> list[list[str]]:
    rows = rows_of([*FRENCH, *RUSSIAN, 'Sofa 2" "x"', "日本語 🧸", "a\nb", "_x0041_"])
    for row, odd in zip(rows, ODD, strict=False):
        row[2] = odd
    return rows


def read(folder: Path, data: bytes) -> Table:
    path = folder / "table"
    path.write_bytes(data)
    return read_table(path)


def values(table: Table) -> list[list[str]]:
    return [[row.values[name] for name in HEADER] for row in table.rows]


def typed_by_openpyxl() -> bytes:
    return by_openpyxl([HEADER, *TYPED])


def typed_by_xlsxwriter() -> bytes:
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, {"in_memory": True, "strings_to_numbers": False}) as book:
        sheet, date = book.add_worksheet(), book.add_format({"num_format": "dd/mm/yyyy"})
        for number, row in enumerate([HEADER, *TYPED]):
            for at, value in enumerate(row):
                if isinstance(value, datetime.datetime):
                    sheet.write_datetime(number, at, value, date)
                elif value is not None:
                    sheet.write(number, at, value)
    return file.getvalue()


def typed_frame() -> pd.DataFrame:
    return pd.DataFrame(TYPED, columns=HEADER)


def typed_by_pandas() -> bytes:
    file = io.BytesIO()
    typed_frame().to_excel(file, index=False)
    return file.getvalue()


def typed_parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(typed_frame(), preserve_index=False), file)
    return file.getvalue()


def typed_json() -> bytes:
    return str(typed_frame().to_json(orient="records", lines=True, date_format="iso")).encode()


TYPED_WRITERS = {
    "openpyxl": typed_by_openpyxl,
    "xlsxwriter": typed_by_xlsxwriter,
    "pandas xlsx": typed_by_pandas,
    "Parquet": typed_parquet,
    "JSON Lines": typed_json,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_every_format_holds_what_the_csv_holds(tmp_path: Path, writer: str):
    rows = known_rows()
    table = read(tmp_path, WRITERS[writer]([HEADER, *rows]))
    assert table.header == HEADER
    assert values(table) == rows


@pytest.mark.parametrize("writer", TYPED_WRITERS)
def test_whole_numbers_have_no_point_and_missing_ones_are_empty(tmp_path: Path, writer: str):
    table = read(tmp_path, TYPED_WRITERS[writer]())
    check_typed(table, workbook="xlsx" in writer or "openpyxl" in writer)


def check_typed(table: Table, *, workbook: bool) -> None:
    """The typed rows are read without points, dates are named, and ids held as numbers are warned of."""
    found = [[value.removesuffix(".000") for value in row] for row in values(table)]
    assert [[value.upper() if at == 3 else value for at, value in enumerate(row)] for row in found] == READ
    list(checked_rows(table.rows, table, {"product_id": "sku"}, table.findings))
    details = " ".join(finding.detail for finding in table.findings)
    assert "sku holds numbers: zeros at the start of an id are lost" in details
    assert ("column 'text': 3 cells are dates or times" in details) == workbook


def test_formats_that_show_other_digits_are_named(tmp_path: Path):
    book, file = openpyxl.Workbook(), io.BytesIO()
    for row in (HEADER, [12, 1.5, "a", True, 12.0], [7, "a", "b", None, 10**16]):
        book.worksheets[0].append(row)
    book.worksheets[0]["A2"].number_format = "00000"
    book.save(file)
    table = read(tmp_path, file.getvalue())
    assert values(table)[0] == ["12", "1.5", "a", "TRUE", "12"]
    details = " ".join(finding.detail for finding in table.findings)
    assert "zeros before them by the format 00000" in details
    assert "more than 15 digits" in details


@pytest.mark.slow
@pytest.mark.skipif(SOFFICE is None, reason="LibreOffice (soffice) is not installed")
def test_workbooks_saved_by_libreoffice_hold_what_the_csv_holds(tmp_path: Path):
    rows = known_rows()
    formulas = ["1", '=IF(A2="1","","b")', "=A2&A2", "", "=LEN(C2)"]
    files = {
        "text": by_openpyxl([HEADER, *rows]),
        "typed": typed_by_xlsxwriter(),
        "formulas": by_openpyxl([HEADER, formulas]),
    }
    for name, data in files.items():
        (tmp_path / f"{name}.xlsx").write_bytes(data)
    saved = saved_by_libreoffice(tmp_path, [tmp_path / f"{name}.xlsx" for name in files])
    assert values(read(tmp_path, (saved / "text.xlsx").read_bytes())) == rows
    check_typed(read(tmp_path, (saved / "typed.xlsx").read_bytes()), workbook=True)
    table = read(tmp_path, (saved / "formulas.xlsx").read_bytes())
    assert (values(table), table.findings) == ([["1", "", "11", "", "2"]], [])
