"""Images decoded once, at the size of a training, and where they are kept."""

import logging
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from torch import Tensor

from components.core.errors import InputError
from components.data.image_store import ImageStore
from components.modeling.image.augmentation import PIXEL, WHITE, ImageBatch
from components.modeling.image.decoded import DecodedImages, share_decoded
from components.modeling.memory import free_memory

log = logging.getLogger(__name__)

SHARE = 0.5  # of the free memory of a place that a cache may take
AHEAD = 2  # batches fetched before they are needed
REPORT_SECONDS = 30.0
CGROUP = Path("/sys/fs/cgroup")
# A container's limit: the file of what it takes, and in memory.stat the name of pages that only mirror files.
LIMITS = {
    "memory.max": ("memory.current", "inactive_file"),
    # Of version 1, whose number is huge where there is no limit.
    "memory/memory.limit_in_bytes": ("memory.usage_in_bytes", "total_inactive_file"),
}


def decode(jpeg: bytes | memoryview, size: tuple[int, int], *, fit: str = "stretch") -> Tensor:
    """Decodes and resizes one JPEG: (height, width, 3) uint8, antialiased, PIL's bilinear within one level.

    Args:
        size: height, width.
        fit: "stretch", or "pad": keep the aspect and center it on white.

    Raises:
        ValueError: not a JPEG.
    """
    pixels = torch.from_numpy(simplejpeg.decode_jpeg(jpeg, colorspace="RGB"))
    height, width = pixels.shape[:2]
    scale = min(size[0] / height, size[1] / width)
    inner = size if fit == "stretch" else (max(1, round(height * scale)), max(1, round(width * scale)))
    if (height, width) != inner:
        planes = pixels.permute(2, 0, 1)[None]  # (1, 3, h, w), channels last in memory
        planes = torch.nn.functional.interpolate(planes, inner, mode="bilinear", antialias=True)
        pixels = planes[0].permute(1, 2, 0)
    if inner == tuple(size):
        return pixels
    canvas = torch.full((*size, 3), WHITE, dtype=torch.uint8)
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    canvas[top : top + inner[0], left : left + inner[1]] = pixels
    return canvas


