"""What can be set of denoising; the defaults are the paper's."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class DenoiseConfig:
    """How many label issues are removed from train.

    Attributes:
        share: share of `share_of` that is removed, worst first; paper, 3.2.1: "the top 10% noisy samples".
        share_of: "flagged": of the rows that cleanlab flags (the paper's 2,120 are 10 % of the 21,200
            flagged); "train": of all train rows.
        count: remove this many instead, where above 0.
        filter_by: cleanlab's rule for flagging.
        rank: cleanlab's score by which the flagged are ordered; paper, 3.2.1: normalized margin.
    """

    share: float = 0.1
    share_of: Literal["flagged", "train"] = "flagged"
    count: int = 0
    filter_by: Literal[
        "prune_by_noise_rate",
        "prune_by_class",
        "both",
        "confident_learning",
        "low_normalized_margin",
        "low_self_confidence",
    ] = "prune_by_noise_rate"
    rank: Literal["normalized_margin", "self_confidence", "confidence_weighted_entropy"] = "normalized_margin"

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share = {self.share}: expected between 0 and 1")
        if self.count < 0:
            raise ValueError(f"count = {self.count}: expected 0 or more")
