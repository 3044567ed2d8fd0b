"""A transformer on title and description: the paper's text classifier."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from components.core.configuration import Accelerator, Share, ShareBelowOne, setting
from components.core.kinds import Kind
from components.text.config import TextConfig

OF_SCRATCH = ("layers", "hidden", "heads", "vocabulary", "dropout")


class TransformerConfig(TextConfig):
    """A pretrained encoder, or a small one from scratch, fine-tuned on title and description."""

    kind: Literal["transformer"] = "transformer"
    weights: str = setting(
        "almanach/camembert-base",
        'a name on the Hugging Face hub, a folder, a URI (s3://, gs://, ...), or "scratch"; the other of '
        "the paper's is almanach/camembert-large",
        paper="3.1.2",
    )
    revision: str = setting("", "of a hub name: a branch, a tag or a commit", expert=True)
    max_tokens: Annotated[int, Field(ge=8)] = setting(
        128, "longest text pair of title and description; the length is the authors'", paper="3.1.2"
    )
    learning_rate: PositiveFloat = setting(
        3e-5, "AdamW's at its highest; 3e-5 or 5e-5 in the paper", paper="4.1"
    )
    batch_size: PositiveInt = setting(64, "products a step; 64 or 128 in the paper", paper="4.1")
    epochs: PositiveInt = setting(
        40, "passes over the products; the best on validation is chosen", paper="4.1"
    )
    warmup: Share = setting(
        0.1,
        "share of the steps in which the learning rate rises; then it falls to 0",
        paper="4.1",
        expert=True,
    )
    weight_decay: NonNegativeFloat = setting(0.01, "AdamW's; biases and norms are spared", expert=True)
    max_grad_norm: NonNegativeFloat = setting(
        1.0, "gradients are clipped to this norm; 0: never", expert=True
    )
    layers: PositiveInt = setting(4, "of an encoder from scratch")
    hidden: PositiveInt = setting(128, "of an encoder from scratch: its width")
    heads: PositiveInt = setting(4, "of an encoder from scratch: attention heads")
    vocabulary: Annotated[int, Field(ge=300)] = setting(8000, "of an encoder from scratch: tokens")
    dropout: ShareBelowOne = setting(0.1, "of an encoder from scratch")
    late_checkpoints: NonNegativeInt = setting(
        0, "so many of the last epochs are further classifiers", paper="3.4"
    )
    label_smoothing: ShareBelowOne = setting(
        0.0, "share of a label that is spread over all classes", expert=True
    )
    ema: ShareBelowOne = setting(
        0.0, "decay of an exponential moving average of the weights, which then is what predicts", expert=True
    )
    layer_decay: Annotated[float, Field(gt=0, le=1)] = setting(
        1.0, "each layer below the head learns at this fraction of the one above", expert=True
    )
    class_weights: bool = setting(
        False, "weigh the loss by the inverse of the class frequencies", expert=True
    )
    accelerator: Accelerator = setting("auto", '"auto": a GPU where there is one; "cpu": never one')
    accumulation: PositiveInt = setting(1, "passes that a batch is split into, where memory is short")
    checkpoint_minutes: NonNegativeFloat = setting(
        10.0, "minutes from one checkpoint to the next", expert=True
    )

    OLD_KEYS: ClassVar = TextConfig.OLD_KEYS | {
        "patience": "all epochs are trained, and the best is chosen",
        "compile": "the step is captured as CUDA graphs where it can be",
    }

    def problems(self) -> Iterator[str]:
        if self.hidden % self.heads:
            yield "hidden must be a multiple of heads"
        usual = {key: type(self).model_fields[key].default for key in OF_SCRATCH}
        if self.weights != "scratch" and any(getattr(self, key) != usual[key] for key in OF_SCRATCH):
            yield f"{', '.join(OF_SCRATCH)} come with the weights: set them with weights = 'scratch' only"
        if self.late_checkpoints >= self.epochs:
            yield "late_checkpoints must be below epochs"


KIND = Kind(
    TransformerConfig,
    fit="components.text.transformer:train_transformer",
    load="components.text.transformer:load_transformer",
    uses_gpu=lambda config: config.accelerator == "auto",
)
