"""The store of models: every trained model a version, which never changes once it is written.

STORE/models/NAME/versions/<id>/     a package; its id is the start of a SHA-256 (`version_of`)
STORE/models/NAME/champion.json      which version predicts (`components.lifecycle.champion`)
STORE/models/NAME/decisions/         what the gate said of each version
STORE/models/NAME/trained.json       what was trained last, and from what (`components.lifecycle.plan`)
STORE/models/NAME/readers/           who is reading a version (`components.lifecycle.retention`)
STORE/models/NAME/predictions/       kept until their products' codes are known
"""

import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.core.artifacts import MANIFEST, read_manifest, sha256
from components.core.errors import InputError
from components.core.project import NAME
from components.lifecycle.config import parse_name
from components.lifecycle.objects import ABSENT, Objects
from components.lifecycle.version import Version, as_json, checked_version, parse_object, version_of

LAST = "trained.json"
VERSION = re.compile(r"[0-9a-f]{16}")
MOMENT = "%Y%m%dT%H%M%SZ"
KEPT = re.compile(r"(\d{8}T\d{6}Z)-([0-9a-f]{16})-[0-9a-f]{16}\.tsv")


class ModelStore:
    """The versions of one model in a store.

    Args:
        place: a folder, s3://... or gs://...
        name: of the model, where a store holds several.

    Raises:
        InputError: see `Objects`; so do all methods.
    """

    def __init__(self, place: str, name: str = NAME) -> None:
        self.name = parse_name(name)
        self.objects = Objects(place)
        self.root = f"models/{name}"

    def __str__(self) -> str:
        return f"{self.objects.place}/{self.root}"

    def add(self, package: Path) -> str:
        """Stores a package as a version, its manifest last; one that is there already is left as it is.

        Returns:
            The version's id.

        Raises:
            InputError: the package is damaged, or what arrived in the store is not what was sent.
        """
        manifest, version = read_manifest(package), version_of(package)
        target = self.folder(version)
        if self.objects.read(f"{target}/{MANIFEST}") is not None:
            return version
        for name in manifest["files"]:
            self.objects.put(package / name, f"{target}/{name}")
        arrived = self.objects.sizes(target)
        for name, file in manifest["files"].items():
            if arrived.get(name) != file["bytes"]:
                raise InputError(
                    f"{self}: {name} of version {version} has {arrived.get(name)} bytes in the store, "
                    f"{file['bytes']} were sent: store it again"
                )
        self.objects.put(package / MANIFEST, f"{target}/{MANIFEST}")
        return version

    def versions(self) -> list[str]:
        """The ids of all versions that are whole, in no order of time."""
        ids = filter(VERSION.fullmatch, self.objects.names(f"{self.root}/versions"))
        return [each for each in ids if MANIFEST in self.objects.names(self.folder(each))]

    def version(self, given: str) -> Version:
        """A version by its id or the beginning of it.

        Raises:
            InputError: no version or several begin so, or its manifest was changed or has just been deleted.
        """
        found = [each for each in self.versions() if given and each.startswith(given)]
        if len(found) != 1:
            raise InputError(self._not_one(given, found))
        version = self._read_version(found[0])
        if version is None:
            raise InputError(f"{self}: version {found[0]} was deleted just now")
        if version.damage:
            raise InputError(version.damage)
        return version

    def all_versions(self) -> list[Version]:
        """Every version, the newest first and the damaged last."""
        found = [version for each in self.versions() if (version := self._read_version(each))]
        return sorted(found, key=lambda each: (not each.damage, each.created, each.id), reverse=True)

    def fetch(self, version: Version, folder: Path) -> Path:
        """Copies a version into a folder and checks every file; returns the folder.

        Raises:
            InputError: it was deleted in the meantime, or a file is not what its manifest says.
        """
        for name in (*version.manifest["files"], MANIFEST):
            self.objects.get(f"{self.folder(version.id)}/{name}", folder / name)
        if sha256(folder / MANIFEST) != version.manifest_sha256:
            raise InputError(f"{self}: the manifest of version {version.id} changed while it was read")
        read_manifest(folder)
        return folder

    def withdraw(self, version: Version) -> bytes:
        """Takes a version's manifest away, so that it is none any more; returns what `restore` needs."""
        path = f"{self.folder(version.id)}/{MANIFEST}"
        content = self.objects.read(path) or b""
        self.objects.remove(path)
        return content

    def restore(self, version: Version, manifest: bytes) -> None:
        """Makes a withdrawn version one again."""
        self.objects.replace(f"{self.folder(version.id)}/{MANIFEST}", manifest, ABSENT)

    def remove(self, version: str) -> bool:
        """Deletes the files of a withdrawn version, or of one that was not stored to the end.

        Returns:
            Whether all are gone; somebody may store the same version at the same time.
        """
        folder = self.folder(version)
        for name in self.objects.sizes(folder):
            if self.objects.read(f"{folder}/{MANIFEST}") is not None:
                return False
            self.objects.remove(f"{folder}/{name}")
        self.objects.remove_folders(folder)
        return True

    def keep_predictions(
        self, detail: Path, version: str, *, when: datetime | None = None, token: str = ""
    ) -> str:
        """Keeps predictions until the codes of their products are known; returns the object's name.

        Args:
            detail: a TSV file with the columns product_id, code and probability among others.
            version: which predicted.
            when: now, where it is not given.
            token: 16 hexadecimal digits; of the same moment and token one file alone is kept.
        """
        moment = (when or datetime.now(UTC)).strftime(MOMENT)
        name = f"{self.root}/predictions/{moment}-{version}-{token or secrets.token_hex(8)}.tsv"
        self.objects.put(detail, name)
        return name

    def predictions(self) -> list[tuple[str, datetime, str]]:
        """The kept predictions, the oldest first: name, when they were made, the version that made them."""
        names = self.objects.names(f"{self.root}/predictions")
        found = [match for name in names if (match := KEPT.fullmatch(name))]
        return [
            (match[0], datetime.strptime(match[1], MOMENT).replace(tzinfo=UTC), match[2]) for match in found
        ]

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A JSON object below the model's root; None where there is none."""
        content = self.objects.read(f"{self.root}/{name}")
        return None if content is None else parse_object(content, f"{self}/{name}")

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Writes a JSON object below the model's root, over what is there."""
        self.objects.write(f"{self.root}/{name}", as_json(value))

    def folder(self, version: str) -> str:
        """Where a version's files lie, as a prefix of their objects' names."""
        return f"{self.root}/versions/{version}"

    def _read_version(self, version: str) -> Version | None:
        path = f"{self.folder(version)}/{MANIFEST}"
        content = self.objects.read(path)
        if content is None:
            return None
        try:
            return checked_version(version, content, f"{self.objects.place}/{path}")
        except InputError as error:
            return Version(version, {}, "", str(error))

    def _not_one(self, given: str, found: list[str]) -> str:
        if found:
            return f"{self}: {len(found)} versions begin with {given!r}, give more: {', '.join(found)}"
        there = ", ".join(each.id for each in self.all_versions()[:5])
        newest = f"the newest are {there}" if there else "it holds none yet"
        return f"{self}: no version {given!r}: {newest}; `models list` shows them all"
