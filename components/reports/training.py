"""The report of one training, text or image: its curves, its classes, its configuration."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from components.core.errors import InputError
from components.data.alignment import rows_of
from components.data.probabilities import Classifier, Probabilities
from components.data.products import Products, training_task
from components.modeling.metrics import f1_per_class, macro_f1, worst_first
from components.reports.charts import bar, line_chart
from components.reports.page import ENOUGH, WEAK, check, class_label, figure, many, percent, render, words

WORST_CLASSES = 15
NOTICEABLE_POINTS = 1.0  # points of macro-F1
CURVES = {  # key of a curve -> the chart's title, and how a figure of it is written
    "loss": ("Training loss", "{:.4f}".format),
    "macro_f1": ("Macro-F1 on validation, %", percent),
    "learning_rate": ("Learning rate", "{:.2e}".format),
    "seconds": ("Seconds per epoch", "{:,.1f}".format),
}
Curves = list[dict[str, float]]  # one mapping an epoch
_CHOSEN = "chosen_epoch"  # the metric of a training that takes not its last epoch, but the best on validation


@dataclass(frozen=True)
class _Scores:
    """A checkpoint's macro-F1 on validation, or on its fold; F1 and products of each class, (C,)."""

    macro_f1: float
    f1: np.ndarray
    support: np.ndarray


def training_report(classifier: Classifier, products: Products) -> str:
    """Draws the report of a classifier that `write_trained` left.

    Its metadata hold `curves`, one mapping an epoch, and `config`, `seed`, `metrics`, and `fold`, or `folds`
    where several were trained in one task.

    Raises:
        InputError: its chosen checkpoint has neither a validation nor an out-of-fold matrix.
    """
    metadata = classifier.metadata
    device = {"device": metadata["device"]} if "device" in metadata else {}
    curves = metadata.get("curves", [])
    splits = next(iter(classifier.matrices.values()))
    split = "out_of_fold" if "out_of_fold" in splits else "validation"
    if split not in splits:
        raise InputError(
            f"classifier {classifier.name}: neither a validation nor an out-of-fold matrix to report on"
        )
    scores = {
        name: _scores(matrices[split], products)
        for name, matrices in classifier.matrices.items()
        if split in matrices
    }
    chosen = next(iter(scores.values()))
    return render(
        "training",
        name=classifier.name,
        modality=classifier.modality,
        of_folds=_of_folds(metadata),
        lead=_lead(chosen, split),
        checks=[*_curve_checks(curves), _classes_check(products, chosen)],
        figures=_figures(classifier, products, curves, chosen),
        charts=_charts(curves, _used_epoch(metadata)),
        used="the best on validation" if _CHOSEN in metadata.get("metrics", {}) else "the last",
        resumed=bool(_resumed(curves)),
        epochs=[
            {key: form(curve[key]) if key in curve else "" for key, (_, form) in CURVES.items()}
            for curve in curves
        ],
        columns=[key for key in CURVES if any(key in curve for curve in curves)],
        checkpoints=[{"name": name, "macro_f1": each.macro_f1} for name, each in scores.items()],
        classes=_worst_classes(products, chosen),
        split=split,
        metrics={key.replace("_", " "): _plainly(value) for key, value in metadata.get("metrics", {}).items()}
        | device,
        config={name: words(value) for name, value in metadata.get("config", {}).items()},
    )


def _scores(matrix: Probabilities, products: Products) -> _Scores:
    labels = products.labels[rows_of(products.ids, matrix.ids, what="rows", where="the product table")]
    predicted, count = matrix.pred_probs.argmax(axis=1), len(products.classes)
    support = np.bincount(labels, minlength=count)
    return _Scores(macro_f1(labels, predicted, count), f1_per_class(labels, predicted, count), support)


def _of_folds(metadata: dict[str, Any]) -> str:
    if folds := metadata.get("folds"):
        return f"folds {folds[0]} to {folds[-1]}"
    return "" if metadata.get("fold") is None else f"fold {metadata['fold']}"


def _lead(scores: _Scores, split: str) -> str:
    left_out = "products, each of the fold that its training left out"
    where = "validation products" if split == "validation" else left_out
    return f"Macro-F1 {percent(scores.macro_f1)} % on {scores.support.sum():,} {where}."


def _curve_checks(curves: Curves) -> list[dict[str, Any]]:
    """Did it learn, was it long enough, was it disturbed?"""
    if not curves:
        return [check(True, "This training leaves no figures of single epochs, so there are no curves.")]
    resumed = [
        check(True, f"It was stopped and went on from step {step:,}, in epoch {epoch}.")
        for epoch, step in _resumed(curves)
    ]
    # Each stage's loss has terms of its own, and only the last stage's network predicts.
    last = [curve for curve in curves if curve.get("stage") == curves[-1].get("stage")]
    stage = " of the last stage" if len(last) < len(curves) else ""
    return [*_loss_check(last, stage), *_length_check(last, stage), *resumed]


def _loss_check(curves: Curves, stage: str) -> list[dict[str, Any]]:
    losses = [curve["loss"] for curve in curves if "loss" in curve]
    if len(losses) < 2:
        return []
    change = f"The training loss{stage} went from {losses[0]:.3g} to {losses[-1]:.3g}"
    if losses[-1] < losses[0]:
        return [check(True, f"{change}.")]
    return [check(False, f"{change}: it did not learn. Lower the learning rate.")]


