"""Fusion configurations: the paper's two nets, three votes beside them, and the feature-level baselines."""

from dataclasses import dataclass
from typing import Any, Literal

from components.core.configuration import parse_kind
from components.core.errors import InputError


@dataclass(frozen=True)
class DecisionConfig:
    """What all decision-level fusions share (paper, section 3.3.2).

    Attributes:
        name: names the members, as in "linear(camembert-base, resnet152)"; unique within a run.
        inputs: "pair" makes a member of every text with every image classifier (section 3.4); "all" makes
            one member that reads every classifier.
    """

    name: str
    inputs: Literal["pair", "all"] = "pair"


@dataclass(frozen=True)
class LinearConfig(DecisionConfig):
    """One linear layer over all class probabilities (sections 3.3.2 and 4.1).

    Attributes:
        learning_rate: Adam's (section 4.1).
        epochs: of training; the best on the held-out fold is kept (section 4.1).
        batch_size: rows a step; the paper does not name it, this is its text classifier's (section 4.1).
    """

    kind: Literal["linear"] = "linear"
    learning_rate: float = 0.01
    epochs: int = 40
    batch_size: int = 64

    def __post_init__(self) -> None:
        if self.learning_rate <= 0 or self.epochs < 1 or self.batch_size < 1:
            raise ValueError("learning_rate must be above 0, epochs and batch_size at least 1")


@dataclass(frozen=True)
class MlpConfig(LinearConfig):
    """Two layers; `hidden` is the size between them (section 4.1)."""

    kind: Literal["mlp"] = "mlp"  # type: ignore[assignment]
    hidden: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden < 1:
            raise ValueError("hidden must be at least 1")


@dataclass(frozen=True)
class LogisticConfig(DecisionConfig):
    """Regularised logistic regression on log-probabilities; not the paper's.

    The ridge and the smallest probability with the least out-of-fold log-loss are taken; the weighted
    product of the inputs is always among the candidates.

    Attributes:
        strengths: of the ridge, in rows (1/C of scikit-learn's); see `logistic.Candidate`.
        smallest: probabilities below it count as this. A calm classifier's tails are noise; one that is
            sure of nearly every row says something with them only.
    """

    kind: Literal["logistic"] = "logistic"
    strengths: tuple[float, ...] = (1000.0, 300.0, 100.0, 30.0)
    smallest: tuple[float, ...] = (1e-5, 1e-8)

    def __post_init__(self) -> None:
        if not self.strengths or min(self.strengths) <= 0:
            raise ValueError("strengths must be numbers above 0")
        if not self.smallest or not 0 < min(self.smallest) <= max(self.smallest) < 0.1:
            raise ValueError("smallest must be probabilities above 0 and below 0.1")


@dataclass(frozen=True)
class MeanConfig(DecisionConfig):
    """The weighted mean of the inputs, its weights found out of fold; not the paper's."""

    kind: Literal["mean"] = "mean"


@dataclass(frozen=True)
class ProductConfig(DecisionConfig):
    """The product of what the inputs say beyond the class frequencies; not the paper's.

    Attributes:
        balance: 0 fits the inputs' exponents with every row counting alike; 1 every class, as in macro-F1.
            An input that already favors rare classes (an image network's `balance`) wants 0.
    """

    kind: Literal["product"] = "product"
    balance: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.balance <= 1:
            raise ValueError("balance must be within 0 and 1")


