"""Images into the model: our cache and augmentation against a loader as in torchvision's reference.

    python benchmarks/image_input.py                       made-up products, 500x500, on this machine's device
    python benchmarks/image_input.py --size 512 --crop 448

The reference decodes every image in every epoch, in worker processes: PIL, resize, rotation, random crop,
flip, normalized tensor (torchvision's v2 transforms), DataLoader. Ours reads the cache, which is filled once
and timed apart. On a CPU the time is CPU time of all processes; on a GPU it is wall time.
"""

import argparse
import io
import os
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.product_images import open_store
from components.modeling.image.augmentation import UNIFORMS, augment, normalize, uniforms
from components.modeling.image.cache import ImageCache

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Images(Dataset):
    """Encoded images, decoded and transformed one at a time."""

    def __init__(self, jpegs: list[bytes], size: int, crop: int) -> None:
        self.jpegs = jpegs
        self.transform = v2.Compose(
            [
                v2.Resize((size, size)),
                v2.RandomRotation([-15, 15]),
                v2.RandomCrop(crop),
                v2.RandomHorizontalFlip(),
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )

    def __len__(self) -> int:
        return len(self.jpegs)

    def __getitem__(self, row: int) -> Tensor:
        return self.transform(Image.open(io.BytesIO(self.jpegs[row])).convert("RGB"))


def clock() -> float:
    """Seconds: CPU time of this process and its ended children on a CPU, wall time on a GPU."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def reference(jpegs: list[bytes], options: argparse.Namespace) -> float:
    images = Images(jpegs, options.size, options.crop)
    workers = options.workers if DEVICE.type == "cuda" else 0  # a worker's start would count as its work
    loader = DataLoader(
        images, options.batch, shuffle=True, num_workers=workers, pin_memory=DEVICE.type == "cuda"
    )
    start = clock()
    for batch in loader:
        batch.to(DEVICE, non_blocking=True).contiguous(memory_format=torch.channels_last)
    return clock() - start


def ours(cache: ImageCache, count: int, options: argparse.Namespace) -> float:
    start = clock()
    order = np.random.default_rng(0).permutation(count)
    batches = [order[i : i + options.batch] for i in range(0, count, options.batch)]
    for rows, batch in zip(batches, cache.batches(batches), strict=True):
        draws = uniforms(0, 0, rows, UNIFORMS).to(DEVICE)
        pixels = augment(batch, draws, crop=(options.crop, options.crop), rotation=15, flip=True)
        normalize(pixels).contiguous(memory_format=torch.channels_last)
    return clock() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, help="a catalog's image store; made-up images without it")
    parser.add_argument("--count", type=int, default=128 if DEVICE.type == "cpu" else 4096)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16 if DEVICE.type == "cpu" else 128)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="of the reference, on a GPU")
    parser.add_argument("--repeats", type=int, default=3, help="the least time of so many runs counts")
    options = parser.parse_args()
    if DEVICE.type == "cpu":
        torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        store = open_store(options.store, min(options.count, 256), Path(temporary))
        keys = [store.keys[i % len(store.keys)] for i in range(options.count)]
        jpegs = [bytes(store.encoded(key)) for key in keys]
        size, start = (options.size, options.size), clock()
        with ImageCache(store, keys, size, fit="stretch", place="auto", device=DEVICE) as cache:
            filling = clock() - start
            slow = min(reference(jpegs, options) for _ in range(options.repeats))
            fast = min(ours(cache, len(keys), options) for _ in range(options.repeats))
    name = (
        torch.cuda.get_device_name() if DEVICE.type == "cuda" else platform.processor() or platform.machine()
    )
    unit = "s" if DEVICE.type == "cuda" else "CPU s"
    print(f"{name}, {len(keys)} images at {options.size}, crop {options.crop}, batch {options.batch}")
    print(f"{'torchvision loader':20} {len(keys) / slow:9.0f} images / {unit}")
    print(f"{'ours, ' + cache.place:20} {len(keys) / fast:9.0f} images / {unit} {slow / fast:6.1f}x")
    print(f"filling the cache, once: {len(keys) / filling:.0f} images / {unit}")


if __name__ == "__main__":
    main()
