"""TF-IDF of n-grams, against scikit-learn's vectorizers."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfVectorizer

from components.modeling.text.ngrams import TOKEN, NgramSettings, Texts, fit_vectorizers, tfidf

TITLES = [
    "Été\u2028à l'œil ½ kg de pommes",
    "Pommes  de terre, 1 kg",
    "a b a b a b",
    "",
    "日本語 pommes",
    "ÉTÉ ᵀshirt x",
    "tshirt été à pois " + "pois " * 80,
]
TABLE = pd.DataFrame({"title": TITLES, "description": ["", "kg", "ba", "", "été", "", "à"]})
SHARED = {"sublinear_tf": True, "strip_accents": "unicode", "dtype": np.float32}
FIT, REST = np.array([0, 1, 2, 4, 6]), np.array([3, 5, 0])


def expected(part: str, least: int) -> TfidfVectorizer:
    """What scikit-learn has for a part."""
    if part == "words":
        return TfidfVectorizer(ngram_range=(1, 2), token_pattern=TOKEN, min_df=least, **SHARED)
    return TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=least, **SHARED)


@pytest.mark.parametrize("part", ["words", "chars"])
@pytest.mark.parametrize("least", [1, 2])
def test_ngrams_and_weights_are_those_of_scikit_learn(part: str, least: int):
    texts = Texts(TABLE, NgramSettings("tfidf", min_products=least))
    fitted, _ = fit_vectorizers(texts, FIT)
    documents = np.array([f"{title} {text}" for title, text in TABLE.itertuples(index=False)], dtype=object)
    if part == "chars":
        documents = np.array([text[:300] for text in documents], dtype=object)
    sklearn = expected(part, least).fit(documents[FIT])
    assert list(fitted[part].vocabulary) == sklearn.get_feature_names_out().tolist()
    found = tfidf(texts, REST, {part: fitted[part]})
    assert found.toarray() == pytest.approx(csr_array(sklearn.transform(documents[REST])).toarray(), abs=1e-6)


def test_ngrams_of_other_texts_count_for_nothing():
    alone, among = (Texts(TABLE.iloc[rows], NgramSettings("tfidf")) for rows in (FIT, np.arange(7)))
    fitted, matrix = fit_vectorizers(alone, np.arange(len(FIT)))
    assert matrix.indices.dtype == matrix.indptr.dtype == np.int32  # in 64 bits half as much memory again
    again, same = fit_vectorizers(among, FIT)
    assert {part: each.vocabulary for part, each in fitted.items()} == {
        part: each.vocabulary for part, each in again.items()
    }
    assert abs(matrix - same).nnz == 0


def test_the_most_common_are_read_where_there_are_too_many(caplog: pytest.LogCaptureFixture):
    every, few = (Texts(TABLE, NgramSettings("tfidf", min_products=1, most=most)) for most in (None, 4))
    (words, _), (fewer, matrix) = fit_vectorizers(every, np.arange(7)), fit_vectorizers(few, np.arange(7))
    assert matrix.shape == (7, 8)
    kept = [words["words"].idf[words["words"].vocabulary[ngram]] for ngram in fewer["words"].vocabulary]
    assert sorted(kept) == sorted(words["words"].idf)[:4]
    assert "the 4 most common are read" in caplog.text
