"""The linear text classifier against other linear classifiers of titles, on the same holdouts.

    python benchmarks/linear_text.py CATALOG
    python benchmarks/linear_text.py CATALOG --labels Y_train_colour.tsv --holdouts 3

CATALOG is a folder in the challenge's TSV dialect. Of its distinct titles 20,000 are trained on and the rest
are predicted, in ten holdouts; differences of macro-F1 to ours are paired by holdout. The first row is
what the classifier was before: the same n-grams, by scikit-learn's vectorizers and logistic regression.
Seconds are of CPU time on one thread: of the fit alone, and of all of it with n-grams and predictions.
fastText has a row where it is installed (pip install fasttext-numpy2-wheel).
"""

import argparse
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
from scipy.sparse import csr_array, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.svm import LinearSVC

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from components.modeling.metrics import macro_f1
from components.modeling.softmax_regression import fit_softmax
from components.modeling.text.ngrams import TOKEN, NgramSettings, Texts, fit_vectorizers, tfidf

L2 = 0.25  # the classifier's own default
FASTTEXT = {"wordNgrams": 2, "epoch": 25, "lr": 0.1, "dim": 50, "bucket": 200_000, "thread": 1, "verbose": 0}


@dataclass(frozen=True)
class Holdout:
    """Titles, their labels, and which of them are trained on and predicted."""

    titles: np.ndarray
    labels: np.ndarray
    fit: np.ndarray
    rest: np.ndarray


@dataclass
class Clock:
    """Seconds of CPU time since the start and of the fit alone."""

    start: float = field(default_factory=time.process_time)
    of_fit: float = 0.0

    def fit(self, work: Callable[[], Any]) -> Any:
        """Does the work, and counts it as the fit."""
        before = time.process_time()
        result = work()
        self.of_fit += time.process_time() - before
        return result


def ours(holdout: Holdout, clock: Clock) -> np.ndarray:
    """Predicted labels of the rest, as the text stage makes them."""
    table = pd.DataFrame({"title": holdout.titles, "description": ""})
    texts = Texts(table, NgramSettings("tfidf"))
    vectorizers, matrix = fit_vectorizers(texts, holdout.fit)
    model = clock.fit(lambda: fit_softmax(matrix, holdout.labels[holdout.fit], l2=L2, seed=0))
    classes = int(holdout.labels.max()) + 1
    return model.predict(tfidf(texts, holdout.rest, vectorizers), classes).argmax(axis=1)


def peer(make: Callable[[], Any], characters: bool, holdout: Holdout, clock: Clock) -> np.ndarray:
    """Those of a classifier of scikit-learn's on its TF-IDF of words, and of characters too."""
    shared = {"sublinear_tf": True, "min_df": 2, "strip_accents": "unicode", "dtype": np.float32}
    vectorizers = [TfidfVectorizer(ngram_range=(1, 2), token_pattern=TOKEN, **shared)]
    if characters:
        vectorizers.append(TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), **shared))
    matrix = csr_array(hstack([each.fit_transform(holdout.titles[holdout.fit]) for each in vectorizers]))
    model = clock.fit(lambda: make().fit(matrix, holdout.labels[holdout.fit]))
    return model.predict(hstack([each.transform(holdout.titles[holdout.rest]) for each in vectorizers]))


def fasttext_words(holdout: Holdout, clock: Clock) -> np.ndarray:
    """Those of fastText, with bigrams."""
    import fasttext  # type: ignore[import-not-found]  # not the project's, and seldom installed

    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        for row in holdout.fit:
            file.write(f"__label__{holdout.labels[row]} {str(holdout.titles[row]).lower()}\n")
        file.flush()
        # Now and then a loss that is no number stops it: that depends on the memory it finds.
        for _ in range(5):
            with suppress(RuntimeError):
                model = clock.fit(lambda: fasttext.train_supervised(file.name, **FASTTEXT))
                break
        else:
            raise SystemExit("fastText failed five times: leave it out (pip uninstall fasttext-numpy2-wheel)")
    lines = [title.lower().replace("\n", " ") for title in holdout.titles[holdout.rest]]
    labels, _ = model.predict(lines)
    return np.array([int(found[0].removeprefix("__label__")) for found in labels])


