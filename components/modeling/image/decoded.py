"""Images decoded once for all trainings of one machine: a file of pixels that each of them maps."""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from components.core.environment import DECODED_VARIABLE
from components.data.image_store import ImageStore

log = logging.getLogger(__name__)

SHARE = 0.5  # of the disk's free space that a file may take
LOOK_SECONDS = 0.5  # from one look at whether another process is done to the next

# Decodes the store's images of some keys, in their order.
Decoder = Callable[[list[str]], Iterable[Tensor]]


class DecodedImages:
    """The pixels of all images of a store at one size.

    Args:
        pixels: (N, H, W, 3) uint8, in the order of the store's keys; mapped, not read.
    """

    def __init__(self, store: ImageStore, pixels: np.ndarray) -> None:
        self._row = {key: row for row, key in enumerate(store.keys)}
        self._pixels = pixels

    def __getitem__(self, key: str) -> Tensor:
        """(H, W, 3) uint8."""
        return torch.from_numpy(np.array(self._pixels[self._row[key]]))


def share_decoded(
    store: ImageStore, size: tuple[int, int], fit: str, decode: Decoder, pause: Callable[[], None]
) -> DecodedImages | None:
    """The images that the first training on this machine decodes, and the others read.

    They lie in the folder that a local run names in DECODED_VARIABLE, and removes when it ends.

    Args:
        pause: called after every image, and while another process decodes; it may leave.

    Returns:
        None where no folder is named, or its disk has too little room.
    """
    if not (named := os.environ.get(DECODED_VARIABLE)):
        return None
    folder, shape = Path(named), (len(store), *size, 3)
    folder.mkdir(parents=True, exist_ok=True)
    what = json.dumps([store.metadata["files"], size, fit], sort_keys=True)
    path = folder / hashlib.sha256(what.encode()).hexdigest()[:32]
    with _locked(FileLock(f"{path}.lock"), pause):
        if not path.exists() and np.prod(shape) > SHARE * shutil.disk_usage(folder).free:
            return None
        if not path.exists():
            _write(path, shape, decode(store.keys), pause)
    return DecodedImages(store, np.memmap(path, np.uint8, "r", shape=shape))


def _locked(lock: FileLock, pause: Callable[[], None]) -> FileLock:
    while not lock.is_locked:
        try:
            lock.acquire(timeout=LOOK_SECONDS)
        except Timeout:
            pause()
    return lock


def _write(path: Path, shape: tuple[int, ...], images: Iterable[Tensor], pause: Callable[[], None]) -> None:
    start, temporary = time.perf_counter(), path.with_suffix(".part")
    pixels = np.memmap(temporary, np.uint8, "w+", shape=shape)
    for row, image in enumerate(images):
        pixels[row] = image.numpy()
        pause()
    pixels.flush()
    temporary.rename(path)
    seconds = time.perf_counter() - start
    log.info("%d images decoded to %dx%d for all trainings in %.1f s", *shape[:3], seconds)
