"""Which encoding a text file is in, decided for the whole file.

UTF-8 and UTF-16 prove themselves, read in pieces; for an older code page see `code_pages`.
"""

import codecs
from dataclasses import dataclass
from pathlib import Path

from components.core.errors import InputError
from components.data.tables.code_pages import CONTROLS, likelihood, older_codec, reads

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
BLOCK = 2**20  # characters
MAX_WHOLE = 2**31  # bytes of a table that is held in memory: a workbook, a text whose code page is looked for


@dataclass(frozen=True)
class Encoding:
    """The encoding that a file is read in.

    Attributes:
        codec: Python's name for it.
        damaged: some bytes are none of the encoding; in the text they are lone surrogates
            (`surrogateescape`), so that their lines can be found.
    """

    codec: str
    damaged: bool = False

    @property
    def name(self) -> str:
        """What it is called, whether or not a mark of byte order stands before the text."""
        return self.codec.removesuffix("-sig")


def tell_encoding(file: Path, encoding: str, where: str) -> Encoding:
    """The encoding of a text file, which is read in pieces; one of an older code page is held in memory.

    Args:
        encoding: a codec's name for a file that is not UTF-8, "" to detect it.

    Raises:
        InputError: the file is not in the encoding named, or several readings are as likely; it names both
            readings and the option.
    """
    with file.open("rb") as opened:
        head = opened.read(16)
    for mark, name in MARKS:
        if head.startswith(mark):
            return _checked(file, name, where)
    if name := _without_mark(head, file.stat().st_size):
        return _checked(file, name, where)
    try:
        _read_through(file, "utf-8")
    except UnicodeDecodeError:
        return _checked(file, encoding, where) if encoding else _not_utf8(file, where)
    # Bytes of ASCII alone may be ISO-2022-JP too, or UTF-7.
    wide = encoding.lower().startswith(("utf-16", "utf_16", "utf16", "utf-32", "utf_32", "utf32"))
    if wide or (encoding and _is_ascii(file)):
        return _checked(file, encoding, where)
    return Encoding("utf-8")


def _checked(file: Path, encoding: str, where: str) -> Encoding:
    try:
        _read_through(file, encoding)
    except LookupError as error:
        raise InputError(
            f"{where}: encoding {encoding!r} is not known; name one such as utf-8, cp1252 or cp1251"
        ) from error
    except UnicodeError:
        if encoding.startswith("utf-8"):
            return Encoding(encoding, damaged=True)
        _refuse_wrong(file.read_bytes(), encoding, where)
    return Encoding(encoding)


def _read_through(file: Path, encoding: str) -> None:
    """Reads a text in pieces; raises what reading it whole would, and where it holds what no text does."""
    with file.open(encoding=encoding, newline="") as stream:
        while piece := stream.read(BLOCK):
            if not encoding.lower().startswith("utf") and CONTROLS.search(piece):
                raise UnicodeError


def _is_ascii(file: Path) -> bool:
    try:
        _read_through(file, "ascii")
    except UnicodeError:
        return False
    return True


def _refuse_wrong(data: bytes, encoding: str, where: str) -> None:
    try:
        text = data.decode(encoding)
    except UnicodeError as error:
        line = data.count(b"\n", 0, getattr(error, "start", 0)) + 1
        raise InputError(f"{where}, line {line}: not {encoding}: {error}. Name another encoding.") from error
    if control := CONTROLS.search(text):
        line = text.count("\n", 0, control.start()) + 1
        raise InputError(
            f"{where}, line {line}: not {encoding}: it would hold the control character {control[0]!r}. Name "
            "another encoding: ISO 8859 mostly means that of Windows, cp1252."
        )


def _without_mark(head: bytes, size: int) -> str:
    """UTF-16 without its mark: every other byte is 0 in a header of Latin letters."""
    for start, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(head) > 1 and size % 2 == 0 and not any(head[start::2]) and all(head[1 - start :: 2]):
            return name
    return ""


def _not_utf8(file: Path, where: str) -> Encoding:
    count = sound = 0
    with file.open("rb") as opened:
        for line in opened:
            if not line.isascii():
                count += 1
                sound += reads(line, "utf-8")
    if 2 * sound > count:
        return Encoding("utf-8", damaged=True)
    if file.stat().st_size > MAX_WHOLE:
        raise InputError(
            f"{where}: not UTF-8, and no other encoding is looked for in more than {MAX_WHOLE:,} bytes. "
            "Write it in UTF-8, or set the encoding option, as in encoding=cp1252."
        )
    data = file.read_bytes()
    lines = [line for line in dict.fromkeys(data.split(b"\n")) if not line.isascii()]
    found = None if 4 * sound > count else older_codec(data, lines, where)
    if found is None or any(reads(line, "utf-8") and likelihood(line.decode(found))[1] for line in lines):
        line = 1 + next(at for at, line in enumerate(data.split(b"\n")) if not reads(line, "utf-8"))
        raise InputError(
            f"{where}, line {line}: this line is not UTF-8, others are: two encodings in one file. "
            "Write the file anew in UTF-8, or set the encoding option, as in encoding=cp1252."
        )
    return Encoding(found)
