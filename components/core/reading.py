"""The one door by which files are read that a person names, or that lie where a person can reach them."""

import json
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.core.errors import InputError

TEXT_BYTES = 64 * 2**20  # of a JSON file or a list of ids
REASON_LETTERS = 300


@contextmanager
def reading(path: Path, what: str, *, most: int | None = None, whose: str = "") -> Iterator[None]:
    """Whatever a library raises on a file inside the block becomes one line about that file.

    Args:
        what: what the file should be, as in "a JSON object of code to name".
        most: bytes; a larger file is not opened. None where the library maps it or reads it in pieces.
        whose: whose file it is, where the path alone does not tell.

    Raises:
        InputError: the file cannot be read, is not a regular one (opening a pipe would wait for ever), is too
            large, or is not what it should be.
    """
    where = f"{path} ({whose})" if whose else str(path)
    try:
        _check_regular(path, where, what, most)
        yield
    except InputError:
        raise
    except Exception as error:  # each library has its own, of no common kind
        raise InputError(f"{where}: not {what}: {reason(error)}") from error


def read_text(path: Path, what: str) -> str:
    """The text of a UTF-8 file, with or without a byte order mark; see `reading` for what is refused."""
    with reading(path, what, most=TEXT_BYTES):
        return path.read_text(encoding="utf-8-sig")


def read_json(path: Path, what: str) -> dict[str, Any]:
    """The JSON object that a file holds; see `reading` for what is refused, and NaN and infinity are."""
    with reading(path, what, most=TEXT_BYTES):
        return parse_json_object(path.read_text(encoding="utf-8-sig"))


def parse_json_object(text: str | bytes) -> dict[str, Any]:
    """Parses a JSON object.

    Raises:
        ValueError: it is none, or holds NaN, an infinity or half of a surrogate pair.
        RecursionError: it is nested too deeply.
    """
    found = parse_json(text)
    if not isinstance(found, dict):
        raise ValueError(f"a JSON {type(found).__name__}, expected an object")
    return found


def parse_json(text: str | bytes) -> Any:
    """Parses JSON as the standard has it, without NaN, infinities, half surrogate pairs and repeated keys.

    Raises:
        ValueError: it is not JSON, or holds one of these.
        RecursionError: it is nested too deeply.
    """
    found = json.loads(
        text, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=unique_keys
    )
    json.dumps(found, ensure_ascii=False).encode()  # refuses half a pair, which no UTF-8 file can hold
    return found


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of a JSON text's pairs; `ValueError` where a key occurs twice, as one would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice!r} occurs twice")
    return found


def reason(error: BaseException) -> str:
    """What an error says, in one line of bounded length."""
    cause = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    if isinstance(error, KeyError):
        cause = f"it lacks {cause}"
    if isinstance(error, MemoryError):
        cause = "it needs more memory than there is"
    line = " ".join(cause.split())
    return line if len(line) <= REASON_LETTERS else f"{line[:REASON_LETTERS]}…"


def _check_regular(path: Path, where: str, what: str, most: int | None) -> None:
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"{where}: cannot be read: {reason(error)}; expected {what}") from error
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe, a socket or a device"
        raise InputError(f"{where}: {kind}, expected {what}")
    if most is not None and found.st_size > most:
        raise InputError(f"{where}: {found.st_size:,} bytes, of {what} at most {most:,} are read")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON; expected a finite one")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text} is too large for a number; expected a finite one")
    return value
