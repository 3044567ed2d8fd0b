"""How far a stage's training has come, in memory and in a checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

Kept = dict[str, dict[str, np.ndarray]]  # checkpoint -> split -> (rows, C) probabilities


@dataclass
class Progress:
    """What a checkpoint holds besides weights and optimizer.

    Attributes:
        step: optimizer steps taken.
        losses: of the epoch under way.
        seconds: that the epoch under way took before this attempt.
        curves: one mapping for every epoch that is trained and predicted.
        kept: probabilities of the late epochs and the last.
    """

    step: int = 0
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    curves: list[dict[str, float]] = field(default_factory=list)
    kept: Kept = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        """The probabilities, as `kept.<checkpoint>.<split>`."""
        return {
            f"kept.{name}.{split}": torch.from_numpy(probs)
            for name, splits in self.kept.items()
            for split, probs in splits.items()
        }

    def state(self) -> dict[str, Any]:
        """The rest, as JSON holds it."""
        counts = {name: getattr(self, name) for name in ("step", "losses", "seconds", "curves")}
        return {**counts, "kept": {name: list(splits) for name, splits in self.kept.items()}}

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> "Progress":
        """From what `tensors` and `state` gave, among a checkpoint's other tensors."""
        kept = {
            name: {split: tensors[f"kept.{name}.{split}"].numpy() for split in splits}
            for name, splits in state["kept"].items()
        }
        return cls(**{**state, "kept": kept})
