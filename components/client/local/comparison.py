"""Two runs side by side: which parameters differ, and what that did to Table 1 and to every class."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.client.local.finished_run import FinishedRun

UNIMPORTANT = ("cluster_checkpoints",)  # where to find things, not what is trained
SPLIT_BY = ("seed", "preprocess_config", "catalog_corrections")  # decide which products validate


@dataclass(frozen=True)
class Change:
    """One F1 or macro-F1 in both runs, None where a run lacks it.

    Attributes:
        interval: the first run's 95 % interval; None for a class.
    """

    name: str
    first: float | None
    second: float | None
    interval: tuple[float, float] | None = None

    @property
    def points(self) -> float:
        """Second less first, in points; 0 where either is missing."""
        if self.first is None or self.second is None:
            return 0.0
        return 100 * (self.second - self.first)

    @property
    def within(self) -> bool:
        """Whether the second lies in the first's interval."""
        low, high = self.interval or (1.0, 0.0)
        return self.second is not None and low <= self.second <= high


@dataclass(frozen=True)
class Comparison:
    """What two runs differ in.

    Attributes:
        parameters: name, first value, second value, of those that differ.
        tables: split -> rows of Table 1.
        classes: the ensemble's F1 of every class on validation, the largest gain first.
    """

    first: FinishedRun
    second: FinishedRun
    parameters: list[tuple[str, Any, Any]]
    tables: dict[str, list[Change]]
    classes: list[Change]
    same_products: bool

    @property
    def class_names(self) -> dict[str, str]:
        """Names of the codes, where either run has them."""
        return {**self.first.metrics["class_names"], **self.second.metrics["class_names"]}

    @property
    def verdict(self) -> str:
        """Which run's vote is better, and whether chance explains it."""
        vote = next(row for row in self.tables["validation"] if row.name == "ensemble")
        if round(vote.points, 2) == 0:
            return "Both ensembles reach the same macro-F1 on validation."
        better = self.second.name if vote.points > 0 else self.first.name
        chance = "within" if vote.within else "outside"
        return (
            f"The ensemble of {better} is {abs(vote.points):.2f} points of macro-F1 better on validation, "
            f"{chance} the 95 % interval of {self.first.name}."
        )

    @property
    def fairness(self) -> str:
        """Whether the two runs' figures may be compared at all."""
        if self.same_products:
            return "Both runs were evaluated on the same products."
        return "The runs were evaluated on different products: their figures differ for that reason too."


def compare_runs(first: FinishedRun, second: FinishedRun) -> Comparison:
    """Compares the second run with the first."""
    tables = {
        split: _rows(first.metrics[split]["rows"], second.metrics[split]["rows"])
        for split in ("validation", "test")
        if first.metrics.get(split) and second.metrics.get(split)
    }
    return Comparison(
        first,
        second,
        _differences(first.parameters, second.parameters),
        tables,
        _classes(first, second),
        _same_products(first, second),
    )


def _rows(first: dict[str, Any], second: dict[str, Any]) -> list[Change]:
    rows = []
    for key in dict.fromkeys([*first, *second]):
        one, other = first.get(key), second.get(key)
        figures = one and one["macro_f1"], other and other["macro_f1"]
        rows.append(Change(key, *figures, one and tuple(one["macro_f1_interval"])))
    return rows


def _classes(first: FinishedRun, second: FinishedRun) -> list[Change]:
    one, other = (_class_f1(run) for run in (first, second))
    changes = [Change(code, one.get(code), other.get(code)) for code in dict.fromkeys([*one, *other])]
    return sorted(changes, key=lambda change: (None in (change.first, change.second), -change.points))


def _class_f1(run: FinishedRun) -> dict[str, float]:
    per_class = run.metrics["validation"]["rows"]["ensemble"]["per_class"]
    return {code: entry["f1"] for code, entry in per_class.items() if entry["support"]}


def _same_products(first: FinishedRun, second: FinishedRun) -> bool:
    same = all(first.parameters.get(name) == second.parameters.get(name) for name in SPLIT_BY)
    return same and first.metrics.get("digests") == second.metrics.get("digests")


def _differences(first: dict[str, Any], second: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    one, other = (dict(_leaves(parameters)) for parameters in (first, second))
    return [
        (name, one.get(name), other.get(name))
        for name in dict.fromkeys([*one, *other])
        if one.get(name) != other.get(name) and name.split(".")[0] not in UNIMPORTANT
    ]


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Nested parameters as name.key.key and value; a list's items go by their name, if they have one."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        items = ((item.get("name", str(number)), item) for number, item in enumerate(value))
    else:
        yield name, value
        return
    for key, inner in items:
        yield from _leaves(inner, f"{name}.{key}" if name else str(key))
