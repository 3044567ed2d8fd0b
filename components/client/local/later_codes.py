"""How right predictions were, once their products' codes are known: by week, from what the store kept."""

import csv
import io
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from components.core.errors import InputError
from components.core.reading import reason
from components.data.codes import clean_code, revived
from components.data.labels import read_labels
from components.lifecycle.champion import utc_now
from components.lifecycle.store import ModelStore
from components.modeling.reliability import calibration

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
    """

    week: str
    versions: tuple[str, ...]
    predicted: int
    known: int
    covered: float
    accuracy: float | None
    calibration_error: float | None


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
    predicted: dict[str, dict[str, tuple[str, float]]] = defaultdict(dict)
    versions: dict[str, set[str]] = defaultdict(set)
    for name, moment, version in kept:
        week = f"{moment:%G-W%V}"
        versions[week].add(version)
        predicted[week].update(_read(store, name))
    codes = _codes(labels, {product for rows in predicted.values() for product in rows})
    weeks = [_score(week, versions[week], rows, codes, threshold) for week, rows in predicted.items()]
    store.write_json(
        "scores.json", {"at": utc_now(), "threshold": threshold, "weeks": [asdict(each) for each in weeks]}
    )
    return weeks


def _read(store: ModelStore, name: str) -> dict[str, tuple[str, float]]:
    """Product -> code and probability of a kept file."""
    content = store.objects.read(f"{store.root}/predictions/{name}") or b""
    try:
        rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig")), delimiter="\t", strict=True)
        return {revived(row["product_id"]): (revived(row["code"]), float(row["probability"])) for row in rows}
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise InputError(
            f"{store}/predictions/{name}: not predictions with {', '.join(COLUMNS)}: {reason(error)}"
        ) from error


def _codes(labels: Path, predicted: set[str]) -> dict[str, str]:
    ids, codes = read_labels(labels, known_ids=predicted)
    found = {
        product: clean_code(code) for product, code in zip(ids, codes, strict=True) if product in predicted
    }
    if not found:
        raise InputError(
            f"{labels}: none of its {len(ids):,} products is among the {len(predicted):,} predicted ones"
        )
    return found


def _score(
    week: str, versions: set[str], rows: dict[str, tuple[str, float]], codes: dict[str, str], threshold: float
) -> Week:
    known = [product for product in rows if product in codes]
    right = np.array([rows[product][0] == codes[product] for product in known], bool)
    sure = np.array([rows[product][1] for product in known], np.float64)
    covered = sure >= threshold
    # Of two classes, the predicted one and all others, the first is the more probable one here.
    error = (
        calibration((~right).astype(int), np.stack([sure, np.zeros_like(sure)], axis=1)).error
        if known
        else None
    )
    return Week(
        week=week,
        versions=tuple(sorted(versions)),
        predicted=len(rows),
        known=len(known),
        covered=float(covered.mean()) if known else 0.0,
        accuracy=float(right[covered].mean()) if covered.any() else None,
        calibration_error=error,
    )
