"""Pooled features of every product, for feature-level fusion (paper, section 3.3.1)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.core.artifacts import read_manifest, whole_file, write_manifest
from components.core.errors import InputError
from components.data.alignment import rows_of
from components.data.arrays import read_arrays

FEATURES = "features.npz"
# In a text classifier's folder: what makes its features, which its probabilities do without.
SVD = "svd.safetensors"


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


def write_features(folder: Path, features: Features) -> None:
    """Writes features as one `.npz` into a folder, the manifest last.

    Raises:
        InputError: shapes disagree, or a value is not finite.
    """
    if features.values.ndim != 2 or len(features.ids) != len(features.values):
        raise InputError(f"{folder}: {len(features.ids)} ids but features of shape {features.values.shape}")
    if not np.isfinite(features.values).all():
        raise InputError(f"{folder}: features of classifier {features.name} hold NaN or infinity")
    with whole_file(folder / FEATURES) as temporary, temporary.open("wb") as file:
        ids = np.array(features.ids.tolist(), dtype=str)
        np.savez(file, ids=ids, features=features.values.astype(np.float32))
    write_manifest(folder, name=features.name)


def read_features(folder: Path) -> Features:
    """Reads what `write_features` wrote.

    Raises:
        InputError: the folder holds no features, or damaged ones.
    """
    manifest = read_manifest(folder)
    ids, values = read_arrays(folder / FEATURES, ("ids", "features"), what="a features file")
    return Features(manifest["name"], ids.astype(object), values)
