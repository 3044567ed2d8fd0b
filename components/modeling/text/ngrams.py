"""TF-IDF of word and character n-grams, as the light classifiers read texts."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_array, hstack
from sklearn.feature_extraction.text import CountVectorizer

from components.core.errors import InputError

log = logging.getLogger(__name__)

NAMES = {"words": "words", "chars": "character n-grams"}
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
        most: so many of words and as many of characters at most, the most common; None for all.
    """

    name: str
    word_ngrams: int = 2
    char_ngrams: tuple[int, ...] = (2, 5)
    char_limit: int = 300
    min_products: int = 2
    most: int | None = None


@dataclass(frozen=True)
class Counts:
    """How often each n-gram is in each text.

    Attributes:
        matrix: (texts, n-grams) float32.
        ngrams: (n-grams,) strings.
    """

    matrix: csr_array
    ngrams: np.ndarray


class Texts:
    """The texts of every product of a table, whose n-grams are counted once however many fits read them."""

    def __init__(self, table: pd.DataFrame, settings: NgramSettings) -> None:
        self.settings = settings
        pairs = zip(table["title"], table["description"], strict=True)
        self._texts = [f"{title} {description}" for title, description in pairs]

    def __len__(self) -> int:
        return len(self._texts)

    @cached_property
    def counts(self) -> dict[str, Counts]:
        """Of words, and of characters where the settings read them."""
        settings = self.settings
        counts = {"words": _count_words(self._texts, settings.word_ngrams)}
        if settings.char_ngrams:
            shortest, longest = settings.char_ngrams
            shown = [text[: settings.char_limit] for text in self._texts]
            counts["chars"] = _count_characters(shown, shortest, longest)
        return counts


class Vectorizer:
    """TF-IDF of the n-grams that were learned, as scikit-learn has it with a sublinear frequency.

    Attributes:
        vocabulary: n-gram -> its column.
        idf: (n-grams,) float32, smooth inverse document frequencies.
    """

    def __init__(self, ngrams: Sequence[str], idf: np.ndarray) -> None:
        self.vocabulary = {ngram: column for column, ngram in enumerate(ngrams)}
        self.idf = idf

    def __len__(self) -> int:
        return len(self.idf)

    def transform(self, counts: Counts, rows: np.ndarray) -> csr_array:
        """(len(rows), n-grams) float32, each row of length 1, or empty."""
        columns = np.array([self.vocabulary.get(ngram, -1) for ngram in counts.ngrams], np.int32)
        found = counts.matrix[rows]
        indices = columns[found.indices] if len(columns) else found.indices
        known = indices >= 0
        indices = indices[known]
        weights = (1 + np.log(found.data[known])) * self.idf[indices]
        ends = _small(np.concatenate([[0], np.cumsum(known)])[found.indptr])
        of_row = np.repeat(np.arange(len(rows)), np.diff(ends))
        lengths = np.sqrt(np.bincount(of_row, weights=weights**2, minlength=len(rows))).astype(np.float32)
        return csr_array((weights / lengths[of_row], indices, ends), shape=(len(rows), len(self)))


def fit_vectorizers(texts: Texts, rows: np.ndarray) -> tuple[dict[str, Vectorizer], csr_array]:
    """Learns the n-grams of `rows`; words or characters of which none is common enough are left out.

    Returns:
        The fitted vectorizers, and (len(rows), n-grams) float32 of `rows`.

    Raises:
        InputError: no n-gram is in as many products as the settings ask for.
    """
    settings, fitted = texts.settings, {}
    for part, counts in texts.counts.items():
        if len(vectorizer := _fit(counts, rows, settings)):
            fitted[part] = vectorizer
        else:
            log.warning("%s: no %s are common enough to learn from", settings.name, NAMES[part])
    if not fitted:
        raise InputError(
            f"classifier {settings.name}: nothing to learn from titles and descriptions: no word is in "
            f"{settings.min_products} of the {len(rows):,} products to train on. "
            "Are the text columns the right ones? Else lower ngram_min_products, or leave this classifier out"
        )
    return fitted, tfidf(texts, rows, fitted)


