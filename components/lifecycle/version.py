"""A version of a model: a package in a store, and the id that names it."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.artifacts import MANIFEST, check_names, json_digest, unsealed
from components.core.errors import InputError
from components.core.reading import parse_json_object, read_json, reason

# How a model was made, of what its manifest says; the rest, every file's digest among it, is the model.
MAKING = ("created", "version", "code")


def version_of(package: Path) -> str:
    """The id of a package: 16 hexadecimal digits that equal models share, whenever they were trained.

    They begin the SHA-256 of its manifest as a JSON object, without when and by which code it was made.
    Of a package of format 1 they begin that of the manifest's bytes.

    Raises:
        InputError: it has no manifest.
    """
    manifest = read_json(package / MANIFEST, "a manifest")
    return _id_of((package / MANIFEST).read_bytes(), manifest)


@dataclass(frozen=True)
class Version:
    """A stored model.

    Attributes:
        manifest: the package's, with `created`, `metrics`, `files`, ...
        manifest_sha256: of its bytes, which name every file's digest.
        damage: why nothing can be read of it; "" for a sound one.
    """

    id: str
    manifest: dict[str, Any]
    manifest_sha256: str
    damage: str = ""

    @property
    def created(self) -> str:
        """When it was trained, UTC."""
        return str(self.manifest.get("created", ""))

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file["bytes"] for file in self.manifest.get("files", {}).values())


def checked_version(version: str, content: bytes, where: str) -> Version:
    """The version of an id, whose manifest's bytes these are.

    Raises:
        InputError: they are not, or a file's name leads out of the version's folder; `where` names them.
    """
    manifest = _manifest(version, content, where)
    if manifest is None:
        raise InputError(
            f"{where}: changed since it was written: a version is never changed; restore it, or delete it"
        )
    check_names(manifest.get("files", ()), where)
    return Version(version, manifest, hashlib.sha256(content).hexdigest())


def as_json(value: Mapping[str, Any]) -> bytes:
    """The bytes of a JSON object as the store's files hold it; refuses NaN."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def parse_object(content: bytes, where: str) -> dict[str, Any]:
    """The JSON object that a file of the store holds.

    Raises:
        InputError: it holds none.
    """
    try:
        return parse_json_object(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not a JSON object: {reason(error)}") from error


def _manifest(version: str, content: bytes, where: str) -> dict[str, Any] | None:
    """The manifest in these bytes; None where they are not what the version's id was made of."""
    with suppress(InputError):
        manifest = parse_object(content, where)
        unsealed(manifest, where)
        return manifest if _id_of(content, manifest) == version else None
    return None


def _id_of(content: bytes, manifest: Mapping[str, Any]) -> str:
    if manifest.get("format") == 1:
        return hashlib.sha256(content).hexdigest()[:16]
    made = {name: value for name, value in manifest.items() if name not in (*MAKING, "sha256")}
    return json_digest(made)[:16]
