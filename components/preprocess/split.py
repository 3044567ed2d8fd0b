"""Splits and folds products by hash: a group stays on one side, and a product keeps its side."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import numpy as np
from scipy.sparse import csc_array, csr_array

from components.core.errors import InputError
from components.data.grouped_folds import class_counts, deal_groups

# What the share is met within: of the products from so many on, in binomial standard deviations below.
EXACT_FROM, EXACT, DEVIATIONS = 5_000, 0.009, 2.9


@dataclass(frozen=True)
class Split:
    """Which labeled products are validation.

    Attributes:
        validation: (N,) bool.
        moved: why products lie on another side than their hash says -> how many.
        not_validated: labels of the classes that have no validation product.
    """

    validation: np.ndarray
    moved: dict[str, int]
    not_validated: list[int]


def split_validation(
    ids: Sequence[str],
    labels: np.ndarray,
    groups: np.ndarray,
    share: float,
    seed: int,
    *,
    earlier: frozenset[str] = frozenset(),
    train_only: frozenset[str] = frozenset(),
) -> Split:
    """Splits labeled products 9:1 or otherwise (paper, section 4.1), duplicates on one side.

    A group is validation where the hash of the seed and its leader's id lies below `share`; the leader is
    the member whose id hashes lowest. So a product keeps its side when others come and go, in whatever order
    the rows are. Elsewhere than their hash says lie groups larger than the share, which stay in train; the
    groups of `earlier`; of a class without train or validation products the group nearest to the share; and
    where validation misses its share by a hundredth of the products (by three binomial standard deviations
    below 5,000 products) as many groups as mend it, the nearest first.

    Args:
        ids, labels, groups: (N,) of the labeled products.
        share: of the products, up to 0.5.
        earlier: ids of products that were validation in an earlier run, and stay it.
        train_only: ids of products that are train, and their groups with them, whatever `earlier` says.

    Raises:
        InputError: no group can be validation.
    """
    split = _Sides(ids, labels, groups, share, seed)
    split.keep_large_groups_in_train()
    split.keep_in_train(np.array([each in train_only for each in ids], bool))
    split.keep_validation(np.array([each in earlier for each in ids], bool))
    split.give_every_class_both_sides()
    split.meet_the_share()
    if not split.validation.any():
        raise InputError(
            f"{len(ids)} labeled products cannot be split: they are {len(split.sizes)} groups that share a "
            f"title or a picture, the largest of {split.sizes.max()}, and none of them can be validation "
            f"with validation_share {share:g}. Add products, or set a larger share."
        )
    not_validated = np.flatnonzero((split.groups_of_class > 0) & (split.validation_groups == 0))
    return Split(split.validation[split.group_of], split.moved, not_validated.tolist())


def assign_folds(
    ids: Sequence[str], labels: np.ndarray, groups: np.ndarray, folds: int, seed: int
) -> np.ndarray:
    """Fold numbers 0..folds-1 of the train products, (N,) int64: stratified, by group, in no row's order.

    The largest groups come first, each to the fold that has the least of its classes.

    Args:
        ids, labels, groups: (N,) of the train products.

    Raises:
        InputError: there are fewer groups than folds.
    """
    group_of = np.unique(groups, return_inverse=True)[1].reshape(-1)
    sizes, position = np.bincount(group_of), _positions(ids, group_of, seed)
    if len(sizes) < folds:
        raise InputError(
            f"{len(ids)} train products cannot be dealt into {folds} folds: they are {len(sizes)} groups "
            "that share a title or a picture. Add products, or set fewer denoise_folds."
        )
    return deal_groups(group_of, labels, folds=folds, position=position)


class _Sides:
    """Which groups are validation while they are moved.

    Attributes:
        position: (G,) of the groups between 0 and 1, by hash.
        validation: (G,) bool.
        fixed, stays: (G,) bool, the groups whose side is settled; those of them that are train in any case.
        groups_of_class, validation_groups: (C,) groups in which a class occurs, and those in validation.
        moved: reason -> products.
    """

    def __init__(
        self, ids: Sequence[str], labels: np.ndarray, groups: np.ndarray, share: float, seed: int
    ) -> None:
        self.share = share
        self.group_of = np.unique(groups, return_inverse=True)[1].reshape(-1)
        self.sizes, self.position = np.bincount(self.group_of), _positions(ids, self.group_of, seed)
        self.validation = self.position < share
        self.occurs = csr_array(class_counts(self.group_of, labels) > 0, dtype=np.int64)
        self.of_class = csc_array(self.occurs)
        self.groups_of_class = self.occurs.sum(axis=0)
        self.validation_groups = self.validation.astype(np.int64) @ self.occurs
        self.fixed, self.stays = np.zeros(len(self.sizes), bool), np.zeros(len(self.sizes), bool)
        self.moved: dict[str, int] = {}

    @cached_property
    def nearest(self) -> np.ndarray:
        """The groups, nearest to the share first."""
        return np.argsort(np.abs(self.position - self.share), kind="stable")

    @cached_property
    def rank(self) -> np.ndarray:
        """Of each group its place among the nearest."""
        rank = np.empty(len(self.nearest), np.int64)
        rank[self.nearest] = np.arange(len(rank))
        return rank

    def keep_large_groups_in_train(self) -> None:
        large = self.sizes > max(self.sizes.min(), self.share * self.sizes.sum())
        self._move(np.flatnonzero(large & self.validation), "groups larger than the validation share")
        self.fixed |= large

    def keep_in_train(self, rows: np.ndarray) -> None:
        """Groups of products that nothing is validated on."""
        groups = np.unique(self.group_of[rows])
        self.stays[groups] = True
        self._move(groups[self.validation[groups]], "groups with new products that a person labeled")
        self.fixed |= self.stays

    def keep_validation(self, earlier: np.ndarray) -> None:
        """Groups of products that were validation before are so again."""
        again = np.unique(self.group_of[earlier])
        again = again[~self.stays[again]]
        self.fixed[again] = True
        self._move(again[~self.validation[again]], "groups with validation products of the earlier run")

    def give_every_class_both_sides(self) -> None:
        for side, name in ((True, "train"), (False, "validation")):
            on_side = self.validation_groups if side else self.groups_of_class - self.validation_groups
            for label in np.flatnonzero((self.groups_of_class > 0) & (on_side == self.groups_of_class)):
                group = self._to_move(label, side)
                if group is not None:
                    self._move([group], f"the nearest groups of classes without {name} products")

    def meet_the_share(self) -> None:
        count = self.sizes.sum()
        deviation = np.sqrt(count * self.share * (1 - self.share))
        tolerance = EXACT * count if count >= EXACT_FROM else DEVIATIONS * deviation
        over = self.sizes[self.validation].sum() - self.share * count
        for group in self.nearest if abs(over) > tolerance else ():
            change = -self.sizes[group] if self.validation[group] else self.sizes[group]
            if not self.fixed[group] and abs(over + change) < abs(over) and self._may_leave(group):
                self._move([group], "the nearest groups where validation missed its share")
                over += change
            if abs(over) <= tolerance:
                break

    def _to_move(self, label: np.intp, side: bool) -> int | None:
        """The group nearest to the share that gives a class its other side; train takes what it must."""
        has = self.of_class.indices[self.of_class.indptr[label] : self.of_class.indptr[label + 1]]
        has = has[self.validation[has] == side]
        groups = has[np.argsort(self.rank[has])].tolist()
        free = (group for group in groups if not self.fixed[group] and self._may_leave(group))
        return next(free, next(iter(groups if side else ()), None))

    def _may_leave(self, group: int) -> bool:
        """Whether every class of a group has another group on its side."""
        classes = self.occurs.indices[self.occurs.indptr[group] : self.occurs.indptr[group + 1]]
        of_class, held_out = self.groups_of_class[classes], self.validation_groups[classes]
        return bool(((held_out if self.validation[group] else of_class - held_out) > 1).all())

    def _move(self, groups: Sequence[int] | np.ndarray, reason: str) -> None:
        if len(groups):
            self.validation[groups] = ~self.validation[groups]
            self.validation_groups += np.where(self.validation[groups], 1, -1) @ self.occurs[groups]
            self.moved[reason] = self.moved.get(reason, 0) + int(self.sizes[groups].sum())


def _positions(ids: Sequence[str], group_of: np.ndarray, seed: int) -> np.ndarray:
    """Between 0 and 1 for every group: the hash of the seed and the id of its leader, (G,) float64."""
    names = np.array([str(product) for product in ids], dtype=object)
    order = np.lexsort((_hashes(names), group_of))
    leaders = names[order[np.unique(group_of[order], return_index=True)[1]]]
    # Another hash than the one that chose the leader: a large group's lowest is low.
    return _hashes([f"{seed} {leader}" for leader in leaders])


def _hashes(names: Sequence[str] | np.ndarray) -> np.ndarray:
    digests = b"".join(blake2b(name.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(digests, dtype=">u8") / 2**64
