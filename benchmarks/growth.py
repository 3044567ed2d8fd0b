"""How the cost of the stages grows with products and with classes, and where their walls are.

    python benchmarks/growth.py                           products, of 27 classes: over an hour
    python benchmarks/growth.py --vary classes            classes, of 20,000 products
    python benchmarks/growth.py --stages text denoise

Each stage runs alone, in a process of its own on one thread, on a catalog that is made up: texts as long as
the challenge's, no pictures. Products double from 20,000 on until a stage takes a minute of CPU time. Fusion,
ensemble and evaluation are measured by the rows of validation, which they alone read; preprocess, text and
denoise by all products. Subtracted from every point is the cost of the same stage with next to no products.
The exponent is the slope of the least squares line through the logarithms. Memory is the largest process's
highest, with Python and its libraries; where it ends is said by a line through the points.
"""

import argparse
import platform
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.alone import print_used, run_alone
from benchmarks.growing_catalogs import CHAINS

PRODUCTS, CLASSES = (20_000, 40_000, 80_000, 160_000), (30, 100, 300, 1_000, 3_000)
EMPTY = 400  # products
MINUTE, LARGEST = 60.0, 1_280_000
GIB, HOURS = 16.0, 24.0  # the walls: of a pod, and of a night and a day on one core
FARTHEST = 1e9  # products or classes to which a line is drawn
STAGES = [stage for _, chain in CHAINS for stage in chain]


@dataclass(frozen=True)
class Point:
    """What a stage took of so many products and classes."""

    products: int
    classes: int
    seconds: float
    gib: float


def run_here(step: str, folder: Path, products: int, classes: int) -> None:
    """Writes a chain's inputs, or runs one of its stages and prints what it took as one line of JSON."""
    if step.isdecimal():
        CHAINS[int(step)][0](folder, products, classes)
        return
    next(chain[step] for _, chain in CHAINS if step in chain)(folder)
    print_used()


def measure(number: int, products: int, classes: int) -> dict[str, Point]:
    """The points of a chain's stages at one size."""
    with tempfile.TemporaryDirectory() as name:
        steps = (str(number), *CHAINS[number][1])
        at = name, str(products), str(classes)
        _, *found = [(step, run_alone(__file__, "--step", step, *at)) for step in steps]
    return {stage: Point(products, classes, **took) for stage, took in found}


def report(stage: str, points: list[Point], empty: Point, vary: str) -> None:
    """Prints a stage's points, their exponent, and by a line through them where it meets its walls."""
    for point in points:
        row = f"{point.products:>12,}{point.classes:>9,}{point.seconds - empty.seconds:10.1f}{point.gib:8.2f}"
        print(f"{stage:12}{row}", flush=True)
    size = np.array([getattr(point, vary) for point in points], float)
    seconds = np.array([point.seconds - empty.seconds for point in points])
    exponent = np.polyfit(np.log(size), np.log(np.maximum(seconds, 1e-3)), 1)[0]
    slope, start = np.polyfit(size, [point.gib for point in points], 1)
    full = (GIB - start) / slope if slope > 0 else np.inf
    long = size[-1] * (HOURS * 3600 / seconds[-1]) ** (1 / exponent) if exponent > 0 else np.inf
    memory, hours = (
        f"{wall:,.0f} {vary}" if wall < FARTHEST else "no wall in sight" for wall in (full, long)
    )
    print(f"{stage:12}exponent {exponent:.2f}; {GIB:.0f} GiB: {memory}; {HOURS:.0f} CPU hours: {hours}\n")


def grow(number: int, options: argparse.Namespace) -> None:
    """Measures a chain at growing sizes, products until a minute is reached."""
    by_products = options.vary == "products"
    sizes = list(options.sizes or (PRODUCTS if by_products else CLASSES))
    fixed = options.classes if by_products else options.products
    pairs = [(size, fixed) if by_products else (fixed, size) for size in sizes]
    points = [measure(number, EMPTY, 30), *(measure(number, *pair) for pair in pairs)]

    def shortest() -> float:
        return min(point.seconds for point in points[-1].values())

    while by_products and not options.sizes and shortest() < MINUTE and sizes[-1] < LARGEST:
        sizes.append(2 * sizes[-1])
        points.append(measure(number, sizes[-1], fixed))
    for stage in CHAINS[number][1]:
        empty, *of_stage = [point[stage] for point in points]
        report(stage, of_stage, empty, options.vary)


def main() -> None:
    if sys.argv[1:2] == ["--step"]:
        step, folder, products, classes = sys.argv[2:]
        run_here(step, Path(folder), int(products), int(classes))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vary", choices=("products", "classes"), default="products")
    parser.add_argument("--sizes", type=int, nargs="+", help="in place of those above")
    parser.add_argument("--products", type=int, default=20_000, help="where classes vary")
    parser.add_argument("--classes", type=int, default=27, help="where products vary")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, one thread, {time.strftime('%Y-%m-%d')}\n")
    print(f"{'':12}{'products':>12}{'classes':>9}{'CPU s':>10}{'GiB':>8}")
    for number, (_, chain) in enumerate(CHAINS):
        if set(chain) & set(options.stages):
            grow(number, options)


if __name__ == "__main__":
    main()
