"""Whether denoising lets validation's labels through: labels at random, that nothing can predict.

    python benchmarks/label_leak.py                  20 draws of 1,400 products of 7 classes
    python benchmarks/label_leak.py --draws 3 --products 300

Every draw permutes the labels of texts that come in families of the same words. Text folds find label
issues, the flagged go, and a text classifier trained on the rest predicts validation and test. What is right
should be chance's share, within three standard errors of the mean over draws of guesses. The second row has
the leak put back: folds of train and validation, as the paper has them (section 3.2.1).
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.made_up_classifiers import products_table
from components.data.products import Products, Task, training_task
from components.denoise.config import DenoiseConfig
from components.denoise.issues import find_issues, known_classes
from components.modeling.trained import TrainingSetup
from components.preprocess.split import assign_folds
from components.text.kinds.linear import LinearTextConfig
from components.text.linear import train_linear, train_linear_folds

CLASSES, FOLDS, FAMILY = 7, 4, 12
CONFIG = LinearTextConfig(name="tfidf", kind="linear", features=0, char_ngrams=(), l2=0.02)
DENOISE = DenoiseConfig(share=1.0, filter_by="low_self_confidence")
SPLITS = ("validation", "test")


@dataclass(frozen=True)
class Draws:
    """Shares of right predictions, (draws,) for each split.

    Attributes:
        products: of each split.
        chance: the share that guessing gets.
    """

    right: dict[str, np.ndarray]
    products: dict[str, int]
    chance: float = 1 / CLASSES

    def above_chance(self, split: str) -> float:
        """How many standard errors of the mean over draws, of guesses, the mean lies above chance."""
        right = self.right[split]
        error = np.sqrt(self.chance * (1 - self.chance) / (self.products[split] * len(right)))
        return float((right.mean() - self.chance) / error)


def random_labels(count: int, seed: int) -> Products:
    """Products in families of twelve with the same words, labels at random; 4:3:3 by split.

    Every split has the same class shares: what is learned on validation knows its largest class, and would
    be right more often than chance by naming that.
    """
    random = np.random.default_rng(seed)
    split = random.permutation(
        np.repeat(["train", *SPLITS], [count - 2 * (3 * count // 10)] + 2 * [3 * count // 10])
    )
    labels = np.empty(count, np.int64)
    for name in np.unique(split):
        rows = np.flatnonzero(split == name)
        labels[rows] = random.permutation(np.arange(len(rows)) % CLASSES)
    train = np.flatnonzero(split == "train")
    folds = np.full(count, -1)
    folds[train] = assign_folds([str(row) for row in train], labels[train], train, FOLDS, seed)
    words = [f"famille{row // FAMILY} modele{row // FAMILY}" for row in range(count)]
    codes = tuple(str(label) for label in range(CLASSES))
    return Products(products_table(words, labels, codes, split=split, folds=folds), codes)


def leaking_task(products: Products, fold: int) -> Task:
    """A fold's training that is fitted on validation too."""
    task = training_task(products, fold=fold, cleaned=False)
    return Task(np.union1d(task.fit, products.rows("validation")), task.predict)


def without_flagged(products: Products, *, leak: bool) -> Products:
    """Marks what text folds flag as removed from train."""
    with tempfile.TemporaryDirectory() as folder:
        setups = [TrainingSetup(seed=0, model=Path(folder))] * FOLDS
        pred_probs = np.zeros((len(products.table), CLASSES))
        make = leaking_task if leak else partial(training_task, cleaned=False)
        tasks = [make(products, fold=fold) for fold in range(FOLDS)]
        for task, trained in zip(tasks, train_linear_folds(products, tasks, CONFIG, setups), strict=True):
            pred_probs[task.predict["out_of_fold"]] = trained.matrices["final"]["out_of_fold"]
    rows = products.rows("out_of_fold")
    issues = find_issues(
        products,
        {"out_of_fold": pred_probs[rows]},
        DENOISE,
        known=known_classes(products, pictured=False),
        kept=frozenset(),
    )
    removed = np.zeros(len(products.table), bool)
    removed[issues.rows[issues.removed]] = True
    return Products(products.table.assign(removed=removed), products.classes)


def right_after_denoising(products: Products, *, leak: bool) -> dict[str, float]:
    """Removes what is flagged, trains on the rest, and gives the share of right predictions by split."""
    cleaned = without_flagged(products, leak=leak)
    task = training_task(cleaned, fold=None, cleaned=True)
    with tempfile.TemporaryDirectory() as folder:
        setup = TrainingSetup(seed=0, model=Path(folder))
        matrices = train_linear(cleaned, task, CONFIG, setup).matrices["final"]
    labels = products.labels
    return {
        split: float((matrices[split].argmax(axis=1) == labels[rows]).mean())
        for split, rows in task.predict.items()
    }


def draw(count: int, draws: int, *, leak: bool) -> Draws:
    """The shares of so many permutations."""
    found = [right_after_denoising(random_labels(count, seed), leak=leak) for seed in range(draws)]
    right = {split: np.array([each[split] for each in found]) for split in SPLITS}
    return Draws(right, dict.fromkeys(SPLITS, 3 * count // 10))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--products", type=int, default=1400)
    options = parser.parse_args()
    print(f"{options.draws} draws, {options.products} products, chance {1 / CLASSES:.1%}\n")
    print(f"{'folds of':24}{'validation':>12}{'errors above':>14}{'test':>8}{'errors above':>14}")
    for name, leak in (("train alone", False), ("train and validation", True)):
        found = draw(options.products, options.draws, leak=leak)
        cells = [f"{found.right[split].mean():.1%}" for split in SPLITS]
        errors = [f"{found.above_chance(split):.1f}" for split in SPLITS]
        print(f"{name:24}{cells[0]:>12}{errors[0]:>14}{cells[1]:>8}{errors[1]:>14}")


if __name__ == "__main__":
    main()
