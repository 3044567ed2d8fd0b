"""TF-IDF of word and character n-grams, as the light classifiers read texts."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_array, hstack
from sklearn.feature_extraction.text import TfidfVectorizer

from components.core.errors import InputError

log = logging.getLogger(__name__)

NAMES = {"words": "words", "chars": "character n-grams"}
# From scikit-learn's errors for texts without a common n-gram, and for fewer texts than `min_df`.
NO_TERMS = ("no terms remain", "empty vocabulary", "documents than min_df")
TOKEN = r"(?u)\b\w+\b"  # scikit-learn's own drops words of one letter, sizes among them


@dataclass(frozen=True)
class NgramSettings:
    """Which n-grams are read.

    Attributes:
        name: the classifier's name, for messages.
        word_ngrams: longest word n-gram, over title and description.
        char_ngrams: shortest and longest character n-gram within words; none where empty.
        char_limit: characters of title and description that character n-grams read.
        min_products: n-grams of fewer products are left out.
    """

    name: str
    word_ngrams: int = 2
    char_ngrams: tuple[int, ...] = (2, 5)
    char_limit: int = 300
    min_products: int = 2


class Texts:
    """The texts that word and character n-grams read, of every product of a table."""

    def __init__(self, table: pd.DataFrame, settings: NgramSettings) -> None:
        self.settings = settings
        pairs = zip(table["title"], table["description"], strict=True)
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


def fit_vectorizers(texts: Texts, rows: np.ndarray) -> tuple[dict[str, TfidfVectorizer], csr_array]:
    """Learns the n-grams of `rows`; words or characters of which none is common enough are left out.

    Returns:
        The fitted vectorizers, and (len(rows), n-grams) float32 of `rows`.

    Raises:
        InputError: no n-gram is in as many products as the settings ask for.
    """
    settings, fitted, matrices = texts.settings, {}, []
    for part, vectorizer in make_vectorizers(settings).items():
        try:
            matrices.append(vectorizer.fit_transform(getattr(texts, part)[rows]))
        except ValueError as error:
            if not any(reason in str(error) for reason in NO_TERMS):
                raise
            log.warning("%s: no %s are common enough to learn from", settings.name, NAMES[part])
        else:
            fitted[part] = vectorizer
    if not fitted:
        raise InputError(
            f"classifier {settings.name}: nothing to learn from titles and descriptions: no word is in "
            f"{settings.min_products} of the {len(rows):,} products to train on. "
            "Are the text columns the right ones? Else lower ngram_min_products, or leave this classifier out"
        )
    return fitted, csr_array(hstack(matrices))


def tfidf(texts: Texts, rows: np.ndarray, vectorizers: dict[str, TfidfVectorizer]) -> csr_array:
    """(len(rows), n-grams) float32 of fitted vectorizers."""
    return csr_array(hstack([v.transform(getattr(texts, part)[rows]) for part, v in vectorizers.items()]))


def ngram_tensors(vectorizers: Mapping[str, TfidfVectorizer]) -> dict[str, torch.Tensor]:
    """What fitted vectorizers have learned, by name: n-grams, one a line in UTF-8, and their idf."""
    tensors = {}
    for part, vectorizer in vectorizers.items():
        lines = "\n".join(vectorizer.get_feature_names_out()).encode()
        tensors[f"{part}.ngrams"] = torch.frombuffer(bytearray(lines), dtype=torch.uint8)
        tensors[f"{part}.idf"] = torch.from_numpy(vectorizer.idf_)
    return tensors


def restored_vectorizers(
    settings: NgramSettings, tensors: Mapping[str, torch.Tensor]
) -> dict[str, TfidfVectorizer]:
    """The vectorizers whose `ngram_tensors` these are, of the same settings: their matrices are equal."""
    restored = {}
    for part, vectorizer in make_vectorizers(settings).items():
        if f"{part}.ngrams" in tensors:
            lines = tensors[f"{part}.ngrams"].numpy().tobytes().decode()
            vectorizer.set_params(vocabulary=lines.split("\n"))
            vectorizer.idf_ = tensors[f"{part}.idf"].numpy()
            restored[part] = vectorizer
    return restored
