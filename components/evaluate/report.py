"""What the evaluation's report shows: plain data for the template."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from components.data.class_tree import PATHS
from components.data.image_store import ImageStore
from components.data.products import Products
from components.evaluate.advice import advice
from components.evaluate.evaluation import HONESTY, Evaluation, Scored
from components.evaluate.examples import confused, disagreements
from components.evaluate.hierarchy import drawn_classes
from components.evaluate.summary import PUBLISHED, gain, reduced_confusion, verdict
from components.evaluate.tree_report import tree_section
from components.modeling.metrics import ROWS, worst_first
from components.reports.charts import bar, interval_bar, reliability_chart
from components.reports.matrix_chart import heatmap
from components.reports.page import (
    MEANING,
    WEAK,
    Gallery,
    class_label,
    class_labels,
    figure,
    percent,
    render,
    signed,
    words,
)

SHOWN_CLASSES = 15  # the others are folded away
COUNTED = 30  # classes up to which a confusion's cells have room for counts
PAIRS = 5  # of classes, among the label issues
CHALLENGE = ("tsv", "csv")  # the dialects of the challenge's own catalogs
NO_LINEAGE = ("class_names", PATHS, "labels_columns", "delimiter", "digests")


def evaluate_report(
    products: Products,
    new: Products,
    images: ImageStore,
    validation: Evaluation,
    test: Evaluation | None,
    issues: pd.DataFrame,
    *,
    metadata: dict[str, Any],
) -> str:
    """Draws the run's report.

    Args:
        new: the products to categorize.
        issues: what denoising flagged, as `read_issues` returns it.
        metadata: lineage to show: code revision, image tags, seeds, configurations.
    """
    gallery = Gallery(products, images)
    calibration = validation.best["ensemble"].calibration
    predicted = len(new.table)
    beside = products.metadata.get("dialect") in CHALLENGE
    per_class = _per_class(products, validation)
    return render(
        "evaluate",
        verdict=verdict(products, new, validation),
        advice=advice(products, validation, issues),
        figures=_figures(validation, test),
        table=_table(validation, test, beside=beside),
        published_beside=beside,
        flagged=int(validation.flagged.sum()),
        tested=test is not None,
        untested=test is not None and test.best.keys() < validation.best.keys(),
        honesty={ROWS[row]: f"{MEANING[row]}. {HONESTY[row]}" for row in validation.best},
        classifiers=_classifiers(validation, test),
        split=validation.split,
        count=len(validation.rows),
        singles=list(validation.singles),
        per_class=per_class,
        tree=tree_section(products, validation, per_class),
        shown_classes=SHOWN_CLASSES,
        confusion=_confusion(products, validation),
        confusions=confused(products, validation, gallery),
        disagreements=disagreements(products, validation, gallery),
        calibration=reliability_chart(calibration, title="Reliability of the ensemble's probabilities"),
        calibration_error=calibration.error,
        calibrations=[
            {"name": ROWS[row], "error": scored.calibration.error} for row, scored in validation.best.items()
        ],
        issues=_issues(products, issues),
        predictions={"made": predicted, "rows": new.metadata.get("rows", {}).get("test", predicted)},
        lineage=_lineage(products, validation, metadata),
    )


def _figures(validation: Evaluation, test: Evaluation | None) -> list[dict[str, str]]:
    score = validation.best["ensemble"].score
    row, difference, _ = gain(validation)
    figures = [
        figure("macro-F1 of the ensemble", percent(score.macro_f1), "%"),
        figure(f"over the best single model ({row})", signed(100 * difference), "points"),
        figure("accuracy", percent(score.accuracy), "%"),
        figure("products evaluated", f"{len(validation.rows):,}"),
    ]
    without = validation.macro_f1_without_flagged(validation.best["ensemble"])
    if without is not None:
        figures.insert(1, figure("without doubted labels, an upper bound", percent(without), "%"))
    if validation.decided:
        count = f"on the {int(validation.decided.support.sum()):,} labels that people decided"
        figures.insert(2, figure(count, percent(validation.decided.macro_f1), "%"))
    if test:
        on_test = percent(test.best["ensemble"].score.macro_f1)
        figures.insert(1, figure("macro-F1 on the test split", on_test, "%"))
    return figures


def _table(validation: Evaluation, test: Evaluation | None, *, beside: bool) -> list[dict[str, Any]]:
    """The measured figures and, for a catalog of the challenge's form, the published ones beside them."""
    published = [figure for figures in PUBLISHED.values() for figure in figures.values()] if beside else []
    intervals = [scored.score.interval for scored in validation.best.values()]
    bounds = (
        min([low for low, _ in intervals] + published) - 0.01,
        min(max([high for _, high in intervals] + published) + 0.01, 1.0),
    )
    rows = []
    for row, name in ROWS.items():
        entry: dict[str, Any] = {"name": name, "meaning": MEANING[row], "published": PUBLISHED[row]}
        entry["chief"] = row == "ensemble"
        if row in validation.best:
            scored = validation.best[row]
            interval, marks = scored.score.interval, list(PUBLISHED[row].values()) if beside else []
            entry["without_flagged"] = validation.macro_f1_without_flagged(scored)
            entry |= {"classifier": scored.classifier.name, **_figures_of(scored)}
            entry["drawn"] = interval_bar(scored.score.macro_f1, *interval, bounds, marks)
            entry["test"] = test.best[row].score.macro_f1 if test and row in test.best else None
        rows.append(entry)
    return rows


