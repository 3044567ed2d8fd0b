"""Arrays from `.npz` files: plain ones alone, and none larger than the file can hold."""

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from components.core.reading import reading

MOST_PACKED = 1040  # deflate makes no more than 1,032 bytes of one
ARRAY_BYTES = 8 * 2**30


def read_arrays(path: Path, names: Sequence[str], *, what: str, whose: str = "") -> list[np.ndarray]:
    """The named arrays of an `.npz` file.

    Args:
        what: what the file should be, for the message.
        whose: whose it is, likewise.

    Raises:
        InputError: it is no such file, lacks an array, or holds objects or a header that promises more than
            follows.
    """
    with reading(path, what, whose=whose):
        with zipfile.ZipFile(path) as archive:
            members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
            if missing := sorted(set(names) - set(members)):
                raise ValueError(f"it lacks {missing}; it holds {list(members)}")
            for name in names:
                _check_size(archive, members[name])
        with np.load(path, allow_pickle=False) as file:
            return [file[name] for name in names]


def _check_size(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    if member.file_size > min(ARRAY_BYTES, MOST_PACKED * (member.compress_size + 1)):
        raise ValueError(f"{member.filename} claims {member.file_size:,} bytes")
    with archive.open(member) as file:
        read_header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
        shape, _, dtype = read_header[np.lib.format.read_magic(file)[0]](file)
        if dtype.hasobject:
            raise ValueError(f"{member.filename} holds objects, expected plain numbers or text")
        promised, follow = math.prod(shape) * dtype.itemsize, member.file_size - file.tell()
    if promised != follow:
        raise ValueError(f"{member.filename} promises {promised:,} bytes, {follow:,} follow")
