"""A DCL sample pair (crop, rotate, flip, destroy) at 448: ours against decoding and doing it in PIL.

    python benchmarks/destruction.py                       made-up products, 500x500
    python benchmarks/destruction.py --store FOLDER        a catalog's image store

The reference does what the code that DCL's authors published does for every sample in every epoch: decode,
resize to 512, rotate, crop, flip; cut 10 px off, cut into blocks, shuffle neighbors, resize each block,
paste, resize back; guess where each block came from by the blocks' mean colors; make tensors. Ours
takes decoded images from the cache, a batch at once, with the paper's shuffle and the true permutation.
Both give tensors: of uint8, or normalized in float32. CPU time on one thread; filling the cache, once
before training, is printed apart.
"""

import argparse
import io
import itertools
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageStat
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import pil_to_tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.product_images import open_store
from components.image.dcl import destroy, location_targets, shuffled_blocks
from components.modeling.image.augmentation import PIXEL, UNIFORMS, Buffers, augment, normalize, uniforms
from components.modeling.image.cache import ImageCache

RESIZE, CROP, BLOCKS, REACH, BATCH, CUT = 512, 448, 7, 2, 16, 10
TENSOR = v2.Compose(
    [
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)


def blocks_of(image: Image.Image) -> list[Image.Image]:
    edges = [int(image.width / BLOCKS * i) for i in range(BLOCKS + 1)]
    return [
        image.crop((left, top, right, bottom))
        for top, bottom in itertools.pairwise(edges)
        for left, right in itertools.pairwise(edges)
    ]


def neighbors_shuffled(items: list) -> list:
    """The last two are shuffled whenever one is added."""
    done: list = []
    for item in items:
        done.append(item)
        last = done[-2:]
        random.shuffle(last)
        done[-2:] = last
    return done


def pil_destroy(image: Image.Image, border: int = CUT) -> Image.Image:
    cut = image.crop((border, border, image.width - border, image.height - border))
    blocks, side = blocks_of(cut), cut.width // BLOCKS
    rows = [neighbors_shuffled(blocks[row * BLOCKS : (row + 1) * BLOCKS]) for row in range(BLOCKS)]
    destroyed = Image.new("RGB", (side * BLOCKS, side * BLOCKS))
    for y, row in enumerate(neighbors_shuffled(rows)):
        for x, block in enumerate(row):
            destroyed.paste(block.resize((side, side), Image.Resampling.LANCZOS), (x * side, y * side))
    return destroyed.resize(image.size)


def pil_pair(
    jpeg: bytes, resize: int = RESIZE, crop: int = CROP, border: int = CUT
) -> tuple[Image.Image, Image.Image]:
    """The augmented image and its destruction, as published: one image at a time."""
    image = Image.open(io.BytesIO(jpeg)).convert("RGB").resize((resize, resize), Image.Resampling.BILINEAR)
    image = image.rotate(random.uniform(-15, 15))
    left, top = random.randint(0, resize - crop), random.randint(0, resize - crop)
    image = image.crop((left, top, left + crop, top + crop))
    if random.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image, pil_destroy(image, border)


def pil_targets(image: Image.Image, destroyed: Image.Image) -> list[float]:
    """The published guess: each block's nearest by mean color."""
    own, moved = ([sum(ImageStat.Stat(block).mean) for block in blocks_of(i)] for i in (image, destroyed))
    guess = [min(range(len(own)), key=lambda i: abs(own[i] - color)) for color in moved]
    return [(block - BLOCKS**2 // 2) / BLOCKS**2 for block in guess]


def reference(jpeg: bytes, *, targets: bool, tensors: bool) -> None:
    """One image."""
    pair = pil_pair(jpeg)
    if targets:
        pil_targets(*pair)
    _ = [TENSOR(image) if tensors else pil_to_tensor(image) for image in pair]


class Ours:
    """A training's way: a batch at once, into memory that is kept from batch to batch."""

    def __init__(self, cache: ImageCache) -> None:
        self.cache, self.buffers = cache, Buffers()
        self.both = torch.empty((2 * BATCH, CROP, CROP, PIXEL), dtype=torch.uint8)

    def batch(self, rows: np.ndarray, *, targets: bool, tensors: bool) -> None:
        draws = uniforms(0, 0, rows, UNIFORMS + 2 * BLOCKS**2)
        originals, destroyed = self.both[: 2 * len(rows)].chunk(2)
        augment(
            self.cache.fetch(rows),
            draws,
            crop=(CROP, CROP),
            rotation=15,
            flip=True,
            buffers=self.buffers,
            out=originals,
        )
        source = shuffled_blocks(draws[:, UNIFORMS:], BLOCKS, REACH)
        destroy(originals, source, BLOCKS, out=destroyed)
        if targets:
            location_targets(source, BLOCKS)
        if tensors:
            normalize(self.both[: 2 * len(rows)])


def seconds(work: Callable[[Any], None], parts: Sequence[Any], repeats: int) -> float:
    """CPU time of the work on all parts: of each part the least of `repeats` passes over them.

    A part is a few milliseconds on either side (one image in PIL, one batch of ours), so what else the
    machine does disturbs both alike.
    """
    times = np.empty((repeats, len(parts)))
    for repeat, number in np.ndindex(times.shape):
        start = time.process_time()
        work(parts[number])
        times[repeat, number] = time.process_time() - start
    return float(times.min(axis=0).sum())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, help="a catalog's image store; made-up images without it")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5, help="the least time of so many runs counts")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        store = open_store(options.store, options.count, Path(temporary))
        keys = store.keys[: options.count]
        jpegs = [bytes(store.encoded(key)) for key in keys]
        batches = [np.arange(i, min(i + BATCH, len(keys))) for i in range(0, len(keys), BATCH)]
        size = (RESIZE, RESIZE)
        start = time.process_time()
        device = torch.device("cpu")
        with ImageCache(store, keys, size, fit="stretch", place="memory", device=device) as cache:
            decoding = time.process_time() - start
            print(f"{platform.processor() or platform.machine()}, one thread, {len(keys)} images")
            print(f"{'CPU ms a pair':36} {'PIL':>8} {'ours':>8} {'ratio':>7}")
            ours = Ours(cache)
            for name, what in {
                "crop, rotate, flip, destroy: uint8": {"targets": False, "tensors": False},
                "... and location targets": {"targets": True, "tensors": False},
                "... and normalized": {"targets": True, "tensors": True},
            }.items():
                slow = seconds(lambda jpeg, what=what: reference(jpeg, **what), jpegs, options.repeats)
                fast = seconds(lambda rows, what=what: ours.batch(rows, **what), batches, options.repeats)
                scale = 1e3 / len(keys)
                print(f"{name:36} {slow * scale:8.2f} {fast * scale:8.2f} {slow / fast:6.1f}x")
        print(f"once, before training: {decoding * 1e3 / len(keys):.2f} CPU ms an image to fill the cache")


if __name__ == "__main__":
    main()
