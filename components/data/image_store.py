"""Images packed into few shards: encoded once, mapped into memory, found by key."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.core.artifacts import MANIFEST, read_manifest, whole_file, write_manifest
from components.core.errors import InputError
from components.core.reading import reading

SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),  # pixels
        pa.field("height", pa.int32(), nullable=False),
        pa.field("image", pa.large_binary(), nullable=False),  # an upright RGB JPEG
    ]
)
SHARD_BYTES = 256 * 2**20
BATCH_ROWS = 256


def write_image_store(folder: Path, images: Iterable[tuple[str, int, int, bytes]], **metadata: Any) -> int:
    """Packs `(key, width, height, JPEG bytes)` into Arrow shards of about 256 MB under `folder`.

    Holds one batch of 256 images in memory at a time. Keys must be unique.

    Returns:
        How many images were written.
    """
    for left in folder.glob("*"):  # by an attempt that was cut off
        left.unlink()
    count = shard = 0
    iterator = iter(images)
    batch = list(islice(iterator, BATCH_ROWS))
    while batch or shard == 0:
        with (
            whole_file(folder / _shard(shard)) as temporary,
            pa.OSFile(str(temporary), "wb") as sink,
            pa.ipc.new_file(sink, SCHEMA) as writer,
        ):
            while batch and sink.tell() < SHARD_BYTES:
                columns = [
                    pa.array(column, field.type)
                    for column, field in zip(zip(*batch, strict=True), SCHEMA, strict=True)
                ]
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=SCHEMA))
                count += len(batch)
                batch = list(islice(iterator, BATCH_ROWS))
        shard += 1
    write_manifest(folder, images=count, shards=shard, **metadata)
    return count


def stored_images(folder: Path) -> Iterator[tuple[str, int, int, bytes]]:
    """What `write_image_store` was given, in its order, a batch of images in memory at a time."""
    for number in range(read_manifest(folder, check=False)["shards"]):
        with pa.OSFile(str(folder / _shard(number))) as file, pa.ipc.open_file(file) as reader:
            for at in range(reader.num_record_batches):
                columns = reader.get_batch(at).to_pydict()
                yield from zip(*columns.values(), strict=True)


def _shard(number: int) -> str:
    return f"images-{number:05d}.arrow"


class ImageStore:
    """Reads a packed image store; the shards stay on disk, mapped into memory."""

    def __init__(self, folder: Path, *, check: bool = True) -> None:
        """Opens the store in `folder`.

        Args:
            check: its files against their digests; not needed by whoever has just written them.

        Raises:
            InputError: the store is incomplete or damaged, or a key occurs twice.
        """
        self.folder = folder
        self.metadata = read_manifest(folder, check=check)
        with reading(folder / MANIFEST, "an image store's"):
            self._table = pa.concat_tables(
                pa.ipc.open_file(pa.memory_map(str(folder / _shard(number)))).read_all()
                for number in range(self.metadata["shards"])
            )
            self.keys: list[str] = self._table.column("key").to_pylist()
        self._row = {key: row for row, key in enumerate(self.keys)}
        if len(self._row) != len(self.keys):
            raise InputError(f"{folder}: a key occurs twice in the image store; make it again")

    def __reduce__(self) -> tuple[Callable[..., "ImageStore"], tuple[Path]]:
        """Another process maps the same files."""
        return partial(ImageStore, check=False), (self.folder,)

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: str) -> bool:
        return key in self._row

    def encoded(self, key: str) -> memoryview:
        """The JPEG bytes of one image, without a copy.

        Raises:
            InputError: no image has this key.
        """
        return memoryview(self._table.column("image")[self._find(key)].as_buffer()).cast("B")

    def size(self, key: str) -> tuple[int, int]:
        """(width, height) of one image in pixels."""
        row = self._find(key)
        return self._table.column("width")[row].as_py(), self._table.column("height")[row].as_py()

    def _find(self, key: str) -> int:
        if key not in self._row:
            raise InputError(f"{self.folder}: no image {key!r} in the store; were both made by the same run?")
        return self._row[key]


def found_images(store: ImageStore, keys: Sequence[str | None]) -> tuple[list[str], np.ndarray]:
    """The distinct images that a store has of some products.

    Args:
        keys: N products' keys; None for a product without an image.

    Returns:
        The images' keys, and for every product the position of its image among them, (N,) int64: -1 where
        the store has none.
    """
    found = sorted({key for key in keys if key is not None and key in store})
    position: dict[str | None, int] = {key: number for number, key in enumerate(found)}
    return found, np.array([position.get(key, -1) for key in keys], np.int64)
