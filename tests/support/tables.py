"""Tables as tests write them: a known catalog, in each of the formats that people have."""

import csv
import gzip
import io
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import xlsxwriter

SOFFICE = shutil.which("soffice")
HEADER = ["sku", "name", "text", "picture", "category"]
FRENCH = [
    "Canapé d'angle réversible",
    "Crème pour bébé",
    "Chaise façon chêne",
    "Forêt enchantée",
    "Mère Noël",
]
RUSSIAN = ["Мыло ручной работы", "Соль морская", "Игры настольные", "Часы наручные", "Обувь женская"]
ODD = ["0010", "1e5", "nan", "NULL", "NA", "007", "12.0", "TRUE"]


def rows_of(names: list[str], count: int = 40) -> list[list[str]]:
    return [
        [f"A{i:04d}", f"{names[i % len(names)]} {i}", f"texte, {i}", f"p_{i}.jpg", names[i % 3]]
        for i in range(count)
    ]


def delimited(rows: list[list[str]], delimiter: str = ",", header: list[str] = HEADER, **style) -> str:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator="\n", **style).writerows([header, *rows])
    return file.getvalue()


def packed(data: bytes, *names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, data)
    return file.getvalue()


def by_openpyxl(rows: list[list[str]]) -> bytes:
    book, file = openpyxl.Workbook(), io.BytesIO()
    for row in rows:
        book.worksheets[0].append(row)
    book.save(file)
    return file.getvalue()


def by_xlsxwriter(rows: list[list[str]]) -> bytes:
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, {"in_memory": True}) as book:
        sheet = book.add_worksheet()
        for number, row in enumerate(rows):
            for at, value in enumerate(row):
                sheet.write_string(number, at, value)
    return file.getvalue()


def by_pandas(rows: list[list[str]], how: str) -> bytes:
    file, frame = io.BytesIO(), pd.DataFrame(rows[1:], columns=rows[0])
    if how == "xlsx":
        frame.to_excel(file, index=False)
    elif how == "parquet":
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), file)
    else:
        frame.to_json(file, orient="records", lines=True, force_ascii=how == "ascii")
    return file.getvalue()


WRITERS: dict[str, Callable[[list[list[str]]], bytes]] = {
    "openpyxl": by_openpyxl,
    "xlsxwriter": by_xlsxwriter,
    "pandas xlsx": lambda rows: by_pandas(rows, "xlsx"),
    "Parquet": lambda rows: by_pandas(rows, "parquet"),
    "JSON Lines": lambda rows: by_pandas(rows, "json"),
    "JSON Lines in ASCII": lambda rows: by_pandas(rows, "ascii"),
    "gzip": lambda rows: gzip.compress(delimited(rows[1:]).encode()),
    "zip": lambda rows: packed(delimited(rows[1:]).encode(), "t.csv", "__MACOSX/t.csv", ".hidden"),
}


def saved_by_libreoffice(folder: Path, workbooks: list[Path]) -> Path:
    """Opens workbooks in LibreOffice and saves them again; the folder where they then lie."""
    options = [f"-env:UserInstallation=file://{folder}/profile", "--headless", "--convert-to", "xlsx"]
    subprocess.run(
        [str(SOFFICE), *options, "--outdir", str(folder / "saved"), *map(str, workbooks)],
        env={**os.environ, "HOME": str(folder)},
        check=True,
        timeout=300,
        capture_output=True,
    )
    return folder / "saved"
