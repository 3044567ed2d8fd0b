"""Where a catalog's images lie: a folder or a zip; all files are listed, and each is read when asked for."""

import os
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from components.core.errors import InputError
from components.data.tables.lines import ZIP, Unpacked
from components.data.uris import explained, fetch, is_in_store, open_store

MAX_BYTES = 20 * 2**20
# Of the others a few hundred bytes unpack to gigabytes before a reader can stop.
BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED, UTF8_NAME = 0x1, 0x800  # flags of a zip's member
# What zipfile and its decompressors raise on a damaged, encrypted or exotically packed file.
_DAMAGED_ZIP = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)


class BadImage(Exception):
    """An image that cannot be used: a short reason code, and what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class ImageSource(Protocol):
    """A place with images.

    Attributes:
        where: what it is called in messages.
        paths: of all its files, relative, as they are spelled there.
    """

    where: str
    paths: list[str]

    def expect(self, numbers: Iterable[int]) -> None:
        """Says which files are read next, so that what is far away comes in one go."""
        ...

    def read(self, number: int) -> bytes:
        """The bytes of `paths[number]`; raises BadImage where they cannot or must not be read."""
        ...


class FolderImages:
    """Images in a folder and its sub-folders; see `ImageSource`."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.where = f"the folder {root.name}"
        self.paths = sorted(
            os.path.relpath(os.path.join(folder, name), self.root)
            for folder, _, names in os.walk(self.root)
            for name in names
        )

    def expect(self, numbers: Iterable[int]) -> None:
        """Nothing is far away."""

    def read(self, number: int) -> bytes:
        """The bytes of one file of the folder."""
        name = self.paths[number]
        try:
            path = (self.root / name).resolve()
            if not path.is_relative_to(self.root):
                raise BadImage("image_outside_folder", f"{name!r} leads out of the image folder")
            if not path.is_file():
                raise BadImage("image_unreadable", f"{name!r} is not a regular file")
            _refuse_large(path.stat().st_size)
            return path.read_bytes()
        except (OSError, RuntimeError) as error:  # a RuntimeError: a link that leads to itself
            raise BadImage("image_unreadable", f"{name!r}: {error}") from error


class StoreImages:
    """Images in a folder of an object store: those alone that are read are fetched; see `ImageSource`.

    Those that are expected together come side by side, and stay in memory until others are expected.
    """

    def __init__(self, uri: str) -> None:
        """Lists the folder.

        Raises:
            InputError: the store cannot be asked.
        """
        self._uri, (self._filesystem, root) = uri, open_store(uri)
        self._root = root.rstrip("/")
        self.where = f"the folder {PurePosixPath(root).name}"
        with explained(uri):
            listed: Any = self._filesystem.find(self._root, detail=True)
        # A store's console makes objects for folders, named as these with a slash behind.
        files = {name: each["size"] for name, each in listed.items() if each["type"] == "file"}
        beside = (self._root, f"{self._root}/")
        files = {name: size for name, size in files.items() if name not in beside and not name.endswith("/")}
        self._sizes = {name.removeprefix(f"{self._root}/"): size for name, size in files.items()}
        self.paths, self._fetched = sorted(self._sizes), dict[int, bytes | Exception]()

    def expect(self, numbers: Iterable[int]) -> None:
        """Fetches these files, but for those that are too large."""
        self._fetched = {}  # the last ones leave before the next come
        self._fetch(sorted({number for number in numbers if self._sizes[self.paths[number]] <= MAX_BYTES}))

    def read(self, number: int) -> bytes:
        """The bytes of one file of the folder.

        Raises:
            InputError: the store cannot be asked.
        """
        name = self.paths[number]
        _refuse_large(self._sizes[name])
        if number not in self._fetched:
            self._fetch([number])
        found = self._fetched[number]
        if isinstance(found, FileNotFoundError | PermissionError):
            raise BadImage("image_unreadable", f"{name!r}: {found}") from found
        if isinstance(found, Exception):
            with explained(f"{self._uri}/{name}"):
                raise found
        return found

    def _fetch(self, numbers: list[int]) -> None:
        names = [f"{self._root}/{self.paths[number]}" for number in numbers]
        # Unlike `cat`, it takes a name with brackets for a name.
        contents = self._filesystem.cat_ranges(names, None, None, on_error="return")
        self._fetched.update(zip(numbers, contents, strict=True))


class ZipImages:
    """Images in a zip, which is never unpacked; see `ImageSource`."""

    def __init__(self, path: Path) -> None:
        """Opens the zip.

        Raises:
            InputError: not a zip.
        """
        try:
            self._zip = zipfile.ZipFile(path)
        except _DAMAGED_ZIP as error:
            why = str(error)
            if isinstance(error, zipfile.BadZipFile) and Unpacked(path).head().startswith(ZIP):
                why = "it begins as one, and the list of files at its end is not there: copy it whole"
            raise InputError(f"{path}: not a zip of images: {why}; expected a folder or a zip") from error
        self.path = path
        self.where = f"the zip {path.name}"
        self._members = [member for member in self._zip.infolist() if not member.is_dir()]
        self.paths = [_member_name(member) for member in self._members]

    def expect(self, numbers: Iterable[int]) -> None:
        """Nothing is far away."""

    def read(self, number: int) -> bytes:
        """The bytes of one member, of which a wrong size in its header never makes more than is allowed."""
        member, name = self._members[number], self.paths[number]
        _refuse_large(member.file_size)
        if member.flag_bits & ENCRYPTED:
            raise BadImage("image_unreadable", f"{name!r} has a password: make the zip anew without one")
        if member.compress_type not in BOUNDED:
            raise BadImage("image_unreadable", f"{name!r} is not packed by deflate: make the zip anew")
        try:
            with self._zip.open(member) as file:
                data = file.read(MAX_BYTES + 1)
        except _DAMAGED_ZIP as error:
            raise BadImage("image_unreadable", f"{name!r}: {error}") from error
        _refuse_large(len(data))
        return data


def open_images(path: Path) -> ImageSource:
    """Images in a folder or a zip.

    Raises:
        InputError: neither.
    """
    return FolderImages(path) if path.is_dir() else ZipImages(path)


def images_at(place: str, scratch: Path) -> ImageSource:
    """Images in the folder or zip that a path or URI names; a zip in a store is fetched whole into `scratch`.

    Raises:
        InputError: neither; or nothing is there.
    """
    if is_in_store(place):
        filesystem, remote = open_store(place)
        with explained(place):
            if filesystem.isdir(remote):
                return StoreImages(place)
    return open_images(fetch(place, scratch))


def refuse_climbing(name: str) -> None:
    """Refuses a file name that leads out of its folder."""
    if ".." in PurePosixPath(name.replace("\\", "/")).parts or "\0" in name:
        raise BadImage("image_outside_folder", f"{name!r} leads out of the image folder")


def _member_name(member: zipfile.ZipInfo) -> str:
    # Some archivers write UTF-8 without saying so, which zipfile takes for the code page of MS-DOS.
    if member.flag_bits & UTF8_NAME or member.filename.isascii():
        return member.filename
    try:
        return member.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return member.filename


def _refuse_large(size: int) -> None:
    if size > MAX_BYTES:
        limit = f"{MAX_BYTES:,} bytes is the limit of a file"
        raise BadImage("image_too_large", f"{size:,} bytes; {limit}: save it smaller")
