"""The report of one training, text or image: its curves, its classes, its configuration."""

from typing import Any

import numpy as np

from components.core.errors import InputError
from components.data.probabilities import Classifier
from components.data.products import Products, training_task
from components.modeling.metrics import f1_per_class, macro_f1
from components.reports.charts import bar, line_chart
from components.reports.page import WEAK, check, class_label, many, percent, render, words

WORST_CLASSES = 15
NOTICEABLE = 1.0  # points of macro-F1
CURVES = {  # key of a curve -> the chart's title
    "loss": "Training loss",
    "macro_f1": "Macro-F1 on validation, %",
    "learning_rate": "Learning rate",
    "seconds": "Seconds per epoch",
}


def training_report(classifier: Classifier, products: Products) -> str:
    """Draws the report of a classifier that `write_trained` left.

    Its metadata hold `curves`, one mapping an epoch, and `config`, `seed`, `fold` and `metrics`.
    """
    curves = classifier.metadata.get("curves", [])
    fold = classifier.metadata.get("fold")
    predicted = _predicted(classifier, products)
    return render(
        "training",
        name=classifier.name,
        modality=classifier.modality,
        fold=fold,
        lead=_lead(predicted),
        checks=_checks(products, curves, predicted),
        figures=_figures(classifier, products, curves, predicted),
        charts=_charts(curves),
        resumed=bool(_resumed(curves)),
        epochs=_epochs(curves),
        columns=[key for key in CURVES if any(key in curve for curve in curves)],
        checkpoints=_checkpoints(classifier, products, predicted["split"]),
        classes=_worst_classes(products, predicted),
        split=predicted["split"],
        metrics=_numbers(classifier.metadata.get("metrics", {})),
        config={name: words(value) for name, value in classifier.metadata.get("config", {}).items()},
    )


def _predicted(classifier: Classifier, products: Products) -> dict[str, Any]:
    """The chosen checkpoint's predictions on validation, or on its fold."""
    splits = next(iter(classifier.matrices.values()))
    split = "validation" if "validation" in splits else "out_of_fold"
    if split not in splits:
        raise InputError(
            f"classifier {classifier.name}: neither a validation nor an out-of-fold matrix to report on"
        )
    rows = _rows_of(splits[split].ids, products)
    labels, predicted = products.labels[rows], splits[split].pred_probs.argmax(axis=1)
    score = macro_f1(labels, predicted, len(products.classes))
    return {"split": split, "labels": labels, "predicted": predicted, "macro_f1": score}


def _rows_of(ids: np.ndarray, products: Products) -> np.ndarray:
    place = {product: row for row, product in enumerate(products.ids)}
    return np.array([place[product] for product in ids], dtype=np.int64)


def _lead(predicted: dict[str, Any]) -> str:
    where = (
        "validation products"
        if predicted["split"] == "validation"
        else "products of the fold that it did not see"
    )
    return f"Macro-F1 {percent(predicted['macro_f1'])} % on {len(predicted['labels']):,} {where}."


def _checks(
    products: Products, curves: list[dict[str, float]], predicted: dict[str, Any]
) -> list[dict[str, Any]]:
    """Did it learn, was it long enough, was it disturbed, and where is it weak?"""
    checks = [*_loss_check(curves), *_length_check(curves)]
    if not curves:
        checks = [check(True, "This classifier is fitted in one go, so there are no curves.")]
    for epoch, step in _resumed(curves):
        checks.append(check(True, f"It was stopped and went on from step {step:,}, in epoch {epoch}."))
    f1, support = _per_class(products, predicted)
    weak = [label for label in np.argsort(f1, kind="stable").tolist() if support[label] and f1[label] < WEAK]
    if not weak:
        return [*checks, check(True, f"Every class has an F1 of at least {percent(WEAK, 0)} %.")]
    named = ", ".join(class_label(products, label, 40) for label in weak[:5])
    named += ", …" if len(weak) > 5 else ""
    return [
        *checks,
        check(
            False, f"{many(len(weak), 'class', 'classes')} with an F1 under {percent(WEAK, 0)} %: {named}."
        ),
    ]


def _loss_check(curves: list[dict[str, float]]) -> list[dict[str, Any]]:
    losses = [curve["loss"] for curve in curves if "loss" in curve]
    if len(losses) < 2:
        return []
    said = f"The training loss went from {losses[0]:.3g} to {losses[-1]:.3g}"
    if losses[-1] < losses[0]:
        return [check(True, f"{said}.")]
    return [check(False, f"{said}: it did not learn. Lower the learning rate.")]


def _length_check(curves: list[dict[str, float]]) -> list[dict[str, Any]]:
    scored = [curve for curve in curves if "macro_f1" in curve]
    if len(scored) < 2:
        return []
    best = max(scored, key=lambda curve: curve["macro_f1"])
    last, stage = scored[-1], " of its last stage" if "stage" in scored[-1] else ""
    lost = 100 * (best["macro_f1"] - last["macro_f1"])
    if best is last:
        return [check(False, f"The last epoch{stage} was its best: more epochs may still help.")]
    said = f"It was best after epoch {_number(curves, best)} of {len(curves)}"
    if lost < NOTICEABLE:
        return [check(True, f"{said} and stayed there: more epochs would hardly help.")]
    return [check(False, f"{said} and ended {lost:.2f} points lower: fewer epochs may do.")]


