"""Reads a table that a person names, whatever its format, which its content shows."""

import json
import re
from itertools import islice
from pathlib import Path

from components.core.errors import InputError
from components.core.reading import reading
from components.data.tables.columnar import scan_json_lines, scan_parquet
from components.data.tables.delimited import Quotes, read_delimited
from components.data.tables.encodings import tell_encoding
from components.data.tables.lines import FORMATS, MAX_BYTES, ZIP, Lines, Unpacked, not_read, unpacked
from components.data.tables.table import Scan, Table, clean_names
from components.data.tables.workbooks import scan_workbook

_PARQUET = b"PAR1"
# How other formats start, and what they are.
OTHERS = {
    b"\xd0\xcf\x11\xe0": "an Excel 97 workbook (.xls), or one with a password",
    b"%PDF": "a PDF document",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"PK\x05\x06": "an empty ZIP archive",
    b"SQLite format 3": "an SQLite database",
    b"ARROW1": "an Arrow (Feather) file",
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
    b"\x93NUMPY": "a NumPy file",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"{\\rtf": "a rich text document",
}
_MARKUP = re.compile(rb"\s*<(!doctype|html|table|\?xml|[a-z]+[\s>])", re.IGNORECASE)


def read_table(path: Path, *, encoding: str = "", quotes: Quotes = "") -> Table:
    """Reads a table into memory; every value stays text: "0010", "1e5", "NULL". See `scan_table`."""
    return scan_table(path, encoding=encoding, quotes=quotes).whole()


def scan_table(path: Path, *, encoding: str = "", quotes: Quotes = "") -> Scan:
    """Finds out what a table is, and leaves its rows on the disk, but for those of a workbook.

    Args:
        encoding: of a text file, "" to detect it.
        quotes: in delimited text "none" where quotes are text, "doubled" where they enclose fields, "" to
            decide.

    Raises:
        InputError: not a table that can be read without doubt; see `FORMATS`.
    """
    with reading(path, f"a table: {FORMATS}", most=MAX_BYTES):
        return _scan(unpacked(path), encoding, quotes, path)


def _scan(source: Unpacked, encoding: str, quotes: Quotes, path: Path) -> Scan:
    head = source.head()
    if head.startswith(_PARQUET):
        return scan_parquet(source, path)
    if head.startswith(ZIP):
        return scan_workbook(source.file.read_bytes(), path)
    _refuse_others(head, path)
    if not head:
        raise InputError(f"{path}: empty: expected a line of column names")
    lines = Lines(source, tell_encoding(source.file, encoding, str(path)))
    first = lines.first()
    if not first:
        raise InputError(f"{path}: empty: expected a line of column names")
    if _is_object(first):
        return scan_json_lines(lines, path)
    if head.lstrip()[:1] in (b"[", b"{") and _is_document(source.file.read_bytes()):
        raise InputError(not_read(path, "a JSON document; JSON Lines has one object a line"))
    return _delimited(lines, encoding, quotes, path)


def _delimited(lines: Lines, encoding: str, quotes: Quotes, path: Path) -> Scan:
    reading = read_delimited(lines, quotes, str(path))
    name = lines.encoding.name
    how = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "bars"}[reading.delimiter]
    by = "as set" if name == encoding else "by its bytes"
    by = "by its letters" if by != "as set" and not name.startswith("utf") else by
    form = (
        f"{name} text, delimited by {how}, "
        f"quotes {'enclose fields' if reading.quoted else 'are text'} "
        f"(the encoding {by}, the quotes {'as set' if quotes else 'by the whole file'})"
    )
    scan = Scan(path, clean_names(reading.header), form, reading.delimiter, escaped=lines.encoding.damaged)
    scan.records = lambda: islice(reading, 1, None)
    return scan


def _is_object(line: str) -> bool:
    try:
        return line.lstrip().startswith("{") and isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _refuse_others(head: bytes, path: Path) -> None:
    what = next((what for start, what in OTHERS.items() if head.startswith(start)), "")
    if not what and _MARKUP.match(head):
        what = "an HTML or XML document"
    if what:
        raise InputError(not_read(path, what))


def _is_document(data: bytes) -> bool:
    """Whether a text is one JSON document over several lines, or a list."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(content, list) or b"\n" in data.strip()
