"""The report of the fusion: what text and image add to each other, class by class and fold by fold."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.core.errors import InputError
from components.data.probabilities import Classifier
from components.data.products import Products
from components.modeling.metrics import f1_per_class, macro_f1
from components.reports.charts import gain_bar
from components.reports.page import check, class_label, figure, many, percent, render, signed, words

NOTICEABLE_F1 = 0.005  # half a point of F1
# Metadata of a member that its configuration's table has no room for, and what they are called.
DETAILS = {"chosen": "chosen", "chosen_epochs": "epochs", "device": "on"}
HELPED = 3  # classes named


@dataclass(frozen=True)
class _Scored:
    """A classifier's macro-F1 on validation, and F1 of each class, (C,)."""

    name: str
    macro_f1: float
    f1: np.ndarray
    metadata: dict[str, Any]


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

    Raises:
        InputError: there is no text and no image classifier, or no member.
    """
    singles = {
        modality: _best_first(classifiers, products)[0]
        for modality, classifiers in (("text", text), ("image", image))
        if classifiers
    }
    fused, baselines = _best_first(members, products), _best_first(feature_level, products)
    if not singles or not fused:
        raise InputError("the report of the fusion needs a text or an image classifier, and a member")
    member, strongest = fused[0], max(singles.values(), key=lambda scored: scored.macro_f1)
    gain = 100 * (member.macro_f1 - strongest.macro_f1)
    return render(
        "fusion",
        lead=_lead(singles, member, strongest, gain),
        figures=[
            *(
                figure(f"{name}, the best model", percent(each.macro_f1), "%")
                for name, each in singles.items()
            ),
            figure("fused, the best member", percent(member.macro_f1), "%"),
            figure("gain over the best model", signed(gain), "points"),
        ],
        checks=[
            *_addition_checks(products, singles, member),
            *_loss_check(products, singles, member),
            *_baseline_check(baselines, member),
        ],
        members=_table(fused, strongest.macro_f1),
        baselines=_table(baselines, strongest.macro_f1),
        classes=_classes(products, singles, member),
        modalities=list(singles),
        best_member=member.name,
    )


def _best_first(classifiers: Sequence[Classifier], products: Products) -> list[_Scored]:
    rows = products.rows("validation")
    labels, count = products.labels[rows], len(products.classes)
    scored = []
    for classifier in classifiers:
        predicted = classifier.chosen("validation", products.ids[rows]).argmax(axis=1)
        f1 = f1_per_class(labels, predicted, count)
        score = macro_f1(labels, predicted, count)
        scored.append(_Scored(classifier.name, score, f1, classifier.metadata))
    return sorted(scored, key=lambda each: -each.macro_f1)


def _lead(singles: dict[str, _Scored], member: _Scored, strongest: _Scored, gain: float) -> str:
    points = f"{abs(gain):.2f}"
    apart = f"{points} points {'over' if gain >= 0 else 'under'}" if float(points) else "level with"
    better = [f"{name} in {int((member.f1 > one.f1 + NOTICEABLE_F1).sum())}" for name, one in singles.items()]
    return (
        f"The best member, {member.name}, is {apart} the best single model, "
        f"{strongest.name}. It beats {' and '.join(better)} of {len(member.f1)} classes."
    )


def _addition_checks(
    products: Products, singles: dict[str, _Scored], member: _Scored
) -> Iterator[dict[str, Any]]:
    """What does each modality bring?"""
    for name, adds in _additions(singles, member).items():
        helped = [label for label in np.argsort(-adds, kind="stable")[:HELPED] if adds[label] > NOTICEABLE_F1]
        if helped:
            named = ", ".join(_points(products, label, float(adds[label])) for label in helped)
            yield check(True, f"{name.capitalize()} adds most to {named}.")
        else:
            alone = f"{name.capitalize()} adds to no class in {member.name}: the rest does as well alone"
            yield check(False, f"{alone}. What all members together gain is in the evaluation.")


def _loss_check(products: Products, singles: dict[str, _Scored], member: _Scored) -> Iterator[dict[str, Any]]:
    """Where does fusing cost?"""
    losses = member.f1 - np.max([one.f1 for one in singles.values()], axis=0)
    lost, worst = int((losses < -NOTICEABLE_F1).sum()), int(losses.argmin())
    if lost:
        most = _points(products, worst, float(losses[worst]))
        yield check(False, f"{many(lost, 'class', 'classes')} lost by fusing, most of all {most}.")


def _baseline_check(baselines: Sequence[_Scored], member: _Scored) -> Iterator[dict[str, Any]]:
    """Does feature-level fusion do better?"""
    ahead = max((baseline.macro_f1 for baseline in baselines), default=0.0) - member.macro_f1
    if ahead > NOTICEABLE_F1:
        yield check(False, f"Feature-level fusion does better here, by {100 * ahead:.2f} points.")


def _additions(singles: dict[str, _Scored], member: _Scored) -> dict[str, np.ndarray]:
    """What each modality adds per class: the fused F1 less the other modality's alone."""
    if len(singles) < 2:
        return {}
    (first, one), (second, other) = singles.items()
    return {first: member.f1 - other.f1, second: member.f1 - one.f1}


def _points(products: Products, label: int, difference: float) -> str:
    return f"“{class_label(products, label, 40)}” ({signed(100 * difference, 1)})"


def _table(classifiers: Sequence[_Scored], single: float) -> list[dict[str, Any]]:
    """Every classifier, with the spread of its folds where its metadata have it."""
    gains = [100 * (scored.macro_f1 - single) for scored in classifiers]
    most = max(map(abs, gains), default=0.0)
    entries = []
    for scored, gain in zip(classifiers, gains, strict=True):
        folds = scored.metadata.get("macro_f1_of_chosen_epochs") or []
        details = {name: scored.metadata[key] for key, name in DETAILS.items() if scored.metadata.get(key)}
        entries.append(
            {
                "name": scored.name,
                "macro_f1": scored.macro_f1,
                "gain": gain,
                "drawn": gain_bar(gain, most),
                "low": min(folds, default=None),
                "high": max(folds, default=None),
                "weights": _weights(scored.metadata),
                "details": {name: words(_rounded(value)) for name, value in details.items()},
            }
        )
    return entries


def _weights(metadata: dict[str, Any]) -> list[str]:
    """What each input weighs, and its spread over the folds where the member has it."""
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


def _classes(products: Products, singles: dict[str, _Scored], member: _Scored) -> list[dict[str, Any]]:
    """Classes by what fusing gains over the better of the two models, the largest gain first; beside it
    what each modality adds to the other."""
    support = np.bincount(products.labels[products.rows("validation")], minlength=len(products.classes))
    gains = 100 * (member.f1 - np.max([one.f1 for one in singles.values()], axis=0))
    additions = [100 * adds for adds in _additions(singles, member).values()]
    present = np.flatnonzero(support)
    most = max((float(np.abs(adds[present]).max()) for adds in additions), default=0.0)
    return [
        {
            "name": class_label(products, label),
            "support": int(support[label]),
            "singles": [float(one.f1[label]) for one in singles.values()],
            "fused": float(member.f1[label]),
            "gain": float(gains[label]),
            "adds": [
                {"points": float(adds[label]), "drawn": gain_bar(float(adds[label]), most)}
                for adds in additions
            ],
        }
        for label in present[np.argsort(-gains[present], kind="stable")].tolist()
    ]
