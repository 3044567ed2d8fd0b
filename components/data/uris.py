"""Where inputs come from: a mounted path, or a URI of an object store."""

from pathlib import Path
from urllib.parse import urlsplit

import fsspec

from components.core.errors import InputError


def fetch(uri: str, folder: Path) -> Path:
    """The local path of `uri`: itself where it is a path, else a copy of the file or folder in `folder`.

    Args:
        uri: a path, `file://...`, or any scheme that an installed fsspec backend reads (`s3://` with
            s3fs, `gs://` with gcsfs). Credentials come from the environment, never from the URI.

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
        filesystem, remote = fsspec.url_to_fs(uri)
        if scheme == "file":
            return fetch(remote, folder)
        target = folder / Path(remote.rstrip("/")).name
        folder.mkdir(parents=True, exist_ok=True)
        filesystem.get(remote.rstrip("/"), str(target), recursive=filesystem.isdir(remote))
    except (ImportError, ValueError) as error:
        raise InputError(f"{scheme}://...: cannot be read here: {error}") from error
    except OSError as error:
        raise InputError(f"{uri}: cannot be fetched: {error}") from error
    return target