def _length_check(curves: Curves, stage: str) -> list[dict[str, Any]]:
    scored = [epoch for epoch, curve in enumerate(curves) if "macro_f1" in curve]
    if len(scored) < 2:
        return []
    best, last = max(scored, key=lambda epoch: curves[epoch]["macro_f1"]), scored[-1]
    if best == last:
        return [check(False, f"The last epoch{stage} was its best: more epochs may still help.")]
    lost = 100 * (curves[best]["macro_f1"] - curves[last]["macro_f1"])
    reached = f"It was best after epoch {best + 1} of {len(curves)}{stage}"
    if lost < NOTICEABLE_POINTS:
        return [check(True, f"{reached} and stayed there: more epochs would hardly help.")]
    return [check(False, f"{reached} and ended {lost:.2f} points lower: fewer epochs may do.")]


def _used_epoch(metadata: dict[str, Any]) -> int:
    """The epoch whose weights predict, counted from 1 through all stages."""
    return int(metadata.get("metrics", {}).get(_CHOSEN, len(metadata.get("curves", []))))


def _resumed(curves: Curves) -> list[tuple[int, int]]:
    """(epoch, step) wherever the training went on from a checkpoint."""
    return [
        (epoch, int(curve["resumed_at_step"]))
        for epoch, curve in enumerate(curves, start=1)
        if "resumed_at_step" in curve
    ]


def _classes_check(products: Products, scores: _Scores) -> dict[str, Any]:
    known = [label for label in worst_first(scores.f1, scores.support) if scores.support[label] >= ENOUGH]
    weak = [label for label in known if scores.f1[label] < WEAK]
    of = f"of {ENOUGH} products or more"
    if not known:
        return check(True, f"There is no class {of}: too few to call one weak.")
    if not weak:
        return check(True, f"Every class {of} has an F1 of at least {percent(WEAK, 0)} %.")
    named = ", ".join(class_label(products, label, 40) for label in weak[:5])
    more = f" and {len(weak) - 5} more" if len(weak) > 5 else ""
    count = many(len(weak), "class", "classes")
    return check(False, f"{count} {of} with an F1 under {percent(WEAK, 0)} %: {named}{more}.")


def _figures(
    classifier: Classifier, products: Products, curves: Curves, scores: _Scores
) -> list[dict[str, str]]:
    metadata = classifier.metadata
    cleaned = bool(metadata.get("config", {}).get("cleaned", False))
    folds = metadata.get("folds", [metadata.get("fold")])
    counts = [len(training_task(products, fold=fold, cleaned=cleaned).fit) for fold in folds]
    fitted = sum(counts)
    figures = [
        figure("macro-F1", percent(scores.macro_f1), "%"),
        figure(f"products trained on{', a fold' if len(folds) > 1 else ''}", f"{fitted // len(folds):,}"),
    ]
    seconds = sum(curve.get("seconds", 0.0) for curve in curves)
    metrics = metadata.get("metrics", {})
    seconds = seconds or metrics.get("training_seconds", metrics.get("seconds", 0))
    if seconds > 0:
        rate = fitted * max(len(curves), 1) / seconds
        figures += [figure("epochs", str(len(curves)))] if curves else []
        figures.append(figure("training time", duration(seconds)))
        figures.append(figure("throughput", f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}", "products/s"))
    return figures


def duration(seconds: float) -> str:
    """4000 -> "1 h 07 min", 75 -> "1 min 15 s", 3.2 -> "3 s"."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def _charts(curves: Curves, used: int) -> list[dict[str, Any]]:
    """One chart a curve, over epochs counted through; the stages of a training are series of their own.

    Args:
        used: the epoch that is marked on the chart of macro-F1.
    """
    rules = [(float(epoch), f"went on from step {step:,}") for epoch, step in _resumed(curves)]
    charts = []
    for key, (title, _) in CURVES.items():
        scale = 100.0 if key == "macro_f1" else 1.0
        series: dict[str, list[tuple[float, float]]] = {}
        for epoch, curve in enumerate(curves, start=1):
            if key in curve and np.isfinite(curve[key]):
                stage = f"stage {curve['stage']:.0f}" if "stage" in curve else title
                series.setdefault(stage, []).append((float(epoch), scale * float(curve[key])))
        if series:
            points = [point for line in series.values() for point in line]
            marked = next((point for point in points if point[0] == used), None)
            dot = marked if key == "macro_f1" else None
            from_zero = key in ("learning_rate", "seconds")
            chart = line_chart(series, title=title, x_name="epoch", from_zero=from_zero, dot=dot, rules=rules)
            charts.append({"title": title, "chart": chart})
    return charts


def _worst_classes(products: Products, scores: _Scores) -> list[dict[str, Any]]:
    return [
        {
            "name": class_label(products, label),
            "support": int(scores.support[label]),
            "f1": float(scores.f1[label]),
            "drawn": bar(float(scores.f1[label]), weak=bool(scores.f1[label] < WEAK)),
        }
        for label in worst_first(scores.f1, scores.support)[:WORST_CLASSES]
    ]


def _plainly(value: float) -> str:
    """23594.0 -> "23,594", 0.96471 -> "0.9647"."""
    return f"{value:,.0f}" if value >= 1000 or float(value).is_integer() else f"{value:.4g}"