def _figures_of(scored: Scored) -> dict[str, float]:
    score, (low, high) = scored.score, scored.score.interval
    figures = {"macro_f1": score.macro_f1, "weighted_f1": score.weighted_f1, "accuracy": score.accuracy}
    least, most = score.accuracy_interval
    return {**figures, "low": low, "high": high, "least": least, "most": most}


def _classifiers(validation: Evaluation, test: Evaluation | None) -> list[dict[str, Any]]:
    on_test = {key: scored.score.macro_f1 for key, scored in test.by_name.items()} if test else {}
    entries = [
        {
            "name": scored.classifier.name,
            "row": ROWS[scored.row],
            **_figures_of(scored),
            "test": on_test.get(key),
        }
        for key, scored in validation.by_name.items()
    ]
    return sorted(entries, key=lambda entry: -entry["macro_f1"])


def _per_class(products: Products, evaluation: Evaluation) -> list[dict[str, Any]]:
    """Classes of the split, worst first by the ensemble's F1."""
    score = evaluation.best["ensemble"].score
    return [
        {
            "name": class_label(products, label),
            "support": int(score.support[label]),
            "flagged": int(evaluation.flagged[evaluation.labels == label].sum()),
            "f1": score.f1[label],
            "drawn": bar(float(score.f1[label]), weak=bool(score.f1[label] < WEAK)),
            "precision": score.precision[label],
            "recall": score.recall[label],
            "singles": [scored.score.f1[label] for scored in evaluation.singles.values()],
        }
        for label in worst_first(score.f1, score.support)
    ]


def _confusion(products: Products, evaluation: Evaluation) -> dict[str, Any]:
    codes, names, labels, predicted = drawn_classes(products, evaluation)
    classes, matrix = reduced_confusion(codes, labels, predicted)
    numbers = all(code.isdecimal() for code in codes)
    # The last one stands for all others where not all are drawn.
    rest = len(classes) < len(codes)
    order = sorted(range(len(classes) - rest), key=lambda at: int(classes[at]) if numbers else at)
    order += [len(classes) - 1] * rest
    classes, matrix = [classes[at] for at in order], matrix[np.ix_(order, order)]
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    hints = [
        [f"{label} taken for {predicted}: {matrix[i, j]:,}" for j, predicted in enumerate(classes)]
        for i, label in enumerate(classes)
    ]
    title = "Confusion matrix: rows are labels, columns predictions"
    rows = [names.get(code, code) for code in classes]
    texts = [[f"{count:,}" for count in row] for row in matrix.tolist()] if len(classes) <= COUNTED else None
    chart = heatmap(shares, rows, columns=classes, title=title, hints=hints, texts=texts, mistakes=True)
    return {
        "chart": chart,
        "classes": len(codes),
        "merged": len(codes) < len(products.classes),
        "drawn": len(classes),
        "counted": texts is not None,
    }


def _issues(products: Products, issues: pd.DataFrame) -> dict[str, Any]:
    pairs = Counter(zip(issues["given_code"], issues["suggested_code"], strict=True))
    names = class_labels(products)
    return {
        "flagged": len(issues),
        "removed": int(np.count_nonzero(issues["removed"])),
        "labeled": sum(len(products.rows(split)) for split in ("train", "validation")),
        "pairs": [
            {"given": names.get(given, given), "suggested": names.get(suggested, suggested), "count": count}
            for (given, suggested), count in pairs.most_common(PAIRS)
        ],
    }


def _lineage(
    products: Products, evaluation: Evaluation, metadata: dict[str, Any]
) -> dict[str, dict[str, str]]:
    """Where the figures come from, as groups of name and value."""
    digests = products.metadata.get("digests", {})
    catalog = {key: value for key, value in products.metadata.items() if key not in NO_LINEAGE}
    catalog |= {f"SHA-256 of {name}": digest for name, digest in digests.items()}
    classifiers = {
        scored.classifier.name: {
            **scored.classifier.metadata.get("config", {}),
            **{key: value for key, value in scored.classifier.metadata.items() if key in ("seed", "digest")},
        }
        for scored in evaluation.classifiers
    }
    groups = {
        "Run": dict(sorted(metadata.items())),  # the launcher passes mappings in any order
        "Catalog": catalog,
        "Classifiers": {name: value for name, value in classifiers.items() if value},
    }
    return {
        group: {name: words(value) for name, value in items.items() if value not in ("", {})}
        for group, items in groups.items()
        if items
    }
