"""TF-IDF of word and character n-grams with logistic regression; not the paper's."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from components.core.configuration import setting
from components.core.kinds import Kind
from components.text.config import TextConfig


class LinearTextConfig(TextConfig):
    """TF-IDF of word and character n-grams with logistic regression; for a machine without a GPU."""

    kind: Literal["linear"] = "linear"
    word_ngrams: PositiveInt = setting(2, "longest word n-gram, over title and description", expert=True)
    char_ngrams: tuple[PositiveInt, ...] = setting(
        (2, 5), "shortest and longest character n-gram within words; none where empty", expert=True
    )
    char_limit: PositiveInt = setting(
        300, "characters of title and description that character n-grams read", expert=True
    )
    ngram_min_products: PositiveInt = setting(2, "n-grams of fewer products are left out", expert=True)
    l2: PositiveFloat = setting(0.25, "strength of the L2 penalty, 1/C of scikit-learn's", expert=True)
    features: NonNegativeInt = setting(
        128, "dimensions of the truncated SVD that feature-level fusion reads; 0 for none"
    )
    refit: bool = setting(
        False, "after validation is predicted, fit again on train and validation, for new products"
    )

    OLD_KEYS: ClassVar = TextConfig.OLD_KEYS | {
        "regularisation": "use 'l2', its inverse",
        "regularization": "use 'l2', its inverse",
        "min_products": "use 'ngram_min_products'",
    }

    def problems(self) -> Iterator[str]:
        if len(self.char_ngrams) not in (0, 2) or tuple(sorted(self.char_ngrams)) != self.char_ngrams:
            yield "char_ngrams must be [shortest, longest] or []"


KIND = Kind(
    LinearTextConfig,
    fit="components.text.linear:train_linear",
    load="components.text.linear:load_linear",
    fit_folds="components.text.linear:train_linear_folds",
    uses_gpu=False,
)
