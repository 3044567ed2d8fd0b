"""Features of pictures and texts that are computed once: kept by what they are of and by what makes them."""

import hashlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from components.core.artifacts import whole_file

log = logging.getLogger(__name__)

CHUNK = 2048  # features that are kept at a time: a stop costs no more than the newest
LARGEST = 4 * 2**30  # bytes in the folder; beyond that, the files that were not read for longest are deleted


class FeatureCache:
    """Features by the SHA-256 of their contents, in a folder that outlives a run.

    Any number of processes may read and write at once: each adds files of its own, whole or not at all. What
    cannot be read or kept is computed again.
    """

    def __init__(self, root: Path, encoder: str, *, largest: int = LARGEST) -> None:
        """Names the folder.

        Args:
            root: of the features of all encoders.
            encoder: what tells apart all that turns a content into features: weights, sizes, pooling.
            largest: bytes that all encoders' features may take.
        """
        self.root, self.largest = root, largest
        self.folder = root / hashlib.sha256(encoder.encode()).hexdigest()[:24]

    def features(
        self, contents: Sequence[bytes | memoryview], compute: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """The features of some contents, in their order: (N, D) float32.

        Args:
            contents: N pictures or texts, as bytes.
            compute: places (n,) in `contents` -> (n, D); called for what is not kept, each content once.
        """
        start = time.perf_counter()
        digests = [hashlib.sha256(content).digest() for content in contents]
        known = self._read(set(digests))
        places = {digest: place for place, digest in enumerate(digests) if digest not in known}
        missing = np.fromiter(sorted(places.values()), np.int64)
        for chunk in np.split(missing, range(CHUNK, len(missing), CHUNK)) if len(missing) else ():
            values, keys = compute(chunk).astype(np.float32), [digests[place] for place in chunk]
            self._keep(keys, values)
            known.update(zip(keys, values, strict=True))
        log.info(
            "features of %s: %s kept in %s, %s computed in %.1f s",
            f"{len(digests):,}",
            f"{len(digests) - len(missing):,}",
            self.folder,
            f"{len(missing):,}",
            time.perf_counter() - start,
        )
        return np.stack([known[digest] for digest in digests])

    def _read(self, wanted: set[bytes]) -> dict[bytes, np.ndarray]:
        known: dict[bytes, np.ndarray] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                with safe_open(path, "numpy") as file:
                    places = {bytes(key): place for place, key in enumerate(file.get_tensor("digests"))}
                    if found := wanted & places.keys():
                        values = file.get_tensor("values")
                        known.update((key, values[places[key]]) for key in found)
                        with suppress(OSError):  # a volume that is only read
                            os.utime(path)
            except (SafetensorError, OSError) as error:  # damaged, or deleted by another run in between
                log.warning("%s: cannot be read, its features are computed again: %s", path, error)
        return known

    def _keep(self, digests: list[bytes], values: np.ndarray) -> None:
        keys = np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), -1)
        name = hashlib.sha256(keys.tobytes()).hexdigest()[:24]
        try:
            with whole_file(self.folder / f"{name}.safetensors") as temporary:
                save_file({"digests": keys, "values": np.ascontiguousarray(values)}, temporary)
            self._delete_oldest()
        except (SafetensorError, OSError) as error:
            log.warning("features cannot be kept for other runs: %s", error)

    def _delete_oldest(self) -> None:
        kept = {}
        for path in self.root.glob("*/*.safetensors"):
            with suppress(FileNotFoundError):  # by another run, in between
                kept[path] = path.stat()
        excess = sum(stat.st_size for stat in kept.values()) - self.largest
        for path, stat in sorted(kept.items(), key=lambda item: item[1].st_mtime):
            if excess <= 0:
                break
            path.unlink(missing_ok=True)
            excess -= stat.st_size
