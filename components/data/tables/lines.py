"""A table's file as it lies on the disk, unpacked, and its lines, read as often as they are asked for."""

import gzip
import re
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from components.core.errors import InputError
from components.data.tables.encodings import MAX_WHOLE, Encoding
from components.data.tables.findings import shown

MAX_BYTES = 2**33  # of a table, unpacked, which is read in pieces
FORMATS = "delimited text (CSV, TSV), .xlsx, Parquet or JSON Lines, each as it is, in gzip or alone in a zip"
GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
BLOCK = 2**20
_SEPARATOR = re.compile(r"sep=([\t;,|])\r?")  # Excel's, before the header


@dataclass(frozen=True)
class Unpacked:
    """A file as it is, or what its archive holds, in a temporary file that goes with this object."""

    file: Path
    temporary: Any = None

    def head(self, size: int = 2**16) -> bytes:
        """Its first bytes."""
        with self.file.open("rb") as opened:
            return opened.read(size)


def unpacked(path: Path) -> Unpacked:
    """A table's file out of its gzip or zip; a workbook, which is a zip too, as it is.

    Raises:
        InputError: too large, or an archive of something else than one table.
    """
    found = Unpacked(path)
    if found.head().startswith(GZIP):
        with gzip.open(path) as packed:
            found = _copied(packed, path)
    return _unzipped(found, path) if found.head().startswith(ZIP) else found


def not_read(path: Path, what: str) -> str:
    """The message about a file of a format that is not read."""
    return f"{path}: {what}, which is not read; expected {FORMATS}"


def _copied(packed: IO[bytes] | gzip.GzipFile, path: Path) -> Unpacked:
    temporary, size = tempfile.NamedTemporaryFile(), 0  # noqa: SIM115
    while block := packed.read(BLOCK):
        size += len(block)
        if size > MAX_BYTES:
            raise InputError(_too_large(path, MAX_BYTES))
        temporary.write(block)
    temporary.flush()
    return Unpacked(Path(temporary.name), temporary)


def _too_large(path: Path, most: int) -> str:
    return f"{path}: more than {most:,} bytes when unpacked; at most so many are read"


def _unzipped(found: Unpacked, path: Path) -> Unpacked:
    with zipfile.ZipFile(found.file) as archive:
        members = archive.infolist()
        names = {member.filename for member in members}
        size = sum(member.file_size for member in members)
        if "[Content_Types].xml" in names and any(name.startswith("xl/") for name in names):
            if size > MAX_WHOLE:
                raise InputError(_too_large(path, MAX_WHOLE))
            return found
        if size > MAX_BYTES:
            raise InputError(_too_large(path, MAX_BYTES))
        if "mimetype" in names or "[Content_Types].xml" in names:
            raise InputError(not_read(path, "an OpenDocument or Office file other than .xlsx"))
        files = [member for member in members if _counts(member.filename)]
        if len(files) != 1:
            listed = ", ".join(shown(member.filename, 40) for member in files[:5])
            raise InputError(not_read(path, f"a ZIP archive of {len(files)} files ({listed})"))
        if files[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(not_read(path, "a ZIP archive packed by another method than deflate"))
        with archive.open(files[0]) as packed:
            inner = _copied(packed, path)
    if inner.head().startswith((ZIP, GZIP)):
        raise InputError(not_read(path, "an archive inside a ZIP archive"))
    return inner


def _counts(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return not name.endswith("/") and "__MACOSX" not in parts and not parts[-1].startswith(".")


@dataclass(frozen=True)
class Lines:
    """The lines of a text, without their ends, read anew each time that they are iterated over.

    Attributes:
        returns: what a carriage return without a line feed stands for: the end of a line, or a space in it.
        skipped: lines before the first that is read: the one in which Excel names the delimiter.
    """

    source: Unpacked
    encoding: Encoding
    returns: str = "\n"
    skipped: int = 0

    def __iter__(self) -> Iterator[str]:
        last = None  # held back: MS-DOS ends a text with Ctrl+Z, and some exports still do
        for line in self._whole():
            if last is not None:
                yield last
            *before, last = line.split("\r") if self.returns == "\n" else [line.replace("\r", self.returns)]
            yield from before
        if last is not None:
            yield last.removesuffix("\x1a")

    def first(self) -> str:
        """The first line that is not blank, "" where there is none."""
        return next((line for line in self if line.strip()), "")

    def separator(self) -> str:
        """The delimiter that the first line names for Excel, "" where it does not."""
        named = _SEPARATOR.match(next(self._whole(), ""))
        return named[1] if named else ""

    def lone_returns(self) -> bool:
        """Whether some carriage returns stand without a line feed, and other lines end in one."""
        several = any(number > 0 for number, _ in enumerate(self._whole()))
        return several and any("\r" in line for line in self._whole())

    def _whole(self) -> Iterator[str]:
        """Lines that end in a line feed, with or without a carriage return before it; behind it one more."""
        line = "\n"
        for number, line in enumerate(self._raw()):
            line = line.removeprefix("\ufeff") if number == 0 else line
            if number == 0 and self.skipped:
                rest = _SEPARATOR.sub("", line, count=1)
                if rest in ("", "\n"):
                    continue
                line = rest
            yield line[:-2] if line.endswith("\r\n") else line.removesuffix("\n")
        if line.endswith("\n"):
            yield ""

    def _raw(self) -> Iterator[str]:
        errors = "surrogateescape" if self.encoding.damaged else "strict"
        with self.source.file.open(encoding=self.encoding.codec, errors=errors, newline="\n") as stream:
            yield from stream
