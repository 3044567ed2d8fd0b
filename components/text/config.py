"""What the kinds of text classifiers have in common, and their registry."""

from components.core.configuration import setting
from components.core.kinds import ClassifierConfig, Registry


class TextConfig(ClassifierConfig):
    """What every text configuration sets."""

    cleaned: bool = setting(
        False,
        "train without the products that denoising removed; the paper cleans for images only",
        paper="3.2.1",
    )


TEXT_KINDS = Registry("text", "components.text.kinds", TextConfig, default="transformer")
# The pipeline's parameters that this stage reads, and what makes of each what the stage takes.
PARAMETERS = {"text_fold_config": TEXT_KINDS.parse, "text_configs": TEXT_KINDS.parse_all}
