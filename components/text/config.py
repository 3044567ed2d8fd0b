"""What can be set of a text classifier; the transformer's defaults are the paper's."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from components.core.configuration import check_rules, parse_kind

OF_SCRATCH = ("layers", "hidden", "heads", "vocabulary", "dropout")


@dataclass(frozen=True)
class TransformerConfig:
    """One transformer text configuration. Sections are those of the paper."""

    name: str
    kind: Literal["transformer"] = "transformer"
    cleaned: bool = False  # leave out what denoising removed; the paper cleans for images only (3.2.1)

    # A name on the Hugging Face hub, a folder, a URI (s3://, gs://, ...), or "scratch". 3.1.2: CamemBERT
    # base; the other of the two is almanach/camembert-large.
    weights: str = "almanach/camembert-base"
    revision: str | None = None  # of a hub name: a branch, a tag or a commit
    max_tokens: int = 128  # title and description as a text pair (3.1.2); the length is the authors'

    learning_rate: float = 3e-5  # 4.1: 3e-5 or 5e-5
    batch_size: int = 64  # 4.1: 64 or 128
    epochs: int = 40  # 4.1
    warmup: float = 0.1  # share of the steps; 4.1 has a warmup period and a linear decrease, the authors 10 %
    weight_decay: float = 0.01  # not in the paper: AdamW's usual value; biases and norms are spared
    max_grad_norm: float = 1.0  # not in the paper: BERT's usual clipping; 0 turns it off

    # Of a CamemBERT from scratch, for weights = "scratch" alone (not in the paper: for a laptop).
    layers: int = 4
    hidden: int = 128
    heads: int = 4
    vocabulary: int = 8000
    dropout: float = 0.1

    late_checkpoints: int = 0  # the last epochs as further classifiers (3.4)
    patience: int | None = None  # stop after so many epochs without a better validation macro-F1
    label_smoothing: float = 0.0
    ema: float = 0.0  # decay of an exponential moving average of the weights, which then is what predicts
    layer_decay: float = 1.0  # each layer below the head learns at this fraction of the one above
    class_weights: bool = False  # weigh the loss by the inverse of the class frequencies

    accumulation: int = 1  # split a batch into so many passes, where memory is short
    compile: bool = False  # torch.compile, on GPUs
    checkpoint_minutes: float = 10.0

    def __post_init__(self) -> None:
        at_least_one = ("batch_size", "epochs", "layers", "hidden", "heads", "accumulation")
        usual = {field.name: field.default for field in dataclasses.fields(self)}
        rules = {
            **{f"{name} must be at least 1": getattr(self, name) >= 1 for name in at_least_one},
            "max_tokens must be at least 8": self.max_tokens >= 8,
            "learning_rate must be above 0": self.learning_rate > 0,
            "warmup must be within 0 and 1": 0 <= self.warmup <= 1,
            "weight_decay must not be negative": self.weight_decay >= 0,
            "max_grad_norm must not be negative": self.max_grad_norm >= 0,
            "hidden must be a multiple of heads": self.hidden % max(self.heads, 1) == 0,
            "vocabulary must be at least 300": self.vocabulary >= 300,
            "dropout must be at least 0 and below 1": 0 <= self.dropout < 1,
            f"{', '.join(OF_SCRATCH)} come with the weights: set them with weights = 'scratch' only": (
                self.weights == "scratch" or all(getattr(self, key) == usual[key] for key in OF_SCRATCH)
            ),
            "late_checkpoints must be within 0 and epochs - 1": 0 <= self.late_checkpoints < self.epochs,
            "patience must be at least 1": self.patience is None or self.patience >= 1,
            "label_smoothing must be at least 0 and below 1": 0 <= self.label_smoothing < 1,
            "ema must be at least 0 and below 1": 0 <= self.ema < 1,
            "layer_decay must be above 0 and at most 1": 0 < self.layer_decay <= 1,
            "checkpoint_minutes must not be negative": self.checkpoint_minutes >= 0,
        }
        check_rules(rules)


@dataclass(frozen=True)
class LinearConfig:
    """The linear classifier's settings.

    Attributes:
        name: unique name.
        cleaned: train without the products that denoising removed.
        word_ngrams: longest word n-gram, over title and description.
        char_ngrams: shortest and longest character n-gram within words; none where empty.
        char_limit: characters of title and description that character n-grams read.
        min_products: n-grams of fewer products are left out.
        regularization: inverse strength C of the L2 penalty.
        features: dimensions of the truncated SVD; 0 for none.
        refit: after validation is predicted, fit again on train and validation for the test split.
    """

    name: str
    kind: Literal["linear"] = "linear"
    cleaned: bool = False
    word_ngrams: int = 2
    char_ngrams: tuple[int, ...] = (2, 5)
    char_limit: int = 300
    min_products: int = 2
    regularization: float = 4.0
    features: int = 128
    refit: bool = False

    def __post_init__(self) -> None:
        ends = self.char_ngrams
        rules = {
            "char_ngrams must be [shortest, longest], from 1 on, or []": (
                not ends or (len(ends) == 2 and 1 <= ends[0] <= ends[1])
            ),
            "word_ngrams must be at least 1": self.word_ngrams >= 1,
            "char_limit must be at least 1": self.char_limit >= 1,
            "min_products must be at least 1": self.min_products >= 1,
            "regularization must be above 0": self.regularization > 0,
            "features must not be negative": self.features >= 0,
        }
        check_rules(rules)


KINDS: dict[str, type] = {"transformer": TransformerConfig, "linear": LinearConfig}


def parse_text_config(values: Mapping[str, Any]) -> TransformerConfig | LinearConfig:
    """Makes a configuration of one item of the text configurations.

    Raises:
        InputError: an unknown kind or key, or a wrong value.
    """
    where = f"text configuration {values.get('name', '')!r}"
    return parse_kind(KINDS, values, default="transformer", where=where)
