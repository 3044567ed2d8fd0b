"""What the kinds of image classifiers have in common, and their registry."""

from components.core.configuration import setting
from components.core.kinds import ClassifierConfig, Registry


class ImageConfig(ClassifierConfig):
    """What every image configuration sets."""

    cleaned: bool = setting(False, "train without the products that denoising removed", paper="3.2.1")


IMAGE_KINDS = Registry("image", "components.image.kinds", ImageConfig, default="network")
# The pipeline's parameters that this stage reads, and what makes of each what the stage takes.
PARAMETERS = {"image_fold_config": IMAGE_KINDS.parse, "image_configs": IMAGE_KINDS.parse_all}
