"""A pretrained encoder as it is, and a classifier on its features; not the paper's."""

from typing import Annotated, Literal

from pydantic import Field

from components.core.configuration import setting
from components.core.kinds import Kind
from components.modeling.feature_config import FeatureClassifierConfig
from components.text.config import TextConfig


class FrozenTextConfig(FeatureClassifierConfig, TextConfig):
    """A pretrained encoder that is not trained: features once a text, then a classifier on them."""

    kind: Literal["frozen"] = "frozen"
    weights: str = setting(
        "sentence-transformers/all-MiniLM-L6-v2",
        "a name on the Hugging Face hub, a folder or a URI (s3://, gs://, ...); pooled as 1_Pooling says, "
        "else by the mean over tokens",
    )
    revision: str = setting("", "of a hub name: a branch, a tag or a commit", expert=True)
    max_tokens: Annotated[int, Field(ge=8)] = setting(128, "longest text pair of title and description")


KIND = Kind(
    FrozenTextConfig,
    fit="components.text.frozen:train_frozen",
    load="components.text.frozen:load_frozen",
    uses_gpu=lambda config: config.accelerator == "auto",
)
