"""The report of the fusion: what text and image add to each other, class by class and fold by fold."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.core.errors import InputError
from components.data.probabilities import Classifier
from components.data.products import Products
from components.modeling.cross_fitting import chosen_macro_f1
from components.modeling.metrics import f1_per_class, macro_f1
from components.reports.charts import gain_bar
from components.reports.page import (
    ENOUGH,
    check,
    class_label,
    figure,
    many,
    most_changed,
    percent,
    render,
    signed,
    words,
)

NOTICEABLE_F1 = 0.005  # half a point of F1
# Metadata of a member that its configuration's table has no room for, and what they are called.
DETAILS = {"chosen": "", "chosen_epochs": "epochs", "device": "on"}
HELPED = 3  # classes named
LEAST = 5e-5  # of macro-F1 that a page shows as more than nothing


@dataclass(frozen=True)
class _Scored:
    """A classifier's predictions of validation, their macro-F1, and F1 of each class, (C,)."""

    name: str
    predicted: np.ndarray
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
    rivals = {
        modality: _score(each, products) for modality, each in (("text", text), ("image", image)) if each
    }
    scored = _score(members, products)
    if not rivals or not scored:
        raise InputError("the report of the fusion needs a text or an image classifier, and a member")
    fused, baselines = _best_first(scored), _best_first(_score(feature_level, products))
    singles = {modality: _best_first(each)[0] for modality, each in rivals.items()}
    chosen = {modality: _chosen(each, products) for modality, each in rivals.items()}
    member, best_member = fused[0], _chosen(scored, products)
    strongest = singles[max(chosen, key=chosen.__getitem__)]
    gain = 100 * (best_member - max(chosen.values()))
    classes = _classes(products, singles, member)
    flattery = max(member.macro_f1 - best_member, strongest.macro_f1 - max(chosen.values()))
    return render(
        "fusion",
        lead=_lead(singles, member, strongest, gain),
        figures=[
            *(figure(f"{name}, the best model", percent(score), "%") for name, score in chosen.items()),
            figure("fused, the best member", percent(best_member), "%"),
            figure("gain over the best model", signed(gain), "points"),
        ],
        checks=[
            *_addition_checks(products, singles, member),
            *_loss_check(products, singles, member),
            *_baseline_check(baselines, member),
        ],
        members=_table(fused, strongest.macro_f1),
        baselines=_table(baselines, strongest.macro_f1),
        classes=most_changed(classes, lambda row: row["gain"]),
        class_count=len(classes),
        modalities=list(singles),
        best_member=member.name,
        flattered=flattery >= LEAST,
    )


def _score(classifiers: Sequence[Classifier], products: Products) -> list[_Scored]:
    rows = products.rows("validation")
    labels, count = products.labels[rows], len(products.classes)
    scored = []
    for classifier in classifiers:
        predicted = classifier.chosen("validation", products.ids[rows]).argmax(axis=1)
        f1 = f1_per_class(labels, predicted, count)
        score = macro_f1(labels, predicted, count)
        scored.append(_Scored(classifier.name, predicted, score, f1, classifier.metadata))
    return scored


def _best_first(scored: Sequence[_Scored]) -> list[_Scored]:
    return sorted(scored, key=lambda each: -each.macro_f1)


def _chosen(scored: Sequence[_Scored], products: Products) -> float:
    """Macro-F1 of the best of several, each product predicted by the one that is best on others.

    Args:
        scored: in an order that knows nothing of their scores: of equals the first is chosen.
    """
    rows = products.rows("validation")
    labels, groups = products.labels[rows], products.table["group"].to_numpy()[rows]
    predicted = np.stack([each.predicted for each in scored])
    return chosen_macro_f1(predicted, labels, groups, len(products.classes))


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
    """What does each modality bring, in classes of enough products to say so?"""
    known = _support(products) >= ENOUGH
    for name, adds in _additions(singles, member).items():
        order = np.argsort(-adds, kind="stable")
        helped = [label for label in order if known[label] and adds[label] > NOTICEABLE_F1][:HELPED]
        if helped:
            named = ", ".join(_points(products, label, float(adds[label])) for label in helped)
            yield check(True, f"{name.capitalize()} adds most to {named}.")
        else:
            of = f"class of {ENOUGH} products or more"
            alone = f"{name.capitalize()} adds to no {of} in {member.name}: the rest does as well alone"
            yield check(False, f"{alone}. What all members together gain is in the evaluation.")


def _loss_check(products: Products, singles: dict[str, _Scored], member: _Scored) -> Iterator[dict[str, Any]]:
    """Where does fusing cost?"""
    losses = member.f1 - np.max([one.f1 for one in singles.values()], axis=0)
    losses = np.where(_support(products) >= ENOUGH, losses, 0.0)
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


def _support(products: Products) -> np.ndarray:
    """(C,) validation products of each class."""
    return np.bincount(products.labels[products.rows("validation")], minlength=len(products.classes))


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
                "details": [f"{name} {words(_rounded(value))}".strip() for name, value in details.items()],
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
    support = _support(products)
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