def _number(curves: list[dict[str, float]], curve: dict[str, float]) -> int:
    """An epoch's number, counted through all stages."""
    return 1 + next(index for index, other in enumerate(curves) if other is curve)


def _resumed(curves: list[dict[str, float]]) -> list[tuple[int, int]]:
    """(epoch, step) wherever the training went on from a checkpoint."""
    return [
        (epoch, int(curve["resumed_at_step"]))
        for epoch, curve in enumerate(curves, start=1)
        if "resumed_at_step" in curve
    ]


def _figures(
    classifier: Classifier, products: Products, curves: list[dict[str, float]], predicted: dict[str, Any]
) -> list[dict[str, str]]:
    cleaned = bool(classifier.metadata.get("config", {}).get("cleaned", False))
    fitted = len(training_task(products, fold=classifier.metadata.get("fold"), cleaned=cleaned).fit)
    figures = [
        {"name": "macro-F1", "value": percent(predicted["macro_f1"]), "unit": "%"},
        {"name": "products trained on", "value": f"{fitted:,}", "unit": ""},
    ]
    seconds = sum(curve.get("seconds", 0.0) for curve in curves) or classifier.metadata.get(
        "metrics", {}
    ).get("seconds", 0)
    if seconds > 0:
        rate = fitted * max(len(curves), 1) / seconds
        figures += [
            *([{"name": "epochs", "value": str(len(curves)), "unit": ""}] if curves else []),
            {"name": "training time", "value": duration(seconds), "unit": ""},
            {
                "name": "throughput",
                "value": f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}",
                "unit": "products/s",
            },
        ]
    return figures


def duration(seconds: float) -> str:
    """4000 -> "1 h 07 min", 75 -> "1 min 15 s", 3.2 -> "3 s"."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def _charts(curves: list[dict[str, float]]) -> list[dict[str, Any]]:
    """One chart a curve, over epochs counted through; the stages of a training are series of their own."""
    rules = [(float(epoch), f"went on from step {step:,}") for epoch, step in _resumed(curves)]
    charts = []
    for key, title in CURVES.items():
        scale = 100.0 if key == "macro_f1" else 1.0
        series: dict[str, list[tuple[float, float]]] = {}
        for epoch, curve in enumerate(curves, start=1):
            if key in curve and np.isfinite(curve[key]):
                stage = f"stage {curve['stage']:.0f}" if "stage" in curve else title
                series.setdefault(stage, []).append((float(epoch), scale * float(curve[key])))
        if series:
            points = [point for line in series.values() for point in line]
            best = max(points, key=lambda point: point[1]) if key == "macro_f1" else None
            from_zero = key in ("learning_rate", "seconds")
            drawing = {"title": title, "x_name": "epoch", "y_name": "", "from_zero": from_zero}
            chart = line_chart(series, **drawing, best=best, rules=rules)
            charts.append({"title": title, "chart": chart})
    return charts


def _epochs(curves: list[dict[str, float]]) -> list[dict[str, str]]:
    shown = {
        "loss": lambda value: f"{value:.4f}",
        "macro_f1": percent,
        "learning_rate": lambda value: f"{value:.2e}",
        "seconds": lambda value: f"{value:,.1f}",
    }
    return [
        {key: form(curve[key]) if key in curve else "" for key, form in shown.items()} for curve in curves
    ]


def _checkpoints(classifier: Classifier, products: Products, split: str) -> list[dict[str, Any]]:
    """Macro-F1 of every checkpoint kept: late ones vote too (paper, section 3.4)."""
    entries = []
    for name, splits in classifier.matrices.items():
        if split in splits:
            labels = products.labels[_rows_of(splits[split].ids, products)]
            score = macro_f1(labels, splits[split].pred_probs.argmax(axis=1), len(products.classes))
            entries.append({"name": name, "macro_f1": score})
    return entries


def _per_class(products: Products, predicted: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """F1 and number of products of every class."""
    labels, count = predicted["labels"], len(products.classes)
    return f1_per_class(labels, predicted["predicted"], count), np.bincount(labels, minlength=count)


def _worst_classes(products: Products, predicted: dict[str, Any]) -> list[dict[str, Any]]:
    f1, support = _per_class(products, predicted)
    present = np.flatnonzero(support)
    worst = present[np.argsort(f1[present], kind="stable")][:WORST_CLASSES]
    return [
        {
            "name": class_label(products, label),
            "support": int(support[label]),
            "f1": float(f1[label]),
            "drawn": bar(float(f1[label]), weak=bool(f1[label] < WEAK)),
        }
        for label in worst.tolist()
    ]


def _numbers(metrics: dict[str, float]) -> dict[str, str]:
    return {name.replace("_", " "): _plainly(value) for name, value in metrics.items()}


def _plainly(value: float) -> str:
    """23594.0 -> "23,594", 0.96471 -> "0.9647"."""
    return f"{value:,.0f}" if value >= 1000 or float(value).is_integer() else f"{value:.4g}"
