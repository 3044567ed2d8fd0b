"""The object store of a server's runs: what a run left there, found from what its evaluation wrote.

A task that was taken from the cache leaves nothing under its own run's path. Evaluate never is, and its
`lineage.json` holds where each of its inputs lies, under whichever run made it.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec

from components.client.local.finished_run import METRICS
from components.core.artifacts import check_names
from components.core.errors import InputError
from components.core.project import NAME
from components.core.reading import parse_json_object, reason
from components.data.uris import check_uri, is_uri


class Store:
    """The artifacts of a server's runs, laid out as <root>/<pipeline>/<run>/<task>/<id>/<output>.

    Args:
        root: the server's pipeline root, as a path or a URI that fsspec reads here.

    Raises:
        InputError: the root cannot be read from here; so do all methods.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        with self._explained():
            if is_uri(root):
                check_uri(root)
            self.files, path = fsspec.url_to_fs(root)
        self.pipeline = f"{path.rstrip('/')}/{NAME}"

    def results(self, run: str) -> str | None:
        """The folder of a run's results; None where it has none yet."""
        with self._explained():
            found = self.files.glob(f"{self.pipeline}/{run}/evaluate/**/{METRICS}")
        return found[-1].removesuffix(f"/{METRICS}") if found else None

    def macro_f1(self, run: str) -> float | None:
        """The ensemble's macro-F1 on validation of a run; None where it has none yet."""
        results = self.results(run)
        if results is None:
            return None
        try:
            return float(self.read_json(f"{results}/{METRICS}")["validation"]["rows"]["ensemble"]["macro_f1"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{results}/{METRICS}: not the figures of a run: {reason(error)}") from error

    def path(self, uri: str) -> str | None:
        """Where an artifact lies here; None for a URI that is none of this pipeline's.

        The server may write the store's address in another way than this machine reads it.
        """
        _, pipeline, rest = uri.rpartition(f"/{NAME}/")
        return f"{self.pipeline}/{rest.rstrip('/')}" if pipeline else None

    def names(self, folder: str) -> list[str]:
        """The names of the files in a folder."""
        with self._explained():
            return [path.rsplit("/", 1)[-1] for path in self.files.ls(folder, detail=False)]

    def read(self, path: str) -> bytes | None:
        """What a file holds; None where there is none."""
        with self._explained():
            try:
                return self.files.cat_file(path)
            except (FileNotFoundError, IsADirectoryError):
                return None

    def copy(self, path: str, target: Path) -> None:
        """Copies a file or a folder, over what is there.

        Raises:
            InputError: also where an object's name leads out of the folder.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._explained():
            if not self.files.isdir(path):
                self.files.get_file(path, str(target))
                return
            names = {file: file[len(path) :].lstrip("/") for file in self.files.find(path)}
        check_names(names.values(), path)
        for file, name in names.items():
            self.copy(file, target / name)

    def read_json(self, path: str) -> dict[str, Any]:
        """What a JSON file holds; {} where there is none."""
        try:
            return parse_json_object(self.read(path) or "{}")
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: not a JSON object: {reason(error)}") from error

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # every store's library has errors of its own
            raise InputError(f"--artifacts {self.root}: cannot be read from here: {reason(error)}") from error
