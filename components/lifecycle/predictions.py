"""What a model says of some products."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.data.top_classes import concatenated


@dataclass(frozen=True)
class Predictions:
    """What a model says of some products.

    Attributes:
        ids: (N,) product ids.
        codes: (N,) the predicted classes.
        names: (N,) what these are called, "" where the catalog did not say.
        pred_probs: (N, C) float32 of the vote, calibrated; of many classes `TopClasses`, here and below.
        classifiers: name -> (N, C) float32 of every text and image classifier that the vote reads.
        members: name -> (N, C) float32 of every member and feature-level classifier that votes.
        without_image: (N,) bool.
    """

    ids: np.ndarray
    codes: np.ndarray
    names: np.ndarray
    pred_probs: Any
    classifiers: dict[str, Any]
    members: dict[str, Any]
    without_image: np.ndarray


def merged(parts: Sequence[Predictions]) -> Predictions:
    """What the vote says of one table that was predicted part by part; of classifiers and members nothing."""
    flat = ("ids", "codes", "names", "pred_probs", "without_image")
    arrays: dict[str, Any] = {name: concatenated([getattr(part, name) for part in parts]) for name in flat}
    return Predictions(**arrays, classifiers={}, members={})
