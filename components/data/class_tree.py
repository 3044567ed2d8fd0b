"""The tree that classes stand in: nodes are names under names, and a class is one of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

PATHS = "class_paths"  # in a catalog's metadata and a model's description: code -> names from the top down
SEPARATOR = " > "  # between the names of a path, where it is shown

Path = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Level:
    """The classes merged at one depth of the tree; one that stands higher stands for itself.

    Attributes:
        depth: 1 at the top.
        paths: of each of the M nodes, in alphabetical order.
        node_of: (C,) int64, the node of each class.
    """

    depth: int
    paths: list[Path]
    node_of: np.ndarray

    def summed(self, pred_probs: np.ndarray) -> np.ndarray:
        """(N, C) probabilities of the classes -> (N, M) of the nodes, in the same type."""
        order = np.argsort(self.node_of, kind="stable")
        starts = np.searchsorted(self.node_of[order], np.arange(len(self.paths)))
        summed = np.add.reduceat(pred_probs[:, order], starts, axis=1, dtype=np.float64)
        return summed.astype(pred_probs.dtype)


@dataclass(frozen=True, eq=False)
class ClassTree:
    """Where each class stands; the same name under two parents is two nodes.

    Attributes:
        paths: (C,) of each class the names from the top down to its own; no two are the same.
    """

    paths: tuple[Path, ...]

    @property
    def depth(self) -> int:
        """Of the deepest class."""
        return max(map(len, self.paths))

    @cached_property
    def levels(self) -> list[Level]:
        """Every level from the top; the last one has every class by itself."""
        return [self._level(depth) for depth in range(1, self.depth + 1)]

    def _level(self, depth: int) -> Level:
        cut = [path[:depth] for path in self.paths]
        paths = sorted(set(cut))
        number = {path: at for at, path in enumerate(paths)}
        return Level(depth, paths, np.array([number[path] for path in cut], np.int64))


def tree_of(classes: Sequence[str], metadata: Mapping[str, Any]) -> ClassTree | None:
    """The tree of a catalog's or a model's classes; None where none of them has a parent but the root.

    Names that all classes begin with are the root's, and left out. A class that the file of classes does not
    name stands at the top, by its code. Two codes of one name under the same parent are named with the code.

    Args:
        classes: (C,) codes.
        metadata: with `class_paths`, where there is a tree, and `class_names`.
    """
    paths, names = metadata.get(PATHS, {}), metadata.get("class_names", {})
    own = _without_root([tuple(paths.get(code) or (names.get(code) or code,)) for code in classes])
    if all(len(path) == 1 for path in own):
        return None
    times = Counter(own)
    apart = [
        path if times[path] == 1 else (*path[:-1], f"{path[-1]} ({code})")
        for path, code in zip(own, classes, strict=True)
    ]
    return ClassTree(tuple(apart))


def _without_root(paths: list[Path]) -> list[Path]:
    while len({path[0] for path in paths}) == 1 and min(map(len, paths)) > 1:
        paths = [path[1:] for path in paths]
    return paths
