"""A training step from encoded images: ours against a plain float32 loop, timm's and torchvision's.

    python benchmarks/image_step.py                                    on a CPU: small sizes, one thread
    python benchmarks/image_step.py --backbone resnet152 --batch 128   stage 1 of the paper, on a GPU
    python benchmarks/image_step.py --dcl --backbone resnet152         DCL at 448: pairs, two images a sample

Same model, same batch. The plain loop: torchvision's transforms in a DataLoader, float32, contiguous memory,
SGD; for DCL it destroys image by image. timm's and torchvision's own loops, with AMP and channels last, are
timed with their loaders and on one batch that is there already; they know no DCL. Ours: the cache,
augmentation on the device, channels last, and on a GPU bf16, fused SGD and, with --compile, torch.compile.
CPU time on a CPU, wall time on a GPU. The ceiling, on a GPU alone, is that of a large matrix product in bf16;
the work counted is that of forward and backward.
"""

import argparse
import os
import platform
import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.destruction import TENSOR, pil_pair, pil_targets
from benchmarks.image_input import DEVICE, Images, clock
from benchmarks.product_images import open_store
from benchmarks.reference_loops import reference_seconds
from components.image.dcl import dcl_loss
from components.image.kinds.network import NetworkConfig, TrainingStage
from components.image.network import DCLNetwork, PlainNetwork, build_network
from components.image.predict import predict
from components.image.training import Examples, Samples, StageTraining
from components.modeling.image.augmentation import UNIFORMS, uniforms
from components.modeling.image.cache import ImageCache
from components.modeling.termination import Termination

CLASSES = 27
PRIOR = np.full(CLASSES, 1 / CLASSES)


class Pairs(Images):
    """An image, its destruction and its location targets, made one at a time in PIL."""

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        image, destroyed = pil_pair(self.jpegs[row])
        return TENSOR(image), TENSOR(destroyed), torch.tensor(pil_targets(image, destroyed))


def plain_loss(network: PlainNetwork, batch: list[Tensor] | Tensor, labels: Tensor) -> Tensor:
    """The loss of ready tensors, float32."""
    if not isinstance(network, DCLNetwork):
        _, pooled = network.backbone(batch)
        return torch.nn.functional.cross_entropy(network.head(pooled), labels)
    images, destroyed, guess = batch
    features, pooled = network.backbone(torch.cat([images, destroyed]))
    straight = ((torch.arange(49, device=DEVICE) - 24) / 49).expand_as(guess)
    return dcl_loss(
        network.head(pooled),
        network.dcl.swap(pooled),
        network.dcl.locations(features),
        labels,
        network.dcl.swap_targets(labels),
        torch.cat([straight, guess]),
        gamma=1.0,
    )


def run_plain(network: PlainNetwork, jpegs: list[bytes], options: argparse.Namespace) -> float:
    """Seconds a step, the first left out."""
    dataset = (Pairs if options.dcl else Images)(jpegs, options.resize, options.crop)
    network = network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    groups = [{"params": p, "lr": 0.01 * factor} for p, factor in network.parameter_groups()]
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    workers = options.workers if DEVICE.type == "cuda" else 0
    start = 0.0
    loader = DataLoader(dataset, options.batch, num_workers=workers, pin_memory=DEVICE.type == "cuda")
    for number, batch in enumerate(loader):
        if number == 1:
            start = clock()
        batch = [part.to(DEVICE) for part in batch] if options.dcl else batch.to(DEVICE)
        loss = plain_loss(network, batch, torch.zeros(options.batch, dtype=torch.long, device=DEVICE))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (clock() - start) / options.steps


def run_ours(
    network: PlainNetwork,
    stage: TrainingStage,
    config: NetworkConfig,
    cache: ImageCache,
    options: argparse.Namespace,
) -> float:
    """Seconds a step, the first left out."""
    count = options.batch * (options.steps + 1)
    rows = np.arange(count)
    examples = Examples(rows, np.zeros(count, np.int64), rows, {}, PRIOR)
    training = StageTraining(
        network, stage, config, examples, seed=0, checkpoints=None, termination=Termination()
    )
    batches = np.split(rows, options.steps + 1)
    start = 0.0
    for number, (chosen, batch) in enumerate(zip(batches, cache.batches(batches), strict=True)):
        if number == 1:
            start = clock()
        draws = uniforms(0, 0, chosen, network.draws)
        training.loop.take_step(Samples(chosen, batch, draws))
    return (clock() - start) / options.steps


def run_predict(network: PlainNetwork, stage: TrainingStage, cache: ImageCache, count: int) -> float:
    """Images a second, in a second pass over all."""
    start = 0.0
    for _ in range(2):
        start = clock()
        predict(network, stage, cache, np.arange(count), PRIOR, pause=lambda: None)
    return count / (clock() - start)


