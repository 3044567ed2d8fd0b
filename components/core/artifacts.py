"""Durable artifacts: what a stage leaves behind is whole or absent, and its manifest proves it."""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from components.core.errors import InputError
from components.core.reading import read_json

MANIFEST = "manifest.json"


@contextmanager
def whole_file(path: Path, *, size: int | None = None) -> Iterator[Path]:
    """Yields a temporary path that becomes `path` only when the block ends well.

    The file is flushed to the disk before it is renamed, so a crash leaves the old file or the new
    one, never half of one.

    Args:
        size: bytes that will be written, where they are known.

    Raises:
        OSError: the disk is full or cannot be written; the message names the path and its size.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except Exception as error:
        if _is_disk_full(error):
            written = temporary.stat().st_size if temporary.exists() else 0
            amount = f"for {size:,}" if size else f"after writing {written:,}"
            raise OSError(
                errno.ENOSPC,
                f"no space left {amount} bytes of {path}; free some space and start again: "
                "what was finished before is kept",
            ) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _is_disk_full(error: Exception) -> bool:
    numbers = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if isinstance(error, OSError):
        return error.errno in numbers
    # safetensors gives the number in words alone.
    return any(f"(os error {number})" in str(error) for number in numbers)


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as JSON, whole or not at all; refuses NaN and infinity."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Writes a JSON object with its own SHA-256 at its end, whole or not at all."""
    plain = json.loads(json.dumps(value, allow_nan=False))
    write_json(path, {**plain, "sha256": json_digest(plain)})


def read_sealed(path: Path, what: str) -> dict[str, Any]:
    """Reads what `write_sealed` wrote, without the SHA-256.

    Args:
        what: what the file should be, for messages.

    Raises:
        InputError: it is missing or no such file, or was changed.
    """
    return unsealed(read_json(path, what), str(path))


def unsealed(value: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What `write_sealed` was given, of the JSON object that it wrote.

    Raises:
        InputError: it was changed; `where` names it.
    """
    plain = {name: each for name, each in value.items() if name != "sha256"}
    if value.get("sha256") != json_digest(plain):
        raise InputError(f"{where}: changed since it was written: run again what made it")
    return plain


def write_manifest(folder: Path, **metadata: Any) -> None:
    """Writes `folder/manifest.json`: `metadata`, and the size and SHA-256 of every file. Call it last.

    Manifests of folders inside are files like others. The manifest's own SHA-256 stands at its end.
    """
    files = {
        str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST and not path.name.startswith(".")
    }
    write_sealed(folder / MANIFEST, {**metadata, "files": files})


def read_manifest(folder: Path, *, check: bool = True) -> dict[str, Any]:
    """Reads `folder/manifest.json` and checks it, and every file that it lists.

    Args:
        check: the files; not needed by whoever has just written the folder.

    Raises:
        InputError: the manifest is missing or was changed, a name in it leads out of the folder, or a file is
            missing, of another size, or was changed.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(f"{folder}: no {MANIFEST}: the step that made it did not finish; run it again")
    manifest = read_sealed(path, "a manifest")
    check_names(manifest["files"], str(path))
    for name, expected in manifest["files"].items() if check else ():
        file = folder / name
        if not file.is_file():
            raise InputError(f"{file}: listed in {path} but missing; run the step that made it again")
        got = {"bytes": file.stat().st_size, "sha256": sha256(file)}
        if got != expected:
            raise InputError(
                f"{file}: changed since it was written: {got['bytes']} bytes, SHA-256 {got['sha256']}; "
                f"{path} expects {expected['bytes']} bytes, {expected['sha256']}"
            )
    return manifest


def check_names(names: Iterable[str], where: str) -> None:
    """Tests that files of these names lie below the folder that they are written to, whichever it is.

    Raises:
        InputError: one is empty, absolute or holds `..`; `where` says who names it.
    """
    for name in names:
        path = PurePosixPath(name)
        if not path.parts or path.is_absolute() or ".." in path.parts:
            raise InputError(
                f"{where}: names a file {name!r}, expected a name inside its folder: it was not written by "
                "this project; delete it, and run again what should have made it"
            )


def json_digest(value: Mapping[str, Any]) -> str:
    """The SHA-256 of a JSON object, whatever the order of its names, in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
