"""The linear text classifier: word and character TF-IDF with multinomial logistic regression.

It needs no weights and no GPU, and is strong where titles name the product. Its features for
feature-level fusion are a truncated SVD of the TF-IDF (latent semantic analysis).
"""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from scipy.sparse import csr_array
from sklearn.decomposition import TruncatedSVD
from torch import Tensor

from components.core.artifacts import whole_file
from components.core.configuration import restored_config
from components.core.reading import reading
from components.data.features import SVD
from components.data.products import Products, Task
from components.data.top_classes import PredProbs, in_blocks
from components.modeling.softmax_regression import WEIGHTS, SoftmaxRegression, fit_softmax
from components.modeling.text.ngrams import (
    NgramSettings,
    Texts,
    Vectorizer,
    fit_vectorizers,
    ngram_tensors,
    restored_vectorizers,
    tfidf,
)
from components.modeling.trained import (
    PREDICTED_AT_ONCE,
    Predicted,
    Trained,
    TrainingSetup,
    predict_in_parts,
    read_model,
    write_models,
)
from components.text.kinds.linear import LinearTextConfig

log = logging.getLogger(__name__)

# That the SVD of the features is computed of: of three times as many it took twice as long, and concatenation
# came to 84.5 in place of 84.1 on fashion's types.
SVD_PRODUCTS = 10_000


@dataclass(frozen=True)
class LinearText:
    """A fitted classifier.

    Attributes:
        classes: C of the catalog, all of which the classifier need not have seen.
        svd: the file with the (n-grams, D) float32 of the features; None where it has none.
    """

    ngrams: NgramSettings
    vectorizers: dict[str, Vectorizer]
    classifier: SoftmaxRegression
    classes: int
    svd: Path | None = None

    def predict(self, table: pd.DataFrame) -> Predicted:
        """Probabilities and features of the products of a table with titles and descriptions."""
        predicted = predict_in_parts(
            lambda part: Predicted(self._pred_probs(self._tfidf(table.iloc[part]))), len(table)
        )
        # The features take more memory than all else, and few read them.
        return Predicted(predicted.pred_probs, None if self.svd is None else lambda: self._features(table))

    def of_rows(self, texts: Texts, rows: np.ndarray) -> PredProbs:
        """Probabilities (len(rows), C) float32 of some texts."""
        return in_blocks(
            lambda part: self._pred_probs(tfidf(texts, rows[part], self.vectorizers)), len(rows), self.classes
        )

    def _tfidf(self, table: pd.DataFrame) -> csr_array:
        return tfidf(Texts(table, self.ngrams), np.arange(len(table)), self.vectorizers)

    def _features(self, table: pd.DataFrame) -> np.ndarray:
        assert self.svd is not None
        with reading(self.svd, "a safetensors file"):
            svd = load_file(self.svd)["svd"].numpy()
        parts = range(0, max(len(table), 1), PREDICTED_AT_ONCE)
        return np.concatenate([self._tfidf(table.iloc[at : at + PREDICTED_AT_ONCE]) @ svd for at in parts])

    def _pred_probs(self, matrix: csr_array) -> np.ndarray:
        return self.classifier.predict(matrix, self.classes)

    def tensors(self) -> dict[str, Tensor]:
        """What `load_linear` reads, by name."""
        return {**self.classifier.tensors(), **ngram_tensors(self.vectorizers)}


def load_linear(folder: Path, *, device: torch.device) -> LinearText:
    """Reads what `train_linear` left; it predicts on the CPU, whatever the device."""
    settings, tensors = read_model(folder)
    classes = len(settings["classes"])
    ngrams = _ngrams(restored_config(LinearTextConfig, settings, where=str(folder)), classes)
    classifier = SoftmaxRegression.restored(tensors)
    svd = folder / SVD if (folder / SVD).is_file() else None
    return LinearText(ngrams, restored_vectorizers(tensors), classifier, classes, svd)


