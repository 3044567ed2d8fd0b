"""The objects of a store of models, of which one is replaced only while it still is what was read.

S3 compares an ETag (If-Match, If-None-Match), Google Cloud Storage a generation (ifGenerationMatch); in a
folder, comparing and renaming happen under a lock.
"""

import hashlib
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from components.core.artifacts import whole_file
from components.core.errors import InputError
from components.core.reading import reason
from components.data.uris import is_uri, open_store
from components.lifecycle.config import check_place
from components.lifecycle.lock import locked

ABSENT = ""  # the tag of an object that is not there


class Changed(Exception):
    """An object is no longer what was read: somebody else has written it."""


class Objects:
    """Objects by name below a folder or a URI.

    Args:
        place: a folder's path, or a URI of s3, gs or file.

    Raises:
        InputError: another scheme, or the store's backend is not installed; all methods raise it where the
            store does not answer or refuses.
    """

    def __init__(self, place: str) -> None:
        if not place:
            raise InputError("no store of models is named: expected a folder, s3://... or gs://...")
        check_place(place)
        self.place = place.rstrip("/")
        self.files: Any = LocalFileSystem()
        root = str(Path(place).absolute())
        if is_uri(place):
            self.files, root = open_store(place)
        self.root = root.rstrip("/")
        protocols = self.files.protocol
        self.scheme = {protocols} if isinstance(protocols, str) else set(protocols)

    @property
    def is_folder(self) -> bool:
        """Whether the objects are files of this machine."""
        return "file" in self.scheme

    def path(self, name: str) -> str:
        """Where an object lies, for the store's library."""
        return f"{self.root}/{name}"

    def names(self, prefix: str) -> list[str]:
        """The last parts of the names directly below a prefix, sorted; none where nothing is there."""
        with self._explained(prefix):
            self.files.invalidate_cache()
            try:
                found = self.files.ls(self.path(prefix), detail=False)
            except FileNotFoundError:
                return []
        return sorted(
            name for path in found if not (name := path.rstrip("/").rpartition("/")[2]).startswith(".")
        )

    def sizes(self, prefix: str) -> dict[str, int]:
        """Bytes of every object below a prefix, by its name there."""
        return {name: entry["size"] for name, entry in self._found(prefix).items()}

    def written(self, prefix: str) -> dict[str, datetime]:
        """When every object below a prefix was written, by its name there."""
        found = self._found(prefix)
        return {name: _moment(entry.get("LastModified") or entry["mtime"]) for name, entry in found.items()}

    def read(self, name: str) -> bytes | None:
        """What an object holds; None where there is none."""
        return self.tagged(name)[0]

    def tagged(self, name: str) -> tuple[bytes | None, str]:
        """What an object holds, and the tag with which alone `replace` replaces it.

        The tag is read first: where somebody writes in between, the tag is too old and replacing fails.
        """
        path = self.path(name)
        with self._explained(name):
            self.files.invalidate_cache()
            try:
                tag = "" if self.is_folder else self._tag(path)
                content = self.files.cat_file(path)
            except FileNotFoundError:
                return None, ABSENT
        return content, tag or hashlib.sha256(content).hexdigest()

    def replace(self, name: str, content: bytes, tag: str) -> None:
        """Writes an object if its tag still is the one that was read.

        Raises:
            Changed: it is not; nothing is written.
        """
        write = self._rename if self.is_folder else self._put_if
        with self._explained(name):
            try:
                write(self.path(name), content, tag)
            except Exception:  # each library has its own for a condition that does not hold
                now, found = self.tagged(name)
                if now == content:  # the answer to a first attempt was lost
                    return
                if found != tag:
                    raise Changed(name) from None
                raise

    def write(self, name: str, content: bytes) -> None:
        """Writes an object over what is there."""
        while True:
            with suppress(Changed):
                self.replace(name, content, self.tagged(name)[1])
                return

    def put(self, file: Path, name: str) -> None:
        """Copies a file to an object of a name that nothing has yet."""
        with self._explained(name):
            if self.is_folder:
                with whole_file(Path(self.path(name))) as temporary:
                    shutil.copyfile(file, temporary)
            else:
                self.files.put_file(str(file), self.path(name))

    def get(self, name: str, file: Path) -> None:
        """Copies an object to a file.

        Raises:
            InputError: there is none.
        """
        file.parent.mkdir(parents=True, exist_ok=True)
        with self._explained(name):
            self.files.get_file(self.path(name), str(file))

    def remove(self, name: str) -> None:
        """Deletes an object, if there is one."""
        with self._explained(name), suppress(FileNotFoundError):
            self.files.rm_file(self.path(name))

    def remove_folders(self, prefix: str) -> None:
        """Deletes what is left where all objects below a prefix are gone: empty folders."""
        if self.is_folder:
            shutil.rmtree(self.path(prefix), ignore_errors=True)

    def check_conditions(self, prefix: str) -> None:
        """Tests that the store keeps to conditions, by writing an object and deleting it again.

        Raises:
            InputError: it does not, so that two runs could both replace what they read.
        """
        name = f"{prefix}/.condition-{secrets.token_hex(8)}"
        try:
            self.replace(name, b"1", ABSENT)
            created = self.tagged(name)[1]
            self._expect_refusal(name, b"2", ABSENT)
            self.replace(name, b"3", created)
            self._expect_refusal(name, b"4", created)
        finally:
            self.remove(name)

    def _found(self, prefix: str) -> dict[str, dict[str, Any]]:
        """What the store says of every object below a prefix, by its name there."""
        with self._explained(prefix):
            self.files.invalidate_cache()
            found = self.files.find(self.path(prefix), detail=True)
        start = len(self.path(prefix)) + 1
        return {path[start:]: entry for path, entry in found.items()}

    def _expect_refusal(self, name: str, content: bytes, tag: str) -> None:
        with suppress(Changed):
            self.replace(name, content, tag)
            raise InputError(
                f"{self.place}: writes although a condition (an ETag or a generation) does not hold: "
                "two runs could overwrite each other's choice; use a store that keeps to conditions"
            )

    def _tag(self, path: str) -> str:
        entry = self.files.info(path)
        return str(entry["ETag"] if "s3" in self.scheme else entry["generation"])

    def _put_if(self, path: str, content: bytes, tag: str) -> None:
        if "s3" in self.scheme:
            condition = {"IfNoneMatch": "*"} if tag == ABSENT else {"IfMatch": tag}
            self.files.pipe_file(path, content, **condition)
            return
        bucket, _, key = path.partition("/")
        upload = self.files.base.replace("/storage/v1/", "/upload/storage/v1/")
        options = {"uploadType": "media", "name": key, "ifGenerationMatch": tag or "0"}
        self.files.call("POST", f"{upload}b/{bucket}/o", data=content, **options)

    def _rename(self, path: str, content: bytes, tag: str) -> None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(Path(self.path(".lock"))):
            found = hashlib.sha256(target.read_bytes()).hexdigest() if target.exists() else ABSENT
            if found != tag:
                raise Changed(path)
            with whole_file(target) as temporary:
                temporary.write_bytes(content)

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        try:
            yield
        except (InputError, Changed):
            raise
        except Exception as error:  # each store's library has its own, of no common kind
            what = "nothing is there" if isinstance(error, FileNotFoundError) else reason(error)
            raise InputError(
                f"{self.place}/{name}: cannot be read or written: {what}; check the address and the "
                "credentials"
            ) from error


def _moment(time: float | datetime) -> datetime:
    """A time of the store's library, which has seconds since 1970 for a folder."""
    return datetime.fromtimestamp(time, UTC) if isinstance(time, int | float) else time
