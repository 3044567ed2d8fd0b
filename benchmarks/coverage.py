"""How often the interval of macro-F1 holds the macro-F1 of the population, and how wide it is.

    python benchmarks/coverage.py                  500 samples of every population
    python benchmarks/coverage.py --time           the time at 59 and 3,000 classes instead

Classifiers with a known confusion matrix predict samples of a population with known class shares. What is to
be covered is their macro-F1 on the population, over the classes that the sample has products of. The shortest
interval is one that lies the same around every sample's macro-F1 and, knowing all errors, covers 93 %.
With copies, half of the sample's products are copies of others, as duplicates are.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from components.evaluate.scores import score
from components.modeling.intervals import Posterior

WANTED = 0.93


@dataclass(frozen=True)
class Population:
    """Classes and a classifier of them.

    Attributes:
        products: of a sample.
        skew: the share of the n-th class is n to the minus this.
        recall: the middle class's.
        spread: standard deviation of classes' recalls, as logits.
        rare: how much a rarest class's recall lies below a middle one's, as logits.
        mixed_up: 1 spreads what is missed evenly over the classes, less than 1 over few.
        copies: whether half of the sample's products are others' copies.
    """

    products: int
    classes: int
    skew: float = 1.0
    recall: float = 0.8
    spread: float = 0.8
    rare: float = 0.5
    mixed_up: float = 0.1
    copies: bool = False

    @property
    def shares(self) -> np.ndarray:
        """(classes,) shares, the largest first."""
        shares = np.arange(1, self.classes + 1.0) ** -self.skew
        return shares / shares.sum()

    def confusion(self, random: np.random.Generator) -> np.ndarray:
        """(classes, classes) what share of a class's products is predicted what."""
        middle = np.log(self.recall / (1 - self.recall)) + self.rare * np.linspace(1, -1, self.classes)
        recalls = 1 / (1 + np.exp(-middle - self.spread * random.normal(size=self.classes)))
        missed = random.gamma(self.mixed_up, size=(self.classes, self.classes)) * self.shares**0.5
        np.fill_diagonal(missed, 0)
        missed += 1e-12 * (1 - np.eye(self.classes))
        return missed / missed.sum(axis=1, keepdims=True) * (1 - recalls)[:, None] + np.diag(recalls)

    def sample(
        self, confusion: np.ndarray, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Labels, predictions and groups, (products,) each."""
        groups = np.arange(self.products)
        if self.copies:
            groups[self.products // 2 :] = random.integers(self.products // 2, size=(self.products + 1) // 2)
        labels = random.choice(self.classes, self.products, p=self.shares)
        cumulated = confusion.cumsum(axis=1)
        predicted = (random.random(self.products)[:, None] > cumulated[labels]).sum(axis=1)
        return labels[groups], np.minimum(predicted, self.classes - 1)[groups], groups


@dataclass(frozen=True)
class Coverage:
    """What intervals held.

    Attributes:
        covered: share of the samples whose interval holds the population's figure.
        width: mean width.
        shortest: width of the interval around a sample's figure that would have covered `WANTED`.
    """

    covered: float
    width: float
    shortest: float


def measure(population: Population, samples: int, *, draws: int = 1000, seed: int = 0) -> Coverage:
    """Draws a classifier and a sample of the population so many times."""
    held, widths, errors = [], [], []
    for sample in range(samples):
        random = np.random.default_rng([seed, sample])
        confusion = population.confusion(random)
        labels, predicted, groups = population.sample(confusion, random)
        posterior = Posterior(labels, groups, population.classes, seed=sample, draws=draws)
        scored = score(labels, predicted, posterior)
        low, high = scored.interval
        right = population.shares * confusion.diagonal()
        f1 = 2 * right / (population.shares + population.shares @ confusion)
        wanted = f1[scored.support > 0].mean()
        held.append(low <= wanted <= high)
        widths.append(high - low)
        errors.append(wanted - scored.macro_f1)
    return Coverage(float(np.mean(held)), float(np.mean(widths)), _shortest(np.sort(errors)))


def _shortest(errors: np.ndarray) -> float:
    most = int(np.ceil(WANTED * len(errors)))
    return float((errors[most - 1 :] - errors[: len(errors) - most + 1]).min())


def populations() -> dict[str, Population]:
    """By what is special about them."""
    found = {}
    for size, skew in (((200, 27), 1.0), ((200, 27), 1.5), ((3450, 59), 1.0)):
        where = f"{size[0]:,} products of {size[1]}, skew {skew}"
        found |= {
            f"{where}: recall 80 %": Population(*size, skew),
            f"{where}: 95 %": Population(*size, skew, recall=0.95),
            f"{where}: 99 %, alike": Population(*size, skew, recall=0.99, spread=0.3, rare=0.3),
            f"{where}: 85 %, alike": Population(*size, skew, recall=0.85, spread=0.5, rare=0),
            f"{where}: 60 %, rare ones worse": Population(*size, skew, recall=0.6, spread=1, rare=1),
            f"{where}: 40 %": Population(*size, skew, recall=0.4),
            f"{where}: 80 %, all mixed up": Population(*size, skew, mixed_up=10),
            f"{where}: 80 %, half of it copies": Population(*size, skew, copies=True),
        }
    return found


def seconds(products: int, classes: int) -> tuple[float, float]:
    """What the draws take, and one classifier's interval after them."""
    random = np.random.default_rng(0)
    labels = random.integers(classes, size=products)
    predicted = np.where(random.random(products) < 0.7, labels, random.integers(classes, size=products))
    start = time.perf_counter()
    posterior = Posterior(labels, np.arange(products), classes, seed=0)
    drawn = time.perf_counter()
    posterior.macro_f1(predicted)
    return drawn - start, time.perf_counter() - drawn


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--time", action="store_true")
    options = parser.parse_args()
    if options.time:
        for products, classes in ((3_450, 59), (20_000, 3_000)):
            drawn, one = seconds(products, classes)
            print(f"{products:,} products of {classes:,} classes: {drawn:.2f} s, {one:.2f} s a classifier")
        return
    print(f"{'':62}{'covered':>9}{'width':>8}{'of the shortest':>17}")
    for name, population in populations().items():
        found = measure(population, options.samples)
        ratio = found.width / found.shortest
        print(f"{name:62}{found.covered:9.1%}{100 * found.width:8.2f}{ratio:17.2f}", flush=True)


if __name__ == "__main__":
    main()