@dataclass(frozen=True)
class ConcatConfig:
    """A linear classifier on the pooled features of both backbones, concatenated (section 3.3.1).

    The paper gives no settings for it.

    Attributes:
        name: unique within a run.
        training: "step_by_step" leaves the backbones as they are and reads their features; "end_to_end"
            trains them on, jointly with the classifier: work for a GPU.
        learning_rate: AdamW's.
        backbone_learning_rate: that of the backbones, end to end: the text classifier's (section 4.1).
        weight_decay: AdamW's.
        epochs: passes over the training products; the last is taken.
        batch_size: products a step.
        dropout: share of the joint features dropped while training.
    """

    name: str
    kind: Literal["concat"] = "concat"
    training: Literal["step_by_step", "end_to_end"] = "step_by_step"
    learning_rate: float = 1e-3
    backbone_learning_rate: float = 3e-5
    weight_decay: float = 0.01
    epochs: int = 20
    batch_size: int = 64
    dropout: float = 0.2

    def __post_init__(self) -> None:
        if min(self.learning_rate, self.backbone_learning_rate) <= 0 or self.weight_decay < 0:
            raise ValueError("learning rates must be above 0, weight_decay at least 0")
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError("epochs and batch_size must be at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError("dropout must be at least 0 and below 1")


@dataclass(frozen=True)
class ProjectedConfig(ConcatConfig):
    """Features projected to one size, then summed or weighed by attention (section 3.3.1)."""

    kind: Literal["sum", "attention"] = "sum"  # type: ignore[assignment]
    size: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < 1:
            raise ValueError("size must be at least 1")


@dataclass(frozen=True)
class LightConfig:
    """One small net on the n-grams of a product's texts and the colors of its image; not the paper's.

    Feature-level fusion trained end to end (section 3.3.1) for those who have no GPU.

    Attributes:
        name: unique within a run.
        cleaned: train without the products that denoising removed.
        word_ngrams: longest word n-gram, over title and description.
        char_ngrams: shortest and longest character n-gram within words; none where empty.
        char_limit: characters of title and description that character n-grams read.
        min_products: n-grams of fewer products are left out.
        least: with fewer products to train on, the net learns them by heart and is left out.
        hidden: units that read the n-grams, and as many that read the colors.
        dropout: share of a text's n-grams, and of the units, that is dropped while training.
        epochs: passes over the products; the last is taken.
        min_steps: a small catalog gets as many epochs as these optimizer steps take.
        batch_size: products a step.
        learning_rate: AdamW's at its highest, in one cycle.
        weight_decay: AdamW's.
        refit: after validation is predicted, train again on train and validation for the test split.
    """

    name: str
    kind: Literal["light"] = "light"
    cleaned: bool = False
    word_ngrams: int = 2
    char_ngrams: tuple[int, ...] = (2, 5)
    char_limit: int = 300
    min_products: int = 2
    least: int = 5000
    hidden: int = 128
    dropout: float = 0.5
    epochs: int = 8
    min_steps: int = 1000
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    refit: bool = False

    def __post_init__(self) -> None:
        if len(self.char_ngrams) not in (0, 2):
            raise ValueError(f"char_ngrams = {list(self.char_ngrams)}: expected [shortest, longest] or []")
        if min(self.word_ngrams, self.min_products, self.hidden, self.epochs, self.batch_size) < 1:
            raise ValueError("word_ngrams, min_products, hidden, epochs and batch_size must be at least 1")
        if self.learning_rate <= 0 or self.weight_decay < 0 or not 0 <= self.dropout < 1:
            raise ValueError("learning_rate must be above 0, weight_decay at least 0, dropout within 0 and 1")


FeatureLevelConfig = ConcatConfig | ProjectedConfig | LightConfig
FusionConfig = LinearConfig | MlpConfig | LogisticConfig | MeanConfig | ProductConfig | FeatureLevelConfig
KINDS: dict[str, type] = {
    "linear": LinearConfig,
    "mlp": MlpConfig,
    "logistic": LogisticConfig,
    "mean": MeanConfig,
    "product": ProductConfig,
    "concat": ConcatConfig,
    "sum": ProjectedConfig,
    "attention": ProjectedConfig,
    "light": LightConfig,
}


def parse_fusion_configs(configs: list[dict[str, Any]]) -> list[FusionConfig]:
    """Makes configurations of what a run's form or a preset gives.

    Raises:
        InputError: no configuration, an unknown kind or key, a wrong value, a classifier named twice.
    """
    parsed = [
        parse_kind(KINDS, values, where=f"fusion configuration {i}")
        for i, values in enumerate(configs, start=1)
    ]
    names = [config.name for config in parsed]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"fusion configurations: classifier {', '.join(twice)} is named twice; every name once"
        )
    if not any(isinstance(config, DecisionConfig) for config in parsed):
        raise InputError(
            "fusion configurations: none is of a decision-level kind (linear, mlp, logistic, mean, product)"
        )
    return parsed
