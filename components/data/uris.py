"""Where inputs come from: a mounted path, or a URI of an object store."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fsspec

from components.core.errors import InputError, holds_credentials
from components.core.reading import reason

# The schemes that are taken. None fetches from whatever host a catalog's text or a redirect names, and none
# wraps another one.
SCHEMES = ("file", "s3", "s3a", "gs", "gcs", "az", "abfs")
# What s3fs is given -> its variable. In a pod the launcher reads the usual AWS_* names, for the store of the
# artifacts, so the catalog's store has names of its own; where these are not set, s3fs reads the usual ones.
CATALOG_VARIABLES = {
    "key": "CATALOG_AWS_ACCESS_KEY_ID",
    "secret": "CATALOG_AWS_SECRET_ACCESS_KEY",
    "endpoint_url": "CATALOG_AWS_ENDPOINT_URL",
}
# What a store says of an object that changes with its content.
STATE = ("ETag", "etag", "md5Hash", "content_md5", "crc32c", "mtime", "LastModified", "last_modified")


def is_uri(place: str) -> bool:
    """Whether a text names something in a store; else it is a path. One letter is a Windows drive."""
    return len(urlsplit(place).scheme) > 1


def is_in_store(place: str) -> bool:
    """Whether a text names something that is not on this machine."""
    return is_uri(place) and urlsplit(place).scheme != "file"


def check_uri(uri: str) -> None:
    """Refuses what is no plain address of a store that is read.

    Raises:
        InputError: another scheme, one that wraps another, or a password, which reports and logs would show.
    """
    scheme = urlsplit(uri).scheme
    if holds_credentials(uri):
        raise InputError(
            f"{scheme}://...: holds a user name or a password, which every report would show: credentials "
            f"come from the environment ({', '.join(CATALOG_VARIABLES.values())})"
        )
    if scheme not in SCHEMES or "::" in uri:
        raise InputError(
            f"{scheme}://...: cannot be read here: expected a path or one of "
            f"{', '.join(f'{name}://' for name in SCHEMES)}"
        )


def open_store(uri: str, **more: Any) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a URI, and its path there.

    Args:
        uri: of a scheme among `SCHEMES` whose fsspec backend is installed (`s3://` with s3fs, `gs://` with
            gcsfs). Credentials come from the environment, never from the URI.
        more: of the backend's own options.

    Raises:
        InputError: see `check_uri`; or the backend is not installed.
    """
    check_uri(uri)
    scheme, options = urlsplit(uri).scheme, {}
    if scheme in ("s3", "s3a"):
        found = {option: os.environ.get(name) for option, name in CATALOG_VARIABLES.items()}
        options = {option: value for option, value in found.items() if value}
    try:
        return fsspec.url_to_fs(uri, **options, **more)
    except (ImportError, ValueError) as error:
        raise InputError(f"{scheme}://...: cannot be read here: {reason(error)}") from error


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turns whatever a store's library raises into one line.

    Raises:
        InputError: nothing is there, access is denied, or the store does not answer.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # each store has its own, of no common kind
        raise InputError(
            f"{uri}: cannot be fetched: {reason(error)}; check the address and the credentials"
        ) from error


def fetch(uri: str, folder: Path) -> Path:
    """The local path of `uri`: itself where it is a path, else a copy of the file or folder in `folder`.

    Args:
        uri: a path, or a URI as for `open_store`.

    Raises:
        InputError: nothing is there, or what is there is neither a file nor a folder; or see `open_store`.
    """
    if not is_uri(uri):
        path = Path(uri)
        if not path.exists():
            raise InputError(f"{uri}: no such file or folder")
        if not path.is_file() and not path.is_dir():
            raise InputError(f"{uri}: a pipe, a socket or a device, expected a file or a folder")
        return path
    filesystem, remote = open_store(uri)
    if urlsplit(uri).scheme == "file":
        return fetch(remote, folder)
    target = folder / Path(remote.rstrip("/")).name
    folder.mkdir(parents=True, exist_ok=True)
    with explained(uri):
        filesystem.get(remote.rstrip("/"), str(target), recursive=filesystem.isdir(remote))
    return target


def check_there(place: str) -> None:
    """Tests that something lies at a path or URI, without fetching it.

    Raises:
        InputError: nothing does, or the store cannot be asked; see `fetch`.
    """
    if is_in_store(place):
        filesystem, remote = open_store(place)
        with explained(place):
            if not filesystem.exists(remote):
                raise InputError(f"{place}: no such file or folder")
    else:
        fetch(place, Path())


def state_of(place: str) -> Any:
    """What changes when the content of a path or URI does: found without reading what lies in a store.

    Returns:
        A path where something lies on this machine, whose bytes count; for a store the names, sizes and ETags
        (or what else the store has) below `place`; `place` itself where neither is there.

    Raises:
        InputError: the store cannot be asked; see `fetch`.
    """
    if not is_uri(place):
        return Path(place) if place and Path(place).exists() else place
    filesystem, remote = open_store(place)
    if urlsplit(place).scheme == "file":
        return state_of(remote)
    with explained(place):
        found: Any = filesystem.find(remote, detail=True) or {remote: filesystem.info(remote)}
    return [
        [name, entry.get("size"), *(str(entry[key]) for key in STATE if key in entry)]
        for name, entry in sorted(found.items())
    ]
