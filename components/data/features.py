"""Pooled features of every product, for feature-level fusion (paper, section 3.3.1)."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.core.artifacts import whole_file
from components.core.errors import InputError
from components.data.alignment import rows_of


@dataclass(frozen=True)
class Features:
    """Features of some products.

    Attributes:
        name: the classifier they come from.
        ids: (N,) product ids.
        values: (N, D) float32.
    """

    name: str
    ids: np.ndarray
    values: np.ndarray

    def aligned(self, ids: np.ndarray) -> np.ndarray:
        """The rows of `ids`, in that order: (len(ids), D) float32.

        Raises:
            InputError: an id has no row here.
        """
        return self.values[rows_of(self.ids, ids, what="features", where=f"classifier {self.name}")]


def write_features(path: Path, features: Features) -> None:
    """Writes features as one `.npz`, whole or not at all.

    Raises:
        InputError: shapes disagree, or a value is not finite.
    """
    if features.values.ndim != 2 or len(features.ids) != len(features.values):
        raise InputError(f"{path}: {len(features.ids)} ids but features of shape {features.values.shape}")
    if not np.isfinite(features.values).all():
        raise InputError(f"{path}: features of classifier {features.name} hold NaN or infinity")
    with whole_file(path) as temporary, temporary.open("wb") as file:
        ids = np.array(features.ids.tolist(), dtype=str)
        np.savez(file, name=features.name, ids=ids, features=features.values.astype(np.float32))


def read_features(path: Path) -> Features:
    """Reads what `write_features` wrote.

    Raises:
        InputError: not such a file.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return Features(str(file["name"]), file["ids"].astype(object), file["features"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a features file: {error}") from error
