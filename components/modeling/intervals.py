"""What chance leaves open: intervals of macro-F1 and of shares, with groups of duplicates as the unit."""

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import norm

DRAWS = 1000
# The least of each with which 95 % intervals cover on skewed catalogs: `benchmarks/coverage.py`.
PSEUDO_COUNT = 3.0  # units of every class whose outcome is drawn from the other classes
SHARED_BELOW = 4.0  # units from which on a class counts more than half for what others are thought to be
FEW_GROUPS = 100  # with fewer, an interval is wide and depends on what is assumed


class Posterior:
    """Draws of what the products are a sample of, the same for every classifier: differences are paired.

    Macro-F1 is a function of each class's row of the confusion matrix and of the class shares. A row's
    posterior is a Dirichlet's (the Bayesian bootstrap: Rubin, Annals of Statistics 9, 1981): every group of
    duplicates weighs a draw from the exponential distribution, so twenty copies of one product are the
    evidence of one. To each row come `PSEUDO_COUNT` groups, right with the recall that other classes have
    in the same draw: without them one product that is predicted right proves its whole class.

    Args:
        labels: (N,) integers in 0..classes-1.
        groups: (N,) integers; products with one number are drawn together.
        draws: how many.

    Attributes:
        units: groups that count: of their number, as many as there would be if all were of one size.
    """

    def __init__(
        self, labels: np.ndarray, groups: np.ndarray, classes: int, *, seed: int, draws: int = DRAWS
    ) -> None:
        random = np.random.default_rng(seed)
        self.labels, self.classes = labels, classes
        self.groups = np.unique(groups, return_inverse=True)[1].reshape(-1)
        count = int(self.groups.max()) + 1
        self.units = effective_units(self.groups)
        # In 32 bits a draw may be 0, and a class of one product would have no share.
        self._weights = random.standard_exponential((count, draws), np.float32) + np.float32(1e-9)
        self._support = np.bincount(labels, minlength=classes)
        self._present = self._support > 0
        self._true = self._sums(labels, self.groups)  # C, draws
        # The copies that a unit of a class has: one group of twenty is one unit.
        copies = self._copies()
        own = self._support / copies
        trust = own / (own + SHARED_BELOW)
        self._trust = trust[:, None] * random.standard_exponential((classes, draws), np.float32)
        pseudo = random.standard_gamma(PSEUDO_COUNT, (classes, draws), np.float32)
        self._pseudo = pseudo * (copies * self._present)[:, None]
        self._luck = random.random((classes, draws), np.float32)

    def macro_f1(self, predicted: np.ndarray) -> np.ndarray:
        """Macro-F1 over the classes that occur in `labels`, of every draw: (draws,) float64.

        Args:
            predicted: (N,) integers in 0..classes-1.
        """
        hit = predicted == self.labels
        right = self._sums(self.labels[hit], self.groups[hit])
        pseudo_right = self._pseudo * (self._luck < self._recall_elsewhere(right))
        pseudo_wrong = self._pseudo - pseudo_right
        # A row with pseudo-counts still has the share of its class.
        shrunk = self._true / np.where(self._present[:, None], self._true + self._pseudo, 1)
        recalled = (right + pseudo_right) * shrunk
        missed = np.flatnonzero(~hit)
        lost = self._weights[self.groups[missed]] * shrunk[self.labels[missed]]
        called = recalled + _sparse(predicted[missed], np.arange(len(missed)), self.classes, len(lost)) @ lost
        often = np.bincount(predicted, minlength=self.classes) + 0.5
        called += (often / often.sum())[:, None] * (pseudo_wrong * shrunk).sum(axis=0)
        f1 = 2 * recalled[self._present] / (self._true + called)[self._present]
        return f1.mean(axis=0, dtype=np.float64)

    def _recall_elsewhere(self, right: np.ndarray) -> np.ndarray:
        """(draws,) the mean recall of classes, by how far each one's own can be trusted."""
        recall = right / np.where(self._present[:, None], self._true, 1)
        # One half of a class counts beside them, half right: even if no mistake was seen one is possible.
        return ((self._trust * recall).sum(axis=0) + 0.25) / (self._trust.sum(axis=0) + 0.5)

    def _copies(self) -> np.ndarray:
        """(C,) the mean size of a product's group within its class; 1 without products."""
        cells, sizes = np.unique(np.stack([self.labels, self.groups]), axis=1, return_counts=True)
        squares = np.bincount(cells[0], sizes.astype(float) ** 2, minlength=self.classes)
        return np.where(self._present, squares / np.maximum(self._support, 1), 1)

    def _sums(self, classes: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Weights by class, (C, draws)."""
        return _sparse(classes, groups, self.classes, len(self._weights)) @ self._weights


def _sparse(rows: np.ndarray, columns: np.ndarray, height: int, width: int) -> csr_array:
    return csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=(height, width))


def interval(draws: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """What lies between the quantiles of draws that leave (1 - level) / 2 on either side."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def effective_units(groups: np.ndarray) -> float:
    """The number of products of which none is another's duplicate that weigh as much (Kish, 1965).

    Args:
        groups: (N,) integers from 0, some of which may be missing; products with one number are duplicates.
    """
    sizes = np.bincount(groups).astype(float)
    return float(sizes.sum() ** 2 / max((sizes**2).sum(), 1.0))


def wilson(
    share: float | np.ndarray, units: float | np.ndarray, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """The interval of a share of `units` (Wilson, JASA 22, 1927): never outside 0 and 1, never zero wide.

    Args:
        share: of the units; any shape.
        units: how many; of 0 nothing is known, so the interval is 0 to 1.

    Returns:
        The lower and the upper bounds.
    """
    square = float(norm.ppf((1 + level) / 2)) ** 2
    units = np.asarray(units, float)
    middle = (share * units + square / 2) / (units + square)
    half = np.sqrt(square * (units * share * (1 - share) + square / 4)) / (units + square)
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)
