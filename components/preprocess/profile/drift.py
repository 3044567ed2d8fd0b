"""Drift: what changed since the catalog of an earlier run, how much, and whether chance explains it.

The distance between two sets of shares is the total variation: the share of the products that would have
to move to another class (length, language, ...) for the two to look alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.preprocess.profile.profile import SIDE_EDGES, WORD_EDGES
from components.reports.page import many, percent

CHANCE, SMALL, CLEAR, LARGE = "no more than chance", "small", "clear", "large"
MOVERS = 3
SIMULATIONS = 500


@dataclass(frozen=True)
class Drift:
    """How one aspect of a catalog moved.

    Attributes:
        aspect: what is compared.
        distance: total variation, 0 (alike) to 1 (nothing in common).
        size: no more than chance, small, clear or large.
        change: what moved most, in words.
    """

    aspect: str
    distance: float
    size: str
    change: str


def catalog_drift(now: dict[str, Any], earlier: dict[str, Any], names: Mapping[str, str]) -> list[Drift]:
    """Compares two profiles aspect by aspect, the largest change first; classes where both have labels.

    Args:
        names: what a class is called, by code.
    """
    labeled = all(sum(side["classes"].values()) for side in (now, earlier))
    drifts = [_of_classes(now["classes"], earlier["classes"], names)] if labeled else []
    drifts += [_of_words(column, now["words"][column], earlier["words"][column]) for column in now["words"]]
    drifts += [_of_missing(what, now, earlier) for what in now["missing"]]
    drifts.append(compared("languages", now["languages"], earlier["languages"]))
    drifts += _of_pictures(now["pictures"], earlier["pictures"])
    return sorted(drifts, key=lambda drift: (drift.size == CHANCE, -drift.distance))


def _of_classes(now: dict[str, int], earlier: dict[str, int], names: Mapping[str, str]) -> Drift:
    drift = compared("class shares", _named(now, names), _named(earlier, names))
    new, gone = sorted(now.keys() - earlier.keys()), sorted(earlier.keys() - now.keys())
    changed = [
        f"{many(len(codes), 'class is', 'classes are')} {what}"
        for codes, what in ((new, "new"), (gone, "gone"))
        if codes
    ]
    # A class that appears or vanishes is never chance: a model cannot predict what it has not seen.
    size = CLEAR if changed and drift.size in (CHANCE, SMALL) else drift.size
    return Drift(drift.aspect, drift.distance, size, "; ".join([*changed, drift.change]))


def _named(counts: dict[str, int], names: Mapping[str, str]) -> dict[str, int]:
    return {f"{code} {names.get(code, '')}".strip(): count for code, count in counts.items()}


def _of_words(column: str, now: dict[str, Any], earlier: dict[str, Any]) -> Drift:
    drift = compared(
        f"{column} lengths", _binned(now["counts"], WORD_EDGES), _binned(earlier["counts"], WORD_EDGES)
    )
    change = f"the median went from {earlier['median']:.0f} to {now['median']:.0f} words"
    if round(now["median"]) == round(earlier["median"]):
        change = f"the median is still {now['median']:.0f} words"
    return Drift(drift.aspect, drift.distance, drift.size, change)


def _of_missing(what: str, now: dict[str, Any], earlier: dict[str, Any]) -> Drift:
    return compared(
        f"missing {what}s",
        *(
            {f"without a {what}": side["missing"][what], "": side["products"] - side["missing"][what]}
            for side in (now, earlier)
        ),
    )


def _of_pictures(now: dict[str, Any], earlier: dict[str, Any]) -> list[Drift]:
    if not now["count"] or not earlier["count"]:
        return []
    sides = [_binned(side["longer_side"], SIDE_EDGES, " pixels") for side in (now, earlier)]
    borders = [
        {"with a white border": side["white_border"], "": side["sampled"] - side["white_border"]}
        for side in (now, earlier)
    ]
    return [compared("picture sizes", *sides), compared("picture borders", *borders)]


def _binned(counts: list[int], edges: tuple[int, ...], unit: str = "") -> dict[str, int]:
    return {
        f"{low} to {high - 1}{unit}" if high < edges[-1] else f"{low} and more{unit}": count
        for low, high, count in zip(edges, edges[1:], counts, strict=False)
    }


def compared(aspect: str, now: Mapping[str, int], earlier: Mapping[str, int]) -> Drift:
    """How the shares of some counts moved; neither side is empty."""
    keys = list(dict.fromkeys([*now, *earlier]))
    shares, totals = [], []
    for side in (now, earlier):
        counts = np.array([side.get(key, 0) for key in keys], dtype=np.float64)
        totals.append(counts.sum())
        shares.append(counts / totals[-1])
    moved = shares[0] - shares[1]
    distance = float(np.abs(moved).sum() / 2)
    size = _size(distance, _by_chance(shares, totals))
    return Drift(aspect, distance, size, _movers(keys, shares, moved))


def _by_chance(shares: list[np.ndarray], totals: list[float]) -> np.ndarray:
    """Distances between pairs of samples, as large as the catalogs, drawn from both catalogs' pool."""
    pool = (shares[0] * totals[0] + shares[1] * totals[1]) / sum(totals)
    random = np.random.default_rng(0)
    drawn = [random.multinomial(int(total), pool / pool.sum(), size=SIMULATIONS) / total for total in totals]
    return np.abs(drawn[0] - drawn[1]).sum(axis=1) / 2


def _size(distance: float, by_chance: np.ndarray) -> str:
    if distance <= np.quantile(by_chance, 0.99):
        return CHANCE
    beyond = distance - np.median(by_chance)
    return SMALL if beyond < 0.05 else CLEAR if beyond < 0.15 else LARGE


def _movers(keys: list[str], shares: list[np.ndarray], moved: np.ndarray) -> str:
    order = [index for index in np.argsort(-np.abs(moved), kind="stable").tolist() if keys[index]]
    shown = [
        f"{keys[index]}: {percent(float(shares[1][index]), 1)} % to {percent(float(shares[0][index]), 1)} %"
        for index in order[:MOVERS]
        if abs(moved[index]) >= 0.0005
    ]
    return "; ".join(shown) or "nothing moved"