def step_flops(network: PlainNetwork, stage: TrainingStage) -> int:
    """Floating-point operations of one sample's forward and backward."""
    pixels = torch.zeros(2 * network.copies, *stage.crop, 4, dtype=torch.uint8, device=DEVICE)
    draws = uniforms(0, 0, np.arange(2), network.draws + UNIFORMS).to(DEVICE)
    with FlopCounterMode(display=False) as counter:
        network(pixels, draws, torch.zeros(2, dtype=torch.long, device=DEVICE)).backward()
    return counter.get_total_flops() // 2


def matrix_ceiling(repeats: int = 10) -> float:
    """FLOP/s of a large bf16 matrix product on a GPU, the best of some."""
    size = 8192
    left, right = (torch.randn(size, size, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(repeats):
        start = clock()
        _ = left @ right
        times.append(clock() - start)
    return 2 * size**3 / min(times)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    on_gpu = DEVICE.type == "cuda"
    parser.add_argument("--backbone", default="resnet152" if on_gpu else "resnet18")
    parser.add_argument("--dcl", action="store_true", help="DCL at 448 instead of stage 1 at 224")
    parser.add_argument("--batch", type=int, help="samples; 128, with DCL 16 (4 and 2 on a CPU)")
    parser.add_argument("--steps", type=int, default=20 if on_gpu else 2, help="timed steps")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="of the loaders, on a GPU")
    parser.add_argument("--compile", action="store_true", help="compile our network, on a GPU")
    parser.add_argument("--store", type=Path, help="a catalog's image store; made-up images without it")
    options = parser.parse_args()
    options.resize, options.crop = (512, 448) if options.dcl else (256, 224)
    options.batch = options.batch or (16 if options.dcl else 128) // (
        1 if on_gpu else 8 if options.dcl else 32
    )
    return options


def main() -> None:
    options = arguments()
    if DEVICE.type == "cpu":
        torch.set_num_threads(1)
    settings = {"backbone": options.backbone, "weights": "scratch", "compile": ("off", "on")[options.compile]}
    config = NetworkConfig(name="step", **settings)
    stage = replace(config.stages()[int(options.dcl)], batch_size=options.batch)
    with tempfile.TemporaryDirectory() as temporary:
        store = open_store(options.store, 64, Path(temporary))
        keys = [store.keys[i % len(store.keys)] for i in range(options.batch * (options.steps + 1))]
        jpegs = [bytes(store.encoded(key)) for key in keys]
        slow = run_plain(build_network(config, stage, PRIOR).to(DEVICE), jpegs, options)
        seconds = {"plain float32 loop": slow}
        if not options.dcl:
            sizes = {"batch": options.batch, "crop": options.crop, "workers": options.workers}
            seconds |= reference_seconds(options.backbone, jpegs, **sizes)
        network = build_network(config, stage, PRIOR).to(DEVICE)
        with ImageCache(store, keys, stage.resize, fit="stretch", place="auto", device=DEVICE) as cache:
            seconds["ours"] = run_ours(network, stage, config, cache, options)
            predicting = run_predict(network, stage, cache, len(keys))
    work = step_flops(network, stage) * options.batch
    name = (
        torch.cuda.get_device_name() if DEVICE.type == "cuda" else platform.processor() or platform.machine()
    )
    kind = f"DCL at {options.crop}" if options.dcl else f"stage 1 at {options.crop}"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if DEVICE.type == "cuda":
        memory = torch.cuda.max_memory_allocated() / 2**30
    print(f"{name}, {options.backbone}, {kind}, batch {options.batch}, {options.steps} steps")
    # A CPU's libraries multiply matrices and convolve by different code: the one is no ceiling of the other.
    ceiling = matrix_ceiling() if DEVICE.type == "cuda" else None
    print(f"{'':30}{'s a step':>10}{'samples/s':>11}{'ours is':>9}{'of the ceiling':>16}")
    for label, taken in seconds.items():
        share = f"{work / taken / ceiling:16.2f}" if ceiling else ""
        ratio = f"{taken / seconds['ours']:8.2f}x"
        print(f"{label:30}{taken:10.3f}{options.batch / taken:11.1f}{ratio}{share}")
    rate = options.batch / seconds["ours"] * network.copies  # of images: DCL trains on two a sample
    print(f"predicting: {predicting:.1f} images/s, {predicting / rate:.2f}x the images of our training")
    print(f"largest memory {memory:.1f} GiB; torch {torch.__version__}; {time.strftime('%Y-%m-%d')}")


if __name__ == "__main__":
    main()
