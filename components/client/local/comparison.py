"""Two runs side by side: which parameters differ, and what that did to the results, classes and products."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.client.local.finished_run import FinishedRun

UNIMPORTANT = ("cluster_checkpoints",)  # where to find things, not what is trained
BESIDE = ("corrections", "class_names")  # files of which a catalog may have others by now
NONE = "–"  # where a run has no value
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
        parameters: name, first value, second value, of those that differ; "–" for none.
        tables: split -> rows of results; and of levels of a tree of classes above the classes themselves.
        classes: the ensemble's F1 of every class on validation, the largest gain first; by code where the
            catalogs are the same, else by name.
        newly_right, newly_wrong: of the products that both evaluated, those that the second's ensemble alone
            has right, or wrong: entries of the figures' `mistakes`. Empty where the products differ.
        same_catalog: whether both runs read the same files.
        same_products: whether both were evaluated on the same of them, too.
    """

    first: FinishedRun
    second: FinishedRun
    parameters: list[tuple[str, Any, Any]]
    tables: dict[str, list[Change]]
    classes: list[Change]
    newly_right: list[dict[str, Any]]
    newly_wrong: list[dict[str, Any]]
    same_catalog: bool
    same_products: bool

    @property
    def class_names(self) -> dict[str, str]:
        """Names of the codes, where either run has them."""
        return {**self.first.metrics["class_names"], **self.second.metrics["class_names"]}

    @property
    def verdict(self) -> str:
        """Which run's vote is better, and whether chance explains it; none for different catalogs."""
        if not self.same_catalog:
            return "The runs are of different catalogs, so neither is called better."
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
        if not self.same_catalog:
            return "Their catalogs differ: figures side by side say nothing of the models."
        decided = [run.parameters.get("catalog_corrections") for run in (self.first, self.second)]
        what = "different products or labels" if decided[0] != decided[1] else "different products"
        return f"The runs were evaluated on {what}: their figures differ for that reason too."


def compare_runs(first: FinishedRun, second: FinishedRun) -> Comparison:
    """Compares the second run with the first."""
    tables = {
        split: _rows(first.metrics[split]["rows"], second.metrics[split]["rows"])
        for split in ("validation", "test")
        if first.metrics.get(split) and second.metrics.get(split)
    }
    tables |= _levels(first.metrics["validation"]["rows"], second.metrics["validation"]["rows"])
    same_catalog = _catalog(first) == _catalog(second)
    same_products = same_catalog and all(
        first.parameters.get(name) == second.parameters.get(name) for name in SPLIT_BY
    )
    wrong = [_mistakes(run) if same_products else {} for run in (first, second)]
    return Comparison(
        first,
        second,
        _differences(_asked(first), _asked(second)),
        tables,
        _classes(first, second, same_catalog),
        [mistake for product, mistake in wrong[0].items() if product not in wrong[1]],
        [mistake for product, mistake in wrong[1].items() if product not in wrong[0]],
        same_catalog,
        same_products,
    )


def _catalog(run: FinishedRun) -> dict[str, str]:
    """The digests of what a run read, without what people decided of it and called its classes."""
    digests = run.metrics.get("digests") or {}
    return {name: digest for name, digest in digests.items() if name not in BESIDE}


def _asked(run: FinishedRun) -> dict[str, Any]:
    """The parameters, and what shaped the graph."""
    denoise_on = run.metrics.get("denoise_on")
    return {**({"denoise_on": denoise_on} if denoise_on else {}), **run.parameters}


def _mistakes(run: FinishedRun) -> dict[str, dict[str, Any]]:
    return {mistake["product"]: mistake for mistake in run.metrics["validation"].get("mistakes", [])}


def _rows(first: dict[str, Any], second: dict[str, Any]) -> list[Change]:
    rows = []
    for key in dict.fromkeys([*first, *second]):
        one, other = first.get(key), second.get(key)
        figures = one and one["macro_f1"], other and other["macro_f1"]
        rows.append(Change(key, *figures, one and tuple(one["macro_f1_interval"])))
    return rows


def _levels(first: dict[str, Any], second: dict[str, Any]) -> dict[str, list[Change]]:
    """Of levels that both runs' trees of classes have, macro-F1 there, without intervals."""
    found: dict[str, list[Change]] = {}
    for key in [key for key in first if key in second]:
        sides = [row.get("hierarchy", {}).get("levels", [])[:-1] for row in (first[key], second[key])]
        for one, other in zip(*sides, strict=False):
            changes = found.setdefault(f"validation level {one['level']}", [])
            changes.append(Change(key, one["macro_f1"], other["macro_f1"]))
    return found


def _classes(first: FinishedRun, second: FinishedRun, same_catalog: bool) -> list[Change]:
    """By code; of different catalogs, by name: a code need not mean the same there."""
    one, other = (_class_f1(run, by_name=not same_catalog) for run in (first, second))
    changes = [Change(code, one.get(code), other.get(code)) for code in dict.fromkeys([*one, *other])]
    return sorted(changes, key=lambda change: (None in (change.first, change.second), -change.points))


def _class_f1(run: FinishedRun, *, by_name: bool) -> dict[str, float]:
    per_class, names = run.metrics["validation"]["rows"]["ensemble"]["per_class"], run.metrics["class_names"]
    return {
        names[code] if by_name else code: entry["f1"]
        for code, entry in per_class.items()
        if entry["support"] and (code in names or not by_name)
    }


def _differences(first: dict[str, Any], second: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    one, other = (
        {name: NONE if value in (None, "") else value for name, value in _leaves(parameters)}
        for parameters in (first, second)
    )
    return [
        (name, one.get(name, NONE), other.get(name, NONE))
        for name in dict.fromkeys([*one, *other])
        if one.get(name, NONE) != other.get(name, NONE) and name.split(".")[0] not in UNIMPORTANT
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
