"""One small net on the n-grams of a product's texts and the colors of its image; not the paper's."""

from typing import ClassVar, Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from components.core.configuration import FIXED, Accelerator, ShareBelowOne, setting
from components.core.kinds import Kind
from components.fusion.config import FeatureLevelConfig

GPU_PRODUCTS = 10_000


class NgramColorMlpConfig(FeatureLevelConfig):
    """One small net on the n-grams of a product's texts and the colors of its image.

    Feature-level fusion trained end to end (paper, section 3.3.1) for those who have no GPU.
    """

    kind: Literal["ngram_color_mlp"] = "ngram_color_mlp"
    cleaned: bool = setting(False, "train without the products that denoising removed")
    min_train_products: NonNegativeInt = setting(
        5000, "with fewer products to train on, the net learns them by heart and is left out"
    )
    hidden: PositiveInt = setting(
        128, "units that read the n-grams, and as many that read the colors", expert=True
    )
    dropout: ShareBelowOne = setting(
        0.5, "share of a text's n-grams, and of the units, that is dropped while training", expert=True
    )
    epochs: PositiveInt = setting(4, "passes over the products; the last is taken", expert=True)
    min_steps: NonNegativeInt = setting(
        400, "a small catalog gets as many epochs as these optimizer steps take", expert=True
    )
    learning_rate: PositiveFloat = setting(5e-3, "AdamW's at its highest, in one cycle", expert=True)
    accelerator: Accelerator = setting(
        "auto",
        f'"auto": a visible GPU from {GPU_PRODUCTS:,} products to train on; "cpu": never one',
        expert=True,
    )
    refit: bool = setting(
        False, "after validation is predicted, train again on train and validation, for new products"
    )

    OLD_KEYS: ClassVar = FeatureLevelConfig.OLD_KEYS | {
        "least": "use 'min_train_products'",
        **dict.fromkeys(("word_ngrams", "char_ngrams", "char_limit", "min_products"), FIXED),
        **dict.fromkeys(("batch_size", "weight_decay"), FIXED),
    }


KIND = Kind(
    NgramColorMlpConfig,
    fit="components.fusion.feature_level.ngram_color_mlp:fit_ngram_color_mlp",
    load="components.fusion.feature_level.ngram_color_mlp:load_ngram_color_mlp",
    uses_gpu=False,
    old_name="light",
)
