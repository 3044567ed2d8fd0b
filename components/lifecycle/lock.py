"""A lock of the operating system on a file that several users may share."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a lock of the operating system, which ends with the process."""
    descriptor = _open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    """Opens a lock's file, which another user may have made; returns its descriptor."""
    try:
        return os.open(path, os.O_RDWR)  # NFS locks for one alone only what is open for writing
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o664)
    except PermissionError:
        return os.open(path, os.O_RDONLY)
    with suppress(PermissionError):  # another user made it just now
        os.fchmod(descriptor, 0o664)  # whatever the umask
    return descriptor
