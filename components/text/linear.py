"""The linear text classifier: word and character TF-IDF with logistic regression.

It needs no weights and no GPU, and is strong where titles name the product. Its features for
feature-level fusion are a truncated SVD of the TF-IDF (latent semantic analysis).
"""

import logging
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from components.core.artifacts import whole_file, write_json, write_manifest
from components.data.products import Products, Task
from components.modeling.text.ngrams import NgramSettings, Texts, fit_vectorizers, tfidf
from components.modeling.trained import Trained, TrainingSetup
from components.text.kinds.linear import LinearTextConfig

log = logging.getLogger(__name__)


def train_linear(products: Products, task: Task, config: LinearTextConfig, setup: TrainingSetup) -> Trained:
    """Fits TF-IDF and logistic regression on `task.fit` and predicts `task.predict`.

    Features for feature-level fusion are exported unless it is a fold's training.

    Raises:
        InputError: the texts have nothing in common that could be learned.
    """
    ngrams = NgramSettings(
        config.name, config.word_ngrams, config.char_ngrams, config.char_limit, config.min_products
    )
    texts = Texts(products, ngrams)
    start = time.perf_counter()
    vectorizers, classifier = _fit(texts, task.fit, products.labels, config)
    matrices = {
        split: _predict(texts, rows, vectorizers, classifier, len(products.classes))
        for split, rows in task.predict.items()
    }
    seconds = time.perf_counter() - start
    log.info("%s: fitted on %s products in %.0f s", config.name, f"{len(task.fit):,}", seconds)
    features = (
        _features(texts, task.fit, vectorizers, config, setup.seed)
        if config.features and not task.of_fold
        else None
    )
    if config.refit and "test" in task.predict:
        both = np.union1d(task.fit, task.predict["validation"])
        vectorizers, classifier = _fit(texts, both, products.labels, config)
        matrices["test"] = _predict(
            texts, task.predict["test"], vectorizers, classifier, len(products.classes)
        )
    _save(setup.model, vectorizers, classifier, products, config)
    metrics = {"seconds": seconds, "products": len(task.fit), "ngrams": classifier.coef_.shape[1]}
    return Trained({"final": matrices}, features, metrics)


def _fit(
    texts: Texts, rows: np.ndarray, labels: np.ndarray, config: LinearTextConfig
) -> tuple[dict[str, TfidfVectorizer], LogisticRegression]:
    vectorizers, matrix = fit_vectorizers(texts, rows)
    classifier = LogisticRegression(C=1 / config.l2, max_iter=300, tol=1e-3)
    return vectorizers, classifier.fit(matrix, labels[rows])


def _predict(
    texts: Texts,
    rows: np.ndarray,
    vectorizers: dict[str, TfidfVectorizer],
    classifier: LogisticRegression,
    classes: int,
) -> np.ndarray:
    # A fold may lack a class: the classifier then has fewer columns than the catalog.
    pred_probs = np.zeros((len(rows), classes), np.float32)
    pred_probs[:, classifier.classes_] = classifier.predict_proba(tfidf(texts, rows, vectorizers))
    return pred_probs


def _features(
    texts: Texts,
    fit: np.ndarray,
    vectorizers: dict[str, TfidfVectorizer],
    config: LinearTextConfig,
    seed: int,
) -> np.ndarray:
    whole = tfidf(texts, np.arange(len(texts.words)), vectorizers)
    ngrams = sum(len(vectorizer.vocabulary_) for vectorizer in vectorizers.values())
    size = max(1, min(config.features, len(fit) - 1, ngrams - 1))
    svd = TruncatedSVD(size, n_iter=3, random_state=seed).fit(whole[fit])
    return svd.transform(whole).astype(np.float32)


def _save(
    folder: Path,
    vectorizers: dict[str, TfidfVectorizer],
    classifier: LogisticRegression,
    products: Products,
    config: LinearTextConfig,
) -> None:
    tensors = {f"{part}.idf": np.asarray(v.idf_, np.float32) for part, v in vectorizers.items()}
    tensors |= {
        "coef": np.asarray(classifier.coef_, np.float32),
        "intercept": np.asarray(classifier.intercept_, np.float32),
    }
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / "model.safetensors") as temporary:
        save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, temporary)
    for part, vectorizer in vectorizers.items():
        write_json(folder / f"{part}.json", vectorizer.get_feature_names_out().tolist())
    codes = [products.classes[label] for label in classifier.classes_]
    write_json(folder / "config.json", {"kind": "linear", "classes": codes, "char_limit": config.char_limit})
    write_manifest(folder, name=config.name)
