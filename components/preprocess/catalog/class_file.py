"""The file that says what classes are called, and which parents they have."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.errors import InputError
from components.core.reading import read_json
from components.data.class_tree import PATHS, SEPARATOR
from components.data.codes import clean_code
from components.data.tables.findings import DROPPED, FLAGGED, Finding, shown
from components.data.tables.read import read_table
from components.preprocess.catalog.cleaning import clean_text
from components.preprocess.catalog.dialects import class_columns, plural
from components.preprocess.catalog.joining import number_form
from components.preprocess.config import PreprocessConfig

COLUMNS = {"code": "code", "name": "name", "parent": "parent"}  # of a table, unless class_columns says else
EXPECTED = 'a JSON object of code to name, {"10": "Books"}'


@dataclass(frozen=True)
class _Entry:
    """What the file says of one class.

    Attributes:
        name: of the class alone, or with its parents' before it.
        parent: the code of another entry, or the names of the parents.
        where: the place in the file.
    """

    code: str
    name: str
    parent: str
    where: str


def read_classes(path: Path, config: PreprocessConfig) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Reads what classes are called, and where they stand.

    A name may hold the names of the parents before its own, "Shoes > Boots". So may a table's column of
    parents, or it holds codes of other rows; in JSON the same is `{"10": {"name": ..., "parent": ...}}`.

    Returns:
        Code -> name, with the names of the parents before it; and, of codes that have parents, code -> the
        names from the top down.

    Raises:
        InputError: neither JSON nor a table of classes, or a code has two names, stands below itself or has
            a parent that the file lacks.
    """
    entries = list(_of_json(path) if _is_json(path) else _of_table(path, config))
    first: dict[str, _Entry] = {}
    for entry in entries:
        first.setdefault(entry.code, entry)
    # As numbers: with one of them missing, pandas writes a column of codes as 2.0.
    numbers = {number_form(code) for code in first}
    by_code = any(number_form(clean_code(entry.parent)) in numbers for entry in entries)
    names, paths = {}, {}
    for entry in entries:
        parts = _names_of(entry, first, by_code, config.class_separator, path)
        name = (config.class_separator or SEPARATOR).join(parts) if entry.parent else entry.name
        if names.setdefault(entry.code, name) != name:
            places = f"{shown(names[entry.code])} ({first[entry.code].where}), {shown(name)} ({entry.where})"
            raise InputError(f"{path}: code {shown(entry.code)} has two names: {places}; give it one")
        if len(parts) > 1:
            paths[entry.code] = parts
    return names, paths


def tree_metadata(paths: Mapping[str, list[str]], codes: set[str]) -> dict[str, Any]:
    """What the catalog's metadata say of the tree; nothing where none of its codes has a parent."""
    return {PATHS: dict(paths)} if codes & paths.keys() else {}


def unused_names(names: Iterable[str], codes: set[str], path: Path) -> list[Finding]:
    """One finding where classes are named that the catalog does not have."""
    unused = sorted(set(names) - codes)
    if not unused:
        return []
    listed = ", ".join(map(shown, unused[:5])) + (", ..." if len(unused) > 5 else "")
    detail = f"{len(unused)} names are of codes that no product has: {listed}"
    return [Finding(path.name, 0, "", "unused_class_names", FLAGGED, detail)]


def _is_json(path: Path) -> bool:
    """By its name, or as it begins; JSON Lines are a table."""
    if {".jsonl", ".ndjson"} & set(path.suffixes):
        return False
    if path.suffix == ".json" or not path.is_file():
        return True
    with path.open("rb") as file:
        return file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")


def _of_json(path: Path) -> Iterator[_Entry]:
    for code, value in read_json(path, EXPECTED).items():
        given = value if isinstance(value, dict) else {"name": value}
        if unknown := sorted(given.keys() - {"name", "parent"}):
            raise InputError(f"{path}: code {shown(code)}: {shown(unknown[0])}: expected name and parent")
        name, parent = ("" if given.get(key) is None else given[key] for key in ("name", "parent"))
        if wrong := [text for text in (name, parent) if isinstance(text, (dict, list, bool))]:
            raise InputError(f"{path}: code {shown(code)}: {shown(str(wrong[0]))}: expected a text")
        yield _entry(code, str(name), str(parent), f"as {shown(code)}")


def _of_table(path: Path, config: PreprocessConfig) -> Iterator[_Entry]:
    try:
        table = read_table(path, encoding=config.encoding)
    except InputError:
        if not config.quotes:
            raise
        # Set for the catalog, whose quotes may be others; a message asks for it here too.
        table = read_table(path, encoding=config.encoding, quotes=config.quotes)
    columns = class_columns(config.class_columns) if config.class_columns else COLUMNS
    missing = table.missing(columns.values())
    if lacking := [name for name in missing if config.class_columns or name != COLUMNS["parent"]]:
        raise InputError(
            f"{path}: {plural(lacking, 'column')} missing; it has {table.named()} (read as {table.form}). "
            f"Expected {EXPECTED}, or a table with a code, a name and a parent: name its columns with "
            "class_columns of preprocess_config"
        )
    if lost := [finding for finding in table.findings if finding.action == DROPPED]:
        raise InputError(f"{path}: line {lost[0].line}: {lost[0].detail}")
    for row in table.rows:
        code, name, parent = (row.values.get(columns.get(field, field), "") for field in COLUMNS)
        if not clean_code(code):
            raise InputError(f"{path}: line {row.line}: {shown(columns['code'])} is empty: expected a code")
        yield _entry(code, name, parent, f"line {row.line}")


def _entry(code: str, name: str, parent: str, where: str) -> _Entry:
    return _Entry(clean_code(code), clean_text(name), clean_text(parent), where)


def _names_of(
    entry: _Entry, first: Mapping[str, _Entry], by_code: bool, separator: str, path: Path
) -> list[str]:
    """The names from the top down to a class."""
    names, passed = _parts(entry.name, separator) or [entry.code], [entry]
    while parent := passed[-1].parent:
        above = first.get(clean_code(parent))
        if above is None and by_code:
            raise InputError(
                f"{path}: {passed[-1].where}: parent {shown(parent)} is no code of this file, as parents are "
                "here; write it as it stands in the column of codes, or leave it empty for a class at the top"
            )
        if above is None:
            return _parts(parent, separator) + names
        passed.append(above)
        if above in passed[:-1]:
            circle = " below ".join(f"{shown(each.code)} ({each.where})" for each in passed)
            raise InputError(f"{path}: a class stands below itself: {circle}; leave one parent empty")
        names = (_parts(above.name, separator) or [above.code]) + names
    return names


def _parts(text: str, separator: str) -> list[str]:
    parts = text.split(separator) if separator else [text]
    return [part.strip() for part in parts if part.strip()]
