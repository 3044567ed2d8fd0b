"""The report of the fusion: what text and image add to each other, class by class and fold by fold."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from components.core.errors import InputError
from components.data.probabilities import Classifier
from components.data.products import Products
from components.modeling.metrics import f1_per_class, macro_f1
from components.reports.charts import gain_bar
from components.reports.page import check, class_label, many, percent, render, signed, words

NOTICEABLE = 0.005  # half a point of F1
# Metadata of a member that its configuration's table has no room for, and what they are called.
DETAILS = {"chosen": "chosen", "chosen_epochs": "epochs"}
HELPED = 3  # classes named


def fusion_report(
    products: Products,
    text: Sequence[Classifier],
    image: Sequence[Classifier],
    members: Sequence[Classifier],
    feature_level: Sequence[Classifier],
) -> str:
    """Draws the report of the fusion, on the validation split.

    Args:
        text: the text classifiers that were fused; `image` likewise.
        members: decision-level members, whose validation matrices are out-of-fold.
        feature_level: feature-level classifiers, the baseline.
    """
    singles = {"text": list(text), "image": list(image)}
    best = {name: _best(classifiers, products) for name, classifiers in singles.items() if classifiers}
    if not best:
        raise InputError("no text or image classifier to compare the fusion with")
    member = _best(members, products)
    strongest = max(best.values(), key=lambda entry: entry["macro_f1"])
    gain = 100 * (member["macro_f1"] - strongest["macro_f1"])
    return render(
        "fusion",
        lead=_lead(member, strongest, gain, best),
        figures=[
            *(
                {"name": f"{name}, the best model", "value": percent(entry["macro_f1"]), "unit": "%"}
                for name, entry in best.items()
            ),
            {"name": "fused, the best member", "value": percent(member["macro_f1"]), "unit": "%"},
            {"name": "gain over the best model", "value": signed(gain), "unit": "points"},
        ],
        checks=_checks(
            products, best, member, [_predicted(classifier, products) for classifier in feature_level]
        ),
        members=_table(members, products, strongest["macro_f1"]),
        baselines=_table(feature_level, products, strongest["macro_f1"]),
        classes=_classes(products, best, member),
        modalities=list(best),
        best_member=member["name"],
    )


def _best(classifiers: Sequence[Classifier], products: Products) -> dict[str, Any]:
    if not classifiers:
        raise InputError("no classifier to report on")
    return max(
        (_predicted(classifier, products) for classifier in classifiers), key=lambda entry: entry["macro_f1"]
    )


def _predicted(classifier: Classifier, products: Products) -> dict[str, Any]:
    rows = products.rows("validation")
    predicted = classifier.chosen("validation", products.ids[rows]).argmax(axis=1)
    labels, count = products.labels[rows], len(products.classes)
    return {
        "name": classifier.name,
        "macro_f1": macro_f1(labels, predicted, count),
        "f1": f1_per_class(labels, predicted, count),
        "metadata": classifier.metadata,
    }


def _lead(member: dict[str, Any], strongest: dict[str, Any], gain: float, best: dict[str, Any]) -> str:
    side = "over" if gain >= 0 else "under"
    said = (
        f"The best member, {member['name']}, is {abs(gain):.2f} points {side} the best single model, "
        f"{strongest['name']}."
    )
    better = [
        f"{name} in {int((member['f1'] > entry['f1'] + NOTICEABLE).sum())}" for name, entry in best.items()
    ]
    return f"{said} It beats {' and '.join(better)} of {len(member['f1'])} classes."


def _checks(
    products: Products,
    best: dict[str, Any],
    member: dict[str, Any],
    feature_level: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """What each modality brings, where fusing costs, and whether the baseline does better."""
    checks = []
    for name, adds in _additions(best, member).items():
        helped = [label for label in np.argsort(-adds, kind="stable")[:HELPED] if adds[label] > NOTICEABLE]
        if helped:
            named = ", ".join(_points(products, label, float(adds[label])) for label in helped)
            checks.append(check(True, f"{name.capitalize()} adds most to {named}."))
        else:
            checks.append(check(False, f"{name.capitalize()} adds to no class: the rest does as well alone."))
    losses = member["f1"] - np.max([entry["f1"] for entry in best.values()], axis=0)
    worse = np.flatnonzero(losses < -NOTICEABLE)
    if len(worse):
        label = int(losses.argmin())
        said = f"{many(len(worse), 'class', 'classes')} lost by fusing, most of all"
        checks.append(check(False, f"{said} {_points(products, label, float(losses[label]))}."))
    baseline = max((entry["macro_f1"] for entry in feature_level), default=0.0)
    if baseline > member["macro_f1"] + NOTICEABLE:
        ahead = 100 * (baseline - member["macro_f1"])
        checks.append(check(False, f"Feature-level fusion does better here, by {ahead:.2f} points."))
    return checks


def _additions(best: dict[str, Any], member: dict[str, Any]) -> dict[str, np.ndarray]:
    """What each modality adds per class: the fused F1 less the other modality's alone."""
    if len(best) < 2:
        return {}
    (first, alone), (second, other) = best.items()
    return {first: member["f1"] - other["f1"], second: member["f1"] - alone["f1"]}