def tfidf(texts: Texts, rows: np.ndarray, vectorizers: Mapping[str, Vectorizer]) -> csr_array:
    """(len(rows), n-grams) float32 of fitted vectorizers."""
    return csr_array(hstack([v.transform(texts.counts[part], rows) for part, v in vectorizers.items()]))


def ngram_tensors(vectorizers: Mapping[str, Vectorizer]) -> dict[str, torch.Tensor]:
    """What fitted vectorizers have learned, by name: n-grams, one a line in UTF-8, and their idf."""
    tensors = {}
    for part, vectorizer in vectorizers.items():
        lines = "\n".join(vectorizer.vocabulary).encode()
        tensors[f"{part}.ngrams"] = torch.frombuffer(bytearray(lines), dtype=torch.uint8)
        tensors[f"{part}.idf"] = torch.from_numpy(vectorizer.idf)
    return tensors


def restored_vectorizers(tensors: Mapping[str, torch.Tensor]) -> dict[str, Vectorizer]:
    """The vectorizers whose `ngram_tensors` these are: their matrices are equal."""
    restored = {}
    for part in NAMES:
        if f"{part}.ngrams" in tensors:
            lines = tensors[f"{part}.ngrams"].numpy().tobytes().decode()
            restored[part] = Vectorizer(lines.split("\n"), tensors[f"{part}.idf"].numpy())
    return restored


def _fit(counts: Counts, rows: np.ndarray, settings: NgramSettings) -> Vectorizer:
    in_products = np.bincount(counts.matrix[rows].indices, minlength=len(counts.ngrams))
    kept = np.flatnonzero(in_products >= settings.min_products)
    if settings.most is not None and len(kept) > settings.most:
        log.warning("%s: of %s n-grams the %s most common are read", settings.name, len(kept), settings.most)
        kept = np.sort(kept[np.argsort(-in_products[kept], kind="stable")[: settings.most]])
    idf = np.log((1 + len(rows)) / (1 + in_products[kept])) + 1
    return Vectorizer(counts.ngrams[kept].tolist(), idf.astype(np.float32))


def _count_words(texts: Sequence[str], longest: int) -> Counts:
    return _count(texts, ngram_range=(1, longest), token_pattern=TOKEN, strip_accents="unicode")


def _count_characters(texts: Sequence[str], shortest: int, longest: int) -> Counts:
    """As scikit-learn's `char_wb` counts them, but once for each word however many texts have it."""
    simplified = CountVectorizer(strip_accents="unicode").build_preprocessor()
    split = [simplified(text).split() for text in texts]
    words: dict[str, int] = {}
    numbers = [words.setdefault(word, len(words)) for of_text in split for word in of_text]
    ends = _small(np.cumsum([0, *map(len, split)]))
    shape, columns = (len(texts), len(words)), np.array(numbers, ends.dtype)
    in_texts = csr_array((np.ones(len(numbers), np.float32), columns, ends), shape=shape)
    of_words = _count(list(words), analyzer="char_wb", ngram_range=(shortest, longest), lowercase=False)
    return Counts(_sorted(in_texts @ of_words.matrix), of_words.ngrams)


def _small(ends: np.ndarray) -> np.ndarray:
    """Where rows end, in 32 bits if they can: scipy has all indices of a matrix in the type of these."""
    return ends.astype(np.int32 if ends[-1] < 2**31 else np.int64)


def _count(texts: Sequence[str], **settings: Any) -> Counts:
    vectorizer = CountVectorizer(**settings, dtype=np.float32)  # type: ignore[arg-type]
    try:
        matrix = vectorizer.fit_transform(texts)
    except ValueError as error:
        if "empty vocabulary" not in str(error):
            raise
        return Counts(csr_array(np.zeros((len(texts), 0), np.float32)), np.array([], object))
    return Counts(_sorted(matrix), vectorizer.get_feature_names_out())


def _sorted(matrix: Any) -> csr_array:
    # The sums over a row then go the same way, whichever texts were counted beside it.
    found = csr_array(matrix)
    found.sort_indices()
    return found
