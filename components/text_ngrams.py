"""TF-IDF of word and character n-grams, as the light classifiers read texts."""

from typing import Protocol

import numpy as np
from scipy.sparse import csr_array, hstack
from sklearn.feature_extraction.text import TfidfVectorizer

from components.catalog import Products

TOKEN = r"(?u)\b\w+\b"  # scikit-learn's own drops words of one letter, sizes among them


class NgramSettings(Protocol):
    """Which n-grams are read.

    Attributes:
        word_ngrams: longest word n-gram, over title and description.
        char_ngrams: shortest and longest character n-gram within words; none where empty.
        char_limit: characters of title and description that character n-grams read.
        min_products: n-grams of fewer products are left out.
    """

    @property
    def word_ngrams(self) -> int: ...
    @property
    def char_ngrams(self) -> tuple[int, ...]: ...
    @property
    def char_limit(self) -> int: ...
    @property
    def min_products(self) -> int: ...


class Texts:
    """The texts that word and character n-grams read, of every product."""

    def __init__(self, products: Products, settings: NgramSettings) -> None:
        pairs = zip(products.table["title"], products.table["description"], strict=True)
        self.words = np.array([f"{title} {description}" for title, description in pairs], dtype=object)
        self.chars = np.array([text[: settings.char_limit] for text in self.words], dtype=object)


def make_vectorizers(settings: NgramSettings) -> dict[str, TfidfVectorizer]:
    """A vectorizer for each part of `Texts`, yet to be fitted."""
    shared = {
        "sublinear_tf": True,
        "min_df": settings.min_products,
        "strip_accents": "unicode",
        "dtype": np.float32,
    }
    words = TfidfVectorizer(ngram_range=(1, settings.word_ngrams), token_pattern=TOKEN, **shared)
    if not settings.char_ngrams:
        return {"words": words}
    shortest, longest = settings.char_ngrams
    return {
        "words": words,
        "chars": TfidfVectorizer(analyzer="char_wb", ngram_range=(shortest, longest), **shared),
    }


def tfidf(texts: Texts, rows: np.ndarray, vectorizers: dict[str, TfidfVectorizer]) -> csr_array:
    """(len(rows), n-grams) float32 of fitted vectorizers."""
    return csr_array(hstack([v.transform(getattr(texts, part)[rows]) for part, v in vectorizers.items()]))