def _points(products: Products, label: int, difference: float) -> str:
    return f"“{class_label(products, label, 40)}” ({signed(100 * difference, 1)})"


def _table(classifiers: Sequence[Classifier], products: Products, single: float) -> list[dict[str, Any]]:
    """Every classifier, best first, with the spread of its folds where it tells them."""
    entries = []
    for classifier in classifiers:
        predicted = _predicted(classifier, products)
        folds = classifier.metadata.get("macro_f1_of_chosen_epochs") or []
        details = {
            name: words(_rounded(classifier.metadata[key]))
            for key, name in DETAILS.items()
            if classifier.metadata.get(key)
        }
        entries.append(
            {
                "name": classifier.name,
                "macro_f1": predicted["macro_f1"],
                "gain": 100 * (predicted["macro_f1"] - single),
                "low": min(folds, default=None),
                "high": max(folds, default=None),
                "weights": _weights(classifier.metadata),
                "details": details,
            }
        )
    entries.sort(key=lambda entry: -entry["macro_f1"])
    most = max((abs(entry["gain"]) for entry in entries), default=0.0)
    return [{**entry, "drawn": gain_bar(entry["gain"], most)} for entry in entries]


def _weights(metadata: dict[str, Any]) -> list[str]:
    """What each input weighs, and its spread over the folds where the member tells it."""
    weights, of_folds = metadata.get("weights") or [], np.array(metadata.get("weights_of_folds") or [])
    spreads = [""] * len(weights)
    if of_folds.ndim == 2 and of_folds.shape[1] == len(weights):
        ends = zip(of_folds.min(axis=0).tolist(), of_folds.max(axis=0).tolist(), strict=True)
        spreads = [f" ({low:.2f} to {high:.2f})" for low, high in ends]
    named = zip(metadata.get("inputs", []), weights, spreads, strict=False)
    return [f"{name} {weight:.2f}{spread}" for name, weight, spread in named]


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.3g}") if isinstance(value, float) else value


def _classes(products: Products, best: dict[str, Any], member: dict[str, Any]) -> list[dict[str, Any]]:
    """Classes by what fusing gains over the better of the two models, the largest gain first; beside it
    what each modality adds to the other."""
    support = np.bincount(products.labels[products.rows("validation")], minlength=len(products.classes))
    single = np.max([entry["f1"] for entry in best.values()], axis=0)
    gains = 100 * (member["f1"] - single)
    additions = {name: 100 * adds for name, adds in _additions(best, member).items()}
    present = np.flatnonzero(support)
    most = max((float(np.abs(adds[present]).max()) for adds in additions.values()), default=0.0)
    return [
        {
            "name": class_label(products, label),
            "support": int(support[label]),
            "singles": [float(entry["f1"][label]) for entry in best.values()],
            "fused": float(member["f1"][label]),
            "gain": float(gains[label]),
            "adds": [
                {"points": float(adds[label]), "drawn": gain_bar(float(adds[label]), most)}
                for adds in additions.values()
            ],
        }
        for label in present[np.argsort(-gains[present], kind="stable")].tolist()
    ]