def rivals() -> dict[str, Callable[[Holdout, Clock], np.ndarray]]:
    """Name -> what predicts a holdout's rest; the first is what the classifier was, the last is ours."""
    logistic = partial(LogisticRegression, C=1 / L2)
    found: dict[str, Callable[[Holdout, Clock], np.ndarray]] = {
        "L-BFGS": partial(peer, partial(logistic, max_iter=300, tol=1e-3), True),
        "SAGA, 10 passes": partial(peer, partial(logistic, solver="saga", max_iter=10), True),
        "SAGA, 5 passes": partial(peer, partial(logistic, solver="saga", max_iter=5), True),
        "LinearSVC, C = 0.3": partial(peer, partial(LinearSVC, C=0.3), True),
        "LinearSVC, C = 0.3, words": partial(peer, partial(LinearSVC, C=0.3), False),
        "SGD, log-loss": partial(peer, partial(SGDClassifier, loss="log_loss", alpha=1e-5), True),
    }
    if importlib.util.find_spec("fasttext"):
        found["fastText, words"] = fasttext_words
    return {**found, "ours": ours}


def read_titles(catalog: Path, labels: str) -> tuple[np.ndarray, np.ndarray]:
    """Distinct titles and their labels as whole numbers from 0."""
    products = pd.read_csv(catalog / "X_train.tsv", sep="\t")
    codes = pd.read_csv(catalog / labels, sep="\t")["Prdtypecode"].to_numpy()
    titles, rows = np.unique(products["Title"].to_numpy(dtype=object), return_index=True)
    return titles, np.unique(codes[rows], return_inverse=True)[1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("catalog", type=Path)
    parser.add_argument("--labels", default="Y_train.tsv")
    parser.add_argument("--titles", type=int, default=20_000)
    parser.add_argument("--holdouts", type=int, default=10)
    options = parser.parse_args()
    titles, labels = read_titles(options.catalog, options.labels)
    figures: dict[str, list[tuple[float, float, float]]] = {name: [] for name in rivals()}
    for seed in range(options.holdouts):
        order = np.random.default_rng(seed).permutation(len(titles))
        holdout = Holdout(titles, labels, order[: options.titles], order[options.titles :])
        for name, predict in rivals().items():
            clock = Clock()
            predicted = predict(holdout, clock)
            seconds = time.process_time() - clock.start
            score = macro_f1(labels[holdout.rest], predicted, int(labels.max()) + 1)
            figures[name].append((100 * score, clock.of_fit, seconds))
    print_table(figures, f"{options.titles:,} titles, {labels.max() + 1} classes")


def print_table(figures: dict[str, list[tuple[float, float, float]]], what: str) -> None:
    """Means over holdouts, and the paired differences to ours with their standard errors."""
    values = {name: np.array(rows) for name, rows in figures.items()}
    print(f"{what}, {len(values['ours'])} holdouts\n")
    print(f"{'':28}{'macro-F1':>9}{'to ours':>16}{'fit, s':>9}{'ratio':>7}{'all, s':>9}{'ratio':>7}")
    for name, each in values.items():
        score, fit, whole = each.mean(axis=0)
        difference = each[:, 0] - values["ours"][:, 0]
        error = difference.std(ddof=1) / np.sqrt(len(difference)) if len(difference) > 1 else np.nan
        to_fit, to_whole = (fit, whole) / values["ours"].mean(axis=0)[1:]
        paired = f"{difference.mean():+.2f} ± {error:.2f}"
        print(f"{name:28}{score:>9.2f}{paired:>16}{fit:>9.2f}{to_fit:>7.1f}{whole:>9.2f}{to_whole:>7.1f}")


if __name__ == "__main__":
    main()
