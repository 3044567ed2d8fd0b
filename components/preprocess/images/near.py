"""Near duplicates of pictures: one picture that was encoded or resized anew is the same picture.

A perceptual hash (the signs of the low frequencies: Zauner 2010, "Implementation and benchmarking of
perceptual image hash functions") finds candidates; a thumbnail decides, which sees a color or a print that
a hash overlooks.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SIDE = 16  # of the thumbnail, cells
ENOUGH = 200  # pixels of a side that a thumbnail is made of
# Levels of 255 that a cell of two thumbnails may differ by. Of fashion's 40,574 pictures of 60x80 encoded
# again at quality 75 or 90, or resized by 1.3 or 2, over 99 % stay within it, of household's of 500x500 all;
# of 122 million pairs of different fashion pictures 22 do, nearly all of one photograph in another shade; of
# household's none.
NEAR = 12
GREEN = 1  # the channel that is nearest to how bright a picture is
PLAIN = 4 * NEAR  # levels of green between the darkest and brightest cell of a picture that shows something
LOW = 8  # frequencies each way that the hash has
DISTANCE = 12  # bits of 63 in which the hashes of candidates may differ
BLOCK = 2**14  # pictures whose thumbnails are in memory at a time
BANDS, NEIGHBORS = 8, 8  # orders of the hashes, and how many behind a hash it is compared with in each


def thumbnail(pixels: np.ndarray) -> bytes:
    """A picture's 16 x 16 cells of RGB, each a weighted mean of the pixels around it.

    Args:
        pixels: (H, W, 3) uint8.
    """
    height, width, _ = pixels.shape
    step = max(1, min(height, width) // ENOUGH)
    taken = pixels[step // 2 :: step, step // 2 :: step].astype(np.float32)
    rows = _weights(height, step) @ taken.reshape(taken.shape[0], -1)
    return (_weights(width, step) @ rows.reshape(SIDE, -1, 3) + 0.5).astype(np.uint8).tobytes()


@lru_cache(maxsize=1024)
def _weights(size: int, step: int) -> np.ndarray:
    """(SIDE, N) float32: of every step-th pixel of a side for each cell, by its distance from it."""
    centers = (np.arange(SIDE) + 0.5) * size / SIDE
    at = np.arange(step // 2, size, step) + 0.5
    weights = np.maximum(0, 1 - np.abs(at - centers[:, None]) / max(size / SIDE, 1))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def same_pictures(keys: Sequence[str], thumbnails: np.ndarray) -> dict[str, str]:
    """For each picture the first, by its key, of those that it nearly equals, in any number of steps.

    Plain pictures, which show nothing, are left out. Time is linear in the pictures, but for sorting: every
    hash is compared with the next few in each of several orders, which begin with other bits (banding: Manku
    et al. 2007, "Detecting near-duplicates for web crawling").

    Args:
        keys: N of them, all different.
        thumbnails: (N, 768) uint8, each as `thumbnail` makes it; they may be mapped from a file.
    """
    order = np.argsort(np.array(keys, dtype=object))
    blocks = [order[start : start + BLOCK] for start in range(0, len(order), BLOCK)]
    shown = [rows[np.ptp(thumbnails[rows][:, GREEN::3], axis=1) >= PLAIN] for rows in blocks]
    rows = np.concatenate([np.empty(0, np.int64), *shown])
    if not len(rows):
        return {}
    hashes = np.concatenate([_hashes(thumbnails[some]) for some in shown])
    one, other = _near_pairs(thumbnails, rows, *_candidates(hashes))
    graph = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(len(rows), len(rows)))
    _, component = connected_components(graph, directed=False)
    first = np.unique(component, return_index=True)[1]
    pairs = zip(rows, rows[first[component]], strict=True)
    return {keys[int(row)]: keys[int(same)] for row, same in pairs}


def _hashes(cells: np.ndarray) -> np.ndarray:
    """(N,) uint64: the signs of the 63 lowest frequencies of the thumbnails' green, without the mean."""
    green = cells[:, GREEN::3].reshape(-1, SIDE, SIDE).astype(np.float32)
    waves = np.cos(np.pi * np.outer(np.arange(LOW), np.arange(SIDE) + 0.5) / SIDE).astype(np.float32)
    signs = (waves @ green @ waves.T).reshape(len(cells), LOW * LOW) > 0
    signs[:, 0] = False
    return np.packbits(signs, axis=1).view(">u8").astype(np.uint64).reshape(-1)


def _candidates(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows, each once, whose hashes are close and come close to each other in one of the orders."""
    pairs = [np.empty(0, np.int64)]
    for band in range(BANDS):
        turn = np.uint64(band * 64 // BANDS)
        turned = (hashes << turn) | (hashes >> (np.uint64(64) - turn)) if band else hashes
        order = np.argsort(turned, kind="stable")
        ordered = hashes[order]
        for step in range(1, min(NEIGHBORS, len(order) - 1) + 1):
            close = np.flatnonzero(np.bitwise_count(ordered[:-step] ^ ordered[step:]) <= DISTANCE)
            one, other = order[close], order[close + step]
            pairs.append(np.minimum(one, other) * len(hashes) + np.maximum(one, other))
    return np.divmod(_different(np.concatenate(pairs)), len(hashes))


def _different(numbers: np.ndarray) -> np.ndarray:
    numbers = np.sort(numbers)  # faster than np.unique
    return numbers[np.flatnonzero(np.diff(numbers, prepend=-1))]


def _near_pairs(
    thumbnails: np.ndarray, rows: np.ndarray, one: np.ndarray, other: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Those of the pairs whose thumbnails are near; a few cells rule most of them out."""
    for cells in (slice(5, None, 32), slice(None)):
        pieces = _pieces(one, other)
        near = [_are_near(thumbnails[rows[a]][:, cells], thumbnails[rows[b]][:, cells]) for a, b in pieces]
        near = np.concatenate(near)
        one, other = one[near], other[near]
    return one, other


def _pieces(one: np.ndarray, other: np.ndarray, size: int = 4096) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(one) + 1, size):
        yield one[start : start + size], other[start : start + size]


def _are_near(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(one.astype(np.int16) - other).max(axis=1, initial=0) <= NEAR