class ImageCache:
    """The images of `keys`, each (H, W, PIXEL) uint8.

    Resizing comes before any random draw, so training from the cache is exact.

    Attributes:
        place: "device", "memory", "disk" or "stream" (nothing kept: decoded for every batch).
    """

    def __init__(
        self,
        store: ImageStore,
        keys: Sequence[str],
        size: tuple[int, int],
        *,
        fit: str,
        place: str,
        device: torch.device,
        reserved: float = 0.0,
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        """Decodes the images, unless they are streamed.

        Args:
            size: height, width.
            fit: see `decode`.
            place: "device", "memory", "disk" or "stream"; "auto" takes the first that has room.
            reserved: bytes of a GPU that "auto" leaves.
            pause: called after every image that is decoded ahead; it may leave.

        Raises:
            InputError: an image cannot be decoded.
        """
        self._store, self._keys, self._size, self._fit = store, keys, size, fit
        self.device = device
        # A GPU's memory is dear and widening a batch there costs nothing; on a CPU it costs a pass.
        channels = 3 if device.type == "cuda" else PIXEL
        self._shape = (*size, channels)
        self._pool = ThreadPoolExecutor(os.cpu_count())
        self._decoded: DecodedImages | None = None
        self._pixels = torch.empty(0)
        wanted = len(keys) * int(np.prod(self._shape))
        self.place = _choose(wanted, device, reserved) if place == "auto" else place
        try:
            self._decoded = share_decoded(store, size, fit, self._decode_all, pause)
            if self.place != "stream":
                self._pixels = self._allocate()
                self._fill(wanted, pause)
        except BaseException:
            self.close()
            raise

    def fetch(self, rows: np.ndarray) -> ImageBatch:
        """The images of `rows`, on the training's device.

        Raises:
            InputError: an image cannot be decoded.
        """
        if self._in_place:
            return ImageBatch(self._pixels, torch.from_numpy(rows).to(self._pixels.device))
        pinned = self.device.type == "cuda"
        batch = torch.empty((len(rows), *self._shape), dtype=torch.uint8, pin_memory=pinned)
        if self.place == "stream":
            list(self._pool.map(lambda slot: self._decode_into(batch[slot[0]], slot[1]), enumerate(rows)))
        else:
            torch.index_select(self._pixels, 0, torch.from_numpy(rows), out=batch)
        images = batch.to(self.device, non_blocking=pinned)
        return ImageBatch(images, torch.arange(len(rows), device=self.device))

    def batches(self, batches: Iterable[np.ndarray]) -> Iterator[ImageBatch]:
        """`fetch` for every batch of rows in turn, the next ones fetched while one is used."""
        if self._in_place:
            yield from (self.fetch(rows) for rows in batches)
            return
        with ThreadPoolExecutor(1) as thread:
            ahead = deque()
            for rows in batches:
                ahead.append(thread.submit(self.fetch, rows))
                if len(ahead) > AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def close(self) -> None:
        """Frees the images."""
        self._pool.shutdown(cancel_futures=True)
        self._pixels = torch.empty(0)

    def __enter__(self) -> "ImageCache":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _in_place(self) -> bool:
        return self.place == "device" or (self.place == "memory" and self.device.type == "cpu")

    def _allocate(self) -> Tensor:
        shape = (len(self._keys), *self._shape)
        if self.place == "device":
            return torch.empty(shape, dtype=torch.uint8, device=self.device)
        if self.place == "memory":
            return torch.empty(shape, dtype=torch.uint8)
        # The file has no name any more once it is mapped: a killed process leaves nothing behind.
        with tempfile.TemporaryFile(prefix="images-") as file:
            return torch.from_numpy(np.memmap(file, dtype=np.uint8, mode="w+", shape=shape))

    def _fill(self, wanted: int, pause: Callable[[], None]) -> None:
        start = reported = time.perf_counter()
        for row, _ in enumerate(self._pool.map(self._fill_row, range(len(self._keys)))):
            pause()
            if time.perf_counter() - reported > REPORT_SECONDS:
                reported = time.perf_counter()
                log.info("decoded %d of %d images, %.0f s", row + 1, len(self._keys), reported - start)
        log.info(
            "%d images decoded to %dx%d (%.2f GB, %s) in %.1f s",
            *(len(self._keys), *self._size, wanted / 1e9, self.place, time.perf_counter() - start),
        )

    def _fill_row(self, row: int) -> None:
        self._decode_into(self._pixels[row], row)

    def _decode_into(self, image: Tensor, row: int) -> None:
        key = self._keys[row]
        image[..., :3] = self._decoded[key] if self._decoded else self._decode(key)

    def _decode_all(self, keys: list[str]) -> Iterator[Tensor]:
        return self._pool.map(self._decode, keys)

    def _decode(self, key: str) -> Tensor:
        try:
            return decode(self._store.encoded(key), self._size, fit=self._fit)
        except ValueError as error:
            raise InputError(
                f"{self._store.folder}: image {key!r} cannot be decoded: {error}; make the store again"
            ) from error


def _choose(wanted: int, device: torch.device, reserved: float) -> str:
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what an earlier stage has let go of is free as well
        free = free_memory(device)
        if wanted <= min(SHARE * free, free - reserved):
            return "device"
    # Each of the processes that train together on this node keeps images of its own.
    share = SHARE / int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if wanted <= share * _free_memory():
        return "memory"
    if wanted <= share * shutil.disk_usage(tempfile.gettempdir()).free:
        return "disk"
    return "stream"


def _free_memory() -> int:
    # Bytes of host memory, within the container's limit; pages that only mirror files count as free.
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    free = 1024 * _number(meminfo, "MemAvailable:")
    for name, (usage, mirrors) in LIMITS.items():
        limit = CGROUP / name
        if limit.is_file() and (most := limit.read_text().strip()) != "max":
            used = int(limit.with_name(usage).read_text())
            free = min(free, int(most) - used + _number(limit.with_name("memory.stat"), mirrors))
    return free


def _number(path: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(name))
