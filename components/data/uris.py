"""Where inputs come from: a mounted path, or a URI of an object store."""

import os
from pathlib import Path
from urllib.parse import urlsplit

import fsspec

from components.core.errors import InputError

# What s3fs is given -> its variable. In a pod the launcher reads the usual AWS_* names, for the store of the
# artifacts, so the catalog's store has names of its own; where these are not set, s3fs reads the usual ones.
CATALOG_VARIABLES = {
    "key": "CATALOG_AWS_ACCESS_KEY_ID",
    "secret": "CATALOG_AWS_SECRET_ACCESS_KEY",
    "endpoint_url": "CATALOG_AWS_ENDPOINT_URL",
}


def open_store(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a URI, and its path there.

    Args:
        uri: `file://...`, or any scheme that an installed fsspec backend reads (`s3://` with s3fs, `gs://`
            with gcsfs). Credentials come from the environment, never from the URI.

    Raises:
        ImportError, ValueError: the scheme is unknown or its backend is not installed.
    """
    options = {}
    if urlsplit(uri).scheme in ("s3", "s3a"):
        found = {option: os.environ.get(name) for option, name in CATALOG_VARIABLES.items()}
        options = {option: value for option, value in found.items() if value}
    return fsspec.url_to_fs(uri, **options)


def fetch(uri: str, folder: Path) -> Path:
    """The local path of `uri`: itself where it is a path, else a copy of the file or folder in `folder`.

    Args:
        uri: a path, or a URI as for `open_store`.

    Raises:
        InputError: nothing is there, the scheme's backend is not installed, or access is denied.
    """
    scheme = urlsplit(uri).scheme
    if len(scheme) <= 1:  # a plain path; one letter is a Windows drive
        path = Path(uri)
        if not path.exists():
            raise InputError(f"{uri}: no such file or folder")
        return path
    try:
        filesystem, remote = open_store(uri)
    except (ImportError, ValueError) as error:
        raise InputError(f"{scheme}://...: cannot be read here: {error}") from error
    if scheme == "file":
        return fetch(remote, folder)
    target = folder / Path(remote.rstrip("/")).name
    folder.mkdir(parents=True, exist_ok=True)
    try:
        filesystem.get(remote.rstrip("/"), str(target), recursive=filesystem.isdir(remote))
    except Exception as error:  # each store has its own, of no common kind
        raise InputError(f"{uri}: cannot be fetched: {error or type(error).__name__}") from error
    return target
