"""Finds the file that a catalog's image name means: as it is spelled, else as it can only have been meant."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from urllib.parse import unquote

from components.preprocess.images.sources import BadImage, ImageSource, refuse_climbing

# Beside the images: resource forks of macOS, thumbnails, what is hidden.
_BESIDE = re.compile(r"__macosx|@eadir|[_@-]?thumb(nail)?s?|\..*", re.IGNORECASE)
_IMAGE = re.compile(r".*\.(jpe?g|jfif|png|webp|avif|gif|bmp)", re.IGNORECASE)
# What exports write where a product has no image.
_NO_NAME = {"", "-", "n/a", "na", "nan", "none", "null", "no_selection"}
_SEPARATORS = re.compile(r"[,;|\r\n]")
SHOWN = 3
MAX_NAME = 4096  # characters of a path

Parts = tuple[str, ...]


class ImageNames:
    """Finds a source's files by the names that a catalog has for them."""

    def __init__(self, source: ImageSource, cells: Iterable[str], separator: str = "") -> None:
        """Looks every name up.

        Args:
            cells: the catalog's; a file that is meant by names in two folders is none of both: the source
                has lost its folders.
            separator: between the names of several images in one cell; "" for comma, semicolon, bar, line.
        """
        self.source = source
        self._separator = re.compile(re.escape(separator)) if separator else _SEPARATORS
        self._exact: dict[str, list[int]] = defaultdict(list)
        for number, path in enumerate(source.paths):
            self._exact[path].append(number)
        self._found: dict[str, list[int]] = {}
        self._other_folders: dict[int, set[Parts]] = defaultdict(set)
        for name in dict.fromkeys(name for cell in cells for name in self.split(cell)):
            self._found[name] = self._lookup(name)

    def split(self, cell: str) -> list[str]:
        """The names in one cell, in its order; none where it names no image."""
        cell = cell.strip()
        is_list = cell[:1] + cell[-1:] == "[]"  # as JSON or Python writes it
        if is_list and cell not in self._exact and not self._alike(cell):
            listed = (name.strip().strip("\"'") for name in self._separator.split(cell[1:-1]))
            return [name for name in listed if name]
        if cell in self._exact or not self._separator.search(cell):
            return [] if cell.casefold() in _NO_NAME and cell not in self._exact else [cell]
        if self._alike(cell):
            return [cell]
        return [name.strip() for name in self._separator.split(cell) if name.strip()]

    def expect(self, names: Iterable[str]) -> None:
        """Says which of the catalog's names are read next: of several files that one can mean, the first."""
        self.source.expect(number for name in names for number in self._found[name][:1])

    def read(self, name: str) -> bytes:
        """The image that `name`, one of the catalog's, means.

        Raises:
            BadImage: there is none, it could be several, or it cannot be read.
        """
        refuse_climbing(name)
        numbers = self._found[name]
        if not numbers:
            absolute = name.startswith(("/", "\\"))
            reason = "image_outside_folder" if absolute else "image_missing"
            raise BadImage(reason, f"no file {name!r} in {self.source.where}")
        paths = [self.source.paths[number] for number in numbers]
        if len(folders := self._other_folders[numbers[0]]) > 1:
            meant = _listed("/".join(parts) for parts in sorted(folders))
            raise BadImage("image_ambiguous", f"{paths[0]!r} could be {meant}: keep the images' folders")
        image = self.source.read(numbers[0])
        if any(self.source.read(number) != image for number in numbers[1:]):
            advice = "write the folder before the name" if len({*paths}) > 1 else "leave one of them"
            raise BadImage("image_ambiguous", f"{name!r} could be {_listed(paths)}: {advice}")
        return image

    def strangers(self) -> str:
        """Where none of the catalog's names means a file: three names of either; else ""."""
        if any(self._found.values()):
            return ""
        ours, theirs = list(self._found), self.source.paths
        return (
            f"The catalog names {_listed(ours) if ours else 'no image'}; "
            f"{self.source.where} holds {_listed(theirs) if theirs else 'no file'}."
        )

    def _lookup(self, name: str) -> list[int]:
        if name in self._exact:
            return self._exact[name]
        path = _without_query(name)
        alike, wanted = self._alike(name), _parts(path.casefold())
        if not alike and path != name:
            return self._lookup(path)
        for number, below in alike:
            if len(wanted) > len(below):
                self._other_folders[number].add(wanted)
        return [number for number, _ in alike]

    def _alike(self, name: str) -> list[tuple[int, Parts]]:
        """The files that `name` could mean, of the closest likeness that there is."""
        by_likeness, wanted = defaultdict(list), _parts(name)
        for number, below in self._by_name.get(wanted[-1].casefold(), []) if wanted else []:
            if likeness := _likeness(wanted, below):
                by_likeness[likeness].append((number, below))
        return by_likeness[max(by_likeness)] if by_likeness else []

    @cached_property
    def _by_name(self) -> dict[str, list[tuple[int, Parts]]]:
        """Folded file name -> number and path of the files; below the folder that all images lie in."""
        paths = [_parts(path) for path in self.source.paths]
        images = [parts for parts in paths if parts and _IMAGE.fullmatch(parts[-1])]
        images = [parts for parts in images if not _is_beside(parts)] or images
        top = _common([parts[:-1] for parts in images])
        named = defaultdict(list)
        for number, parts in enumerate(paths):
            below = parts[len(top) :] if parts[: len(top)] == top else parts
            if below and not _is_beside(below):
                named[below[-1].casefold()].append((number, below))
        return named


def _likeness(wanted: Parts, below: Parts) -> int:
    """4 for one path, 3 but for its case, 2 where one ends in the other, 1 but for the case, 0 if unlike."""
    folded_wanted, folded_below = _folded(wanted), _folded(below)
    shorter = min(len(wanted), len(below))
    if folded_wanted[-shorter:] != folded_below[-shorter:]:
        return 0
    same_case = wanted[-shorter:] == below[-shorter:]
    return 1 + same_case + 2 * (len(wanted) == len(below))


def _parts(path: str) -> Parts:
    path = path.replace("\\", "/")
    if (
        len(path) <= MAX_NAME and not path.isascii()
    ):  # the time of NFC grows with the square of marks in a row
        path = unicodedata.normalize("NFC", path)
    return tuple(part for part in path.split("/") if part.strip() not in ("", "."))


def _without_query(name: str) -> str:
    """Of a URL host and path, as the file is called that was fetched from there; else the name itself."""
    name = name.replace("\\", "/")  # PHP escapes the slashes of JSON
    return unquote(re.sub(r"^\w+://|[?#].*$", "", name)) if "://" in name else name


def _common(folders: list[Parts]) -> Parts:
    """The folder that all of them lie in."""
    first, last = min(folders, default=()), max(folders, default=())
    pairs = enumerate(zip(first, last, strict=False))
    return first[: next((depth for depth, (one, other) in pairs if one != other), len(first))]


def _folded(parts: Parts) -> Parts:
    return tuple(part.casefold() for part in parts)


def _is_beside(parts: Parts) -> bool:
    return any(_BESIDE.fullmatch(part) for part in parts)


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = ", ..." if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more