def train_linear(products: Products, task: Task, config: LinearTextConfig, setup: TrainingSetup) -> Trained:
    """Fits TF-IDF and multinomial logistic regression on `task.fit` and predicts `task.predict`.

    Features for feature-level fusion are exported unless it is a fold's training.

    Raises:
        InputError: the texts have nothing in common that could be learned.
    """
    return next(train_linear_folds(products, [task], config, [setup]))


def train_linear_folds(
    products: Products, tasks: Sequence[Task], config: LinearTextConfig, setups: Sequence[TrainingSetup]
) -> Iterator[Trained]:
    """`train_linear` of one task after the other, with n-grams that are counted once.

    Counts are each text's own; vocabulary, frequencies and weights are learned anew from the rows that each
    task is fitted on.
    """
    texts = Texts(products.table, _ngrams(config, len(products.classes)))
    for task, setup in zip(tasks, setups, strict=True):
        yield _train(texts, products, task, config, setup)


def _train(
    texts: Texts, products: Products, task: Task, config: LinearTextConfig, setup: TrainingSetup
) -> Trained:
    start = time.perf_counter()
    fitted = _fit(texts, task.fit, products, config, setup.seed)
    matrices = {split: fitted.of_rows(texts, rows) for split, rows in task.predict.items()}
    seconds = time.perf_counter() - start
    log.info("%s: fitted on %s products in %.0f s", config.name, f"{len(task.fit):,}", seconds)
    features = None
    if config.features and not task.of_fold:
        features = _features(texts, task.fit, fitted, config.features, setup)
    refits = []
    if config.refit and len(task.refit):
        refits.append(_fit(texts, task.refit, products, config, setup.seed))
        if "test" in task.predict:
            matrices["test"] = refits[0].of_rows(texts, task.predict["test"])
    models = [model.tensors() for model in (fitted, *refits)]
    write_models(setup.model, models, products.classes, config.model_dump())
    ngrams = len(fitted.classifier.weights)
    metrics = {"seconds": seconds, "products": len(task.fit), "ngrams": ngrams}
    return Trained({"final": matrices}, features, metrics)


def _features(
    texts: Texts, fit: np.ndarray, fitted: LinearText, wanted: int, setup: TrainingSetup
) -> np.ndarray:
    """(N, D) float32 of all texts, by the SVD of some of those that were fitted on, which is written."""
    whole = tfidf(texts, np.arange(len(texts)), fitted.vectorizers)
    some = np.random.default_rng(setup.seed).permutation(fit)[:SVD_PRODUCTS]
    size = max(1, min(wanted, len(some) - 1, len(fitted.classifier.weights) - 1))
    svd = TruncatedSVD(size, n_iter=3, random_state=setup.seed).fit(whole[some])
    _write_svd(setup.model / SVD, svd)
    return svd.transform(whole).astype(np.float32)


def _ngrams(config: LinearTextConfig, classes: int) -> NgramSettings:
    lengths = {"word_ngrams": config.word_ngrams, "char_ngrams": config.char_ngrams}
    most = WEIGHTS // (classes * (2 if config.char_ngrams else 1))
    return NgramSettings(
        config.name,
        **lengths,
        char_limit=config.char_limit,
        min_products=config.ngram_min_products,
        most=most,
    )


def _fit(
    texts: Texts, rows: np.ndarray, products: Products, config: LinearTextConfig, seed: int
) -> LinearText:
    vectorizers, matrix = fit_vectorizers(texts, rows)
    classifier = fit_softmax(matrix, products.labels[rows], l2=config.l2, seed=seed)
    return LinearText(texts.settings, vectorizers, classifier, len(products.classes))


def _write_svd(path: Path, svd: TruncatedSVD) -> None:
    components = np.ascontiguousarray(np.asarray(svd.components_, np.float32).T)  # n-grams, D
    with whole_file(path) as temporary:
        save_file({"svd": torch.from_numpy(components)}, temporary)
