"""What can be set of denoising; the defaults are the paper's."""

from functools import partial
from typing import ClassVar, Literal

from components.core.configuration import MANY_CLASSES, Config, Share, parse_config, setting

MARGIN = "low_normalized_margin"


class DenoiseConfig(Config):
    """Which label issues are flagged, and how many of them are removed from train."""

    share: Share = setting(
        0.1,
        'share of the flagged products that is removed, worst first: "the top 10% noisy samples"',
        paper="3.2.1",
    )
    filter_by: Literal[
        "prune_by_noise_rate",
        "prune_by_class",
        "both",
        "confident_learning",
        "low_normalized_margin",
        "low_self_confidence",
    ] = setting(
        "prune_by_noise_rate",
        f"cleanlab's rule for flagging; with more than {MANY_CLASSES} classes, of which the most probable "
        f"are kept alone, it is {MARGIN}",
    )
    rank: Literal["normalized_margin", "self_confidence", "confidence_weighted_entropy"] = setting(
        "normalized_margin", "cleanlab's score that orders the flagged", paper="3.2.1"
    )

    byte_order_mark: bool = setting(
        False, "start label_issues.tsv with a byte order mark, by which Excel knows UTF-8"
    )

    OLD_KEYS: ClassVar = {
        "count": "set share",
        "share_of": "share is of the flagged products",
    }


# The pipeline's parameters that this stage reads, and what makes of each what the stage takes.
PARAMETERS = {"denoise_config": partial(parse_config, DenoiseConfig, where="denoise configuration")}
