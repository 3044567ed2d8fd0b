"""Reads a table that a person names, whatever its format, which its content shows."""

import gzip
import io
import json
import re
import zipfile
from pathlib import Path, PurePosixPath

from components.core.errors import InputError
from components.core.reading import reading
from components.data.tables.columnar import read_json_lines, read_parquet
from components.data.tables.delimited import Quotes, read_delimited
from components.data.tables.encodings import Text, decode
from components.data.tables.findings import shown
from components.data.tables.table import Table, clean_names
from components.data.tables.workbooks import read_workbook

MAX_BYTES = 2**31  # of a table, unpacked
FORMATS = "delimited text (CSV, TSV), .xlsx, Parquet or JSON Lines, each as it is, in gzip or alone in a zip"

_GZIP, _ZIP, _PARQUET = b"\x1f\x8b", b"PK\x03\x04", b"PAR1"
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
    """Reads a table; every value stays text: "0010", "1e5", "NULL".

    Args:
        encoding: of a text file, "" to detect it.
        quotes: in delimited text "none" where quotes are text, "doubled" where they enclose fields, "" to
            decide.

    Raises:
        InputError: not a table that can be read without doubt; see `FORMATS`.
    """
    with reading(path, f"a table: {FORMATS}", most=MAX_BYTES):
        data = path.read_bytes()
        if data.startswith(_GZIP):
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
                data = _within_bounds(file.read(MAX_BYTES + 1), path)
        data = _unzipped(data, path) if data.startswith(_ZIP) else data
        return _read(data, encoding, quotes, path)


def _read(data: bytes, encoding: str, quotes: Quotes, path: Path) -> Table:
    if data.startswith(_PARQUET):
        return read_parquet(data, path)
    if data.startswith(_ZIP):
        return read_workbook(data, path)
    _refuse_others(data, path)
    text = decode(data, encoding, str(path))
    if not text.text.strip():
        raise InputError(f"{path}: empty: expected a line of column names")
    if text.text.lstrip().startswith("{") and _is_object(text.text):
        return read_json_lines(text.text, path)
    return _delimited(text, encoding, quotes, path)


def _delimited(text: Text, encoding: str, quotes: Quotes, path: Path) -> Table:
    # MS-DOS ends a text with Ctrl+Z, and some exports still do.
    reading = read_delimited(text.text.removesuffix("\x1a"), quotes, str(path))
    _, header = reading.records[0]
    how = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "bars"}[reading.delimiter]
    by = "as set" if text.encoding == encoding else "by its bytes"
    by = "by its letters" if by != "as set" and not text.encoding.startswith("utf") else by
    form = (
        f"{text.encoding} text, delimited by {how}, "
        f"quotes {'enclose fields' if reading.quoted else 'are text'} "
        f"(the encoding {by}, the quotes {'as set' if quotes else 'by the whole file'})"
    )
    table = Table(path, clean_names(header), form, reading.delimiter)
    for line, values in reading.records[1:]:
        table.take(line, values, escaped=text.damaged)
    return table


def _within_bounds(data: bytes, path: Path) -> bytes:
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: more than {MAX_BYTES:,} bytes when unpacked; at most so many are read")
    return data


def _unzipped(data: bytes, path: Path) -> bytes:
    """The one member of a zip; a workbook, which is a zip too, as it is."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        names = {member.filename for member in members}
        if sum(member.file_size for member in members) > MAX_BYTES:
            raise InputError(f"{path}: more than {MAX_BYTES:,} bytes when unpacked; at most so many are read")
        if "[Content_Types].xml" in names and any(name.startswith("xl/") for name in names):
            return data
        if "mimetype" in names or "[Content_Types].xml" in names:
            raise InputError(_not_read(path, "an OpenDocument or Office file other than .xlsx"))
        files = [member for member in members if _counts(member.filename)]
        if len(files) != 1:
            listed = ", ".join(shown(member.filename, 40) for member in files[:5])
            raise InputError(_not_read(path, f"a ZIP archive of {len(files)} files ({listed})"))
        if files[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(_not_read(path, "a ZIP archive packed by another method than deflate"))
        with archive.open(files[0]) as file:
            unpacked = _within_bounds(file.read(MAX_BYTES + 1), path)
    if unpacked.startswith((_ZIP, _GZIP)):
        raise InputError(_not_read(path, "an archive inside a ZIP archive"))
    return unpacked


def _counts(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return not name.endswith("/") and "__MACOSX" not in parts and not parts[-1].startswith(".")


def _is_object(text: str) -> bool:
    first = next(line for line in text.split("\n") if line.strip())
    try:
        return isinstance(json.loads(first), dict)
    except ValueError:
        return False


def _refuse_others(data: bytes, path: Path) -> None:
    what = next((what for start, what in OTHERS.items() if data.startswith(start)), "")
    if not what and _MARKUP.match(data):
        what = "an HTML or XML document"
    if not what and data.lstrip()[:1] in (b"[", b"{") and _is_document(data):
        what = "a JSON document; JSON Lines has one object a line"
    if what:
        raise InputError(_not_read(path, what))


def _is_document(data: bytes) -> bool:
    """Whether a text is one JSON document over several lines, or a list."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(content, list) or b"\n" in data.strip()


def _not_read(path: Path, what: str) -> str:
    return f"{path}: {what}, which is not read; expected {FORMATS}"
