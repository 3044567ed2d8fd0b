"""Decoding and resizing one image: ours against PIL, CPU time on one thread, and how far the pixels differ.

python benchmarks/decode.py                       made-up products, 500x500
python benchmarks/decode.py --store FOLDER        a catalog's image store
"""

import argparse
import io
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.product_images import open_store
from components.modeling.image.cache import decode


def pil(jpeg: bytes, size: tuple[int, int]) -> np.ndarray:
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR))


def seconds(work: Callable[[bytes], object], jpegs: list[bytes]) -> float:
    start = time.process_time()
    for jpeg in jpegs:
        work(jpeg)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, help="a catalog's image store; made-up images without it")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5, help="the least time of so many runs counts")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        store = open_store(options.store, options.count, Path(temporary))
        jpegs = [bytes(store.encoded(key)) for key in store.keys[: options.count]]
    print(f"{platform.processor() or platform.machine()}, one thread, {len(jpegs)} images")
    columns = f"{'resized to':>10} {'PIL ms':>8} {'ours ms':>8} {'ratio':>6}"
    print(f"{columns} {'largest difference':>19}, beyond one level")
    for size in ((256, 256), (512, 512), (80, 60)):
        times = [
            (
                seconds(lambda jpeg, s=size: pil(jpeg, s), jpegs),
                seconds(lambda j, s=size: decode(j, s), jpegs),
            )
            for _ in range(options.repeats)
        ]
        slow, fast = (min(column) / len(jpegs) * 1e3 for column in zip(*times, strict=True))
        apart = np.stack(
            [np.abs(pil(jpeg, size).astype(np.int16) - decode(jpeg, size).numpy()) for jpeg in jpegs]
        )
        print(
            f"{size[0]:>6}x{size[1]:<3} {slow:8.2f} {fast:8.2f} {slow / fast:5.2f}x {apart.max():>12} levels"
            f", {np.count_nonzero(apart > 1)} of {apart.size / 1e6:.0f} M values"
        )


if __name__ == "__main__":
    main()
