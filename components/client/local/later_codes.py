"""How right predictions were, once their products' codes are known: by week, from what the store kept."""

import csv
import io
import json
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from components.core.errors import InputError
from components.core.reading import reason
from components.data.codes import clean_code, revived
from components.data.labels import read_labels
from components.ensemble.package import MODEL
from components.lifecycle.champion import utc_now
from components.lifecycle.detail import is_checked
from components.lifecycle.store import ModelStore
from components.modeling.intervals import wilson
from components.modeling.reliability import calibration_of

LEAST_KNOWN = 0.9  # of the products that were drawn; codes of fewer are no random sample of them
COLUMNS = ("product_id", "code", "probability")


@dataclass(frozen=True)
class Week:
    """The predictions of a week of which the codes are known by now.

    Attributes:
        week: the ISO week in which they were made, "2026-W05".
        versions: the models that made them.
        predicted: all products predicted in the week.
        known: those whose code is known.
        covered: share of the known whose probability is at least the threshold.
        accuracy: share of the covered that were right; None where there are none.
        calibration_error: expected, of the known.
        checked: the known of those that were accepted but sent to review at random.
        checked_accuracy, checked_interval: share of these that was right, and its 95 % interval (Wilson's);
            None where the codes of a part of those that were drawn are missing.
        promised: the accuracy that the models aimed at for what they accept; None where they accept nothing.
    """

    week: str
    versions: tuple[str, ...]
    predicted: int
    known: int
    covered: float
    accuracy: float | None
    calibration_error: float | None
    checked: int = 0
    checked_accuracy: float | None = None
    checked_interval: tuple[float, float] | None = None
    promised: float | None = None

    @property
    def broken(self) -> bool:
        """Whether the accepted are less often right than promised, which chance does not explain."""
        return bool(self.promised and self.checked_interval and self.checked_interval[1] < self.promised)


@dataclass(frozen=True)
class _Kept:
    """A kept prediction."""

    code: str
    probability: float
    checked: bool


def score(store: ModelStore, labels: Path, *, threshold: float = 0.0) -> list[Week]:
    """Joins the kept predictions with codes by product, and writes `scores.json` into the store.

    Of a product that was predicted several times in a week the last prediction counts.

    Args:
        labels: a table of ids and codes; see `read_labels`.
        threshold: probability from which on a prediction is used without a person's look.

    Raises:
        InputError: nothing is kept, a file cannot be read, or no product of the labels was ever predicted.
    """
    kept = store.predictions()
    if not kept:
        raise InputError(
            f"{store}/predictions: no predictions are kept there yet; a run with models_store keeps "
            "those of the champion"
        )
    predicted: dict[str, dict[str, _Kept]] = defaultdict(dict)
    promised: dict[str, dict[str, Any]] = {}
    versions: dict[str, set[str]] = defaultdict(set)
    for name, moment, version in kept:
        week = f"{moment:%G-W%V}"
        versions[week].add(version)
        promised.setdefault(version, _threshold(store, version))
        predicted[week].update(_read(store, name, promised[version].get("probability")))
    codes = _codes(labels, {product for rows in predicted.values() for product in rows})
    weeks = [
        replace(
            _score(week, versions[week], rows, codes, threshold),
            **_checked(rows, codes, [promised[each] for each in versions[week]]),
        )
        for week, rows in predicted.items()
    ]
    written = [{**asdict(each), "broken": each.broken} for each in weeks]
    store.write_json("scores.json", {"at": utc_now(), "threshold": threshold, "weeks": written})
    return weeks


def _threshold(store: ModelStore, version: str) -> dict[str, Any]:
    """What a version accepts; {} where it accepts nothing, or was deleted."""
    content = store.objects.read(f"{store.folder(version)}/{MODEL}")
    found = json.loads(content).get("threshold") if content else None
    return found if found and found.get("probability") is not None else {}


def _read(store: ModelStore, name: str, threshold: float | None) -> dict[str, _Kept]:
    """The products of a kept file."""
    content = store.objects.read(f"{store.root}/predictions/{name}") or b""
    try:
        rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig")), delimiter="\t", strict=True)
        return {
            revived(row["product_id"]): _Kept(
                revived(row["code"]), float(row["probability"]), is_checked(row, threshold)
            )
            for row in rows
        }
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise InputError(
            f"{store}/predictions/{name}: not predictions with {', '.join(COLUMNS)}: {reason(error)}"
        ) from error


def _codes(labels: Path, predicted: set[str]) -> dict[str, str]:
    known = read_labels(labels, known_ids=predicted)
    pairs = zip(known.ids, known.codes, strict=True)
    found = {product: clean_code(code) for product, code in pairs if product in predicted}
    if not found:
        raise InputError(
            f"{labels}: none of its {len(known.ids):,} products is among the {len(predicted):,} that were "
            "predicted"
        )
    return found


def _score(
    week: str, versions: set[str], rows: dict[str, _Kept], codes: dict[str, str], threshold: float
) -> Week:
    known = [product for product in rows if product in codes]
    right = np.array([rows[product].code == codes[product] for product in known], bool)
    sure = np.array([rows[product].probability for product in known], np.float64)
    covered = sure >= threshold
    error = calibration_of(sure, right).error if known else None
    return Week(
        week=week,
        versions=tuple(sorted(versions)),
        predicted=len(rows),
        known=len(known),
        covered=float(covered.mean()) if known else 0.0,
        accuracy=float(right[covered].mean()) if covered.any() else None,
        calibration_error=error,
    )


def _checked(
    rows: dict[str, _Kept], codes: dict[str, str], thresholds: list[dict[str, Any]]
) -> dict[str, Any]:
    """Of a `Week`, how often the accepted that were checked at random were right, beside the promise."""
    drawn = [product for product in rows if rows[product].checked]
    right = [rows[product].code == codes[product] for product in drawn if product in codes]
    targets = [each["target"] for each in thresholds if each]
    found: dict[str, Any] = {"checked": len(right), "promised": min(targets, default=None)}
    if right and len(right) >= LEAST_KNOWN * len(drawn):
        accuracy = sum(right) / len(right)
        low, high = wilson(accuracy, len(right))
        found |= {"checked_accuracy": accuracy, "checked_interval": (float(low), float(high))}
    return found
