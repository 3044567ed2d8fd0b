"""Evaluate: Table 1 of the paper, the predictions, and a report of what the run is worth."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.core.artifacts import read_manifest, write_json, write_manifest, write_text
from components.core.errors import InputError
from components.core.stage import Result
from components.data.class_tree import tree_of
from components.data.image_store import ImageStore
from components.data.prediction_files import DETAIL, QUEUE, write_predictions
from components.data.probabilities import Classifier
from components.data.products import Products, read_products
from components.evaluate.evaluation import (
    HONESTY,
    Evaluation,
    Scored,
    evaluate_split,
    read_all_classifiers,
    read_predictions,
    with_best_of,
)
from components.evaluate.hierarchy import drawn_classes, hierarchy_entry
from components.evaluate.report import evaluate_report
from components.evaluate.scores import Score
from components.evaluate.summary import PUBLISHED, reduced_confusion, summary, verdict
from components.modeling.metrics import ROWS
from components.reports.page import plain, read_issues, safe_report

log = logging.getLogger(__name__)

# File name of each prediction, and the row of Table 1 whose classifier makes it.
PREDICTIONS = {"predictions": "ensemble", "predictions_text": "text", "predictions_image": "image"}


def run_evaluate(
    products: Path,
    images: Path,
    text: Sequence[Path],
    image: Sequence[Path],
    members: Path,
    feature_level: Path,
    ensemble: Path,
    label_issues: Path,
    new_products: Path,
    predictions: Path,
    *,
    seed: int,
    metadata: dict[str, Any],
    results: Path,
) -> Result:
    """Scores every classifier, writes the predictions, and draws the report.

    Leaves in `results`: `predictions.tsv`, `predictions_text.tsv`, `predictions_image.tsv` (`.csv` in
    the CSV dialect), `predictions_detail.tsv`, `review_queue.tsv`, none of these where there is nothing to
    categorize; `metrics.json`, `confusion.json`, `summary.md`, `report.html` and a manifest.

    Args:
        text, image: classifier folders; the best of each on validation stands for it.
        members, feature_level: folders of classifier folders.
        label_issues: folder of what denoising flagged, worst first.
        new_products: the products to categorize, scored as the test split where their codes are known.
        predictions: what the model says of them.
        seed: of the intervals' draws.
        metadata: lineage to show: code revision, image tags, seeds, configurations.

    Returns:
        Ten scalars at most, and the report.

    Raises:
        InputError: a classifier lacks a split or a product, or there is nothing labeled to predict on.
    """
    table = read_products(products)
    classifiers = read_all_classifiers(text, image, members, feature_level, ensemble, classes=table.classes)
    issues = read_issues(label_issues)
    validation = evaluate_split(
        table, classifiers, "validation", seed=seed, flagged=issues["product_id"].tolist()
    )
    if validation is None:
        raise InputError(f"{products}: no labeled product in the validation split to evaluate on")
    new, predicted = read_products(new_products), read_predictions(predictions, classes=table.classes)
    test = with_best_of(evaluate_split(new, predicted, "test", seed=seed), validation)
    if len(new.table):
        _write_predictions(new, validation, predicted, results)
        for name in (DETAIL, QUEUE):
            shutil.copyfile(predictions / name, results / name)
    manifest = read_manifest(predictions, check=False)
    decided = {
        "new_products": manifest["counts"],
        "threshold": manifest["threshold"],
        "label_issues": {"flagged": len(issues), "removed": int(np.count_nonzero(issues["removed"]))},
    }
    _write_documents(table, new, validation, test, {**metadata, **decided}, results)
    report = safe_report(
        lambda: evaluate_report(table, new, ImageStore(images), validation, test, issues, metadata=metadata)
    )
    write_text(results / "report.html", report)
    write_manifest(results, seed=seed)
    scalars = _scalars(validation, test)
    log.info("macro-F1 of the ensemble on validation: %.4f", scalars["ensemble_macro_f1"])
    return Result(scalars, report)


def _write_documents(
    products: Products,
    new: Products,
    validation: Evaluation,
    test: Evaluation | None,
    metadata: dict[str, Any],
    results: Path,
) -> None:
    write_json(results / "metrics.json", metrics_document(products, new, validation, test, metadata))
    codes, _, labels, predicted = drawn_classes(products, validation)
    classes, matrix = reduced_confusion(codes, labels, predicted)
    write_json(results / "confusion.json", {"classes": classes, "matrix": matrix.tolist()})
    write_text(results / "summary.md", summary(products, new, validation, test))


def metrics_document(
    products: Products,
    new: Products,
    validation: Evaluation,
    test: Evaluation | None,
    metadata: dict[str, Any],
) -> dict[str, Any]:
    """What `metrics.json` holds: the results and every classifier, by split, beside the published figures."""
    return {
        "validation": _split_document(products, validation),
        "test": _split_document(products, test) if test else None,
        "verdict": verdict(products, new, validation),
        "denoise_on": metadata.get("denoise_on"),
        **{name: metadata.get(name) for name in ("new_products", "threshold", "label_issues")},
        "class_names": products.metadata.get("class_names", {}),
        "digests": products.metadata.get("digests", {}),
        "published_macro_f1": PUBLISHED,
    }


def _split_document(products: Products, evaluation: Evaluation) -> dict[str, Any]:
    honest = (
        HONESTY
        if evaluation.split == "validation"
        else dict.fromkeys(ROWS, "No model was fitted, tuned or chosen on these products.")
    )
    tree = tree_of(products.classes, products.metadata)
    return {
        "products": len(evaluation.rows),
        "groups": evaluation.groups,
        "flagged": int(evaluation.flagged.sum()),
        "decided": _decided(evaluation.decided),
        "rows": {
            row: {
                **_entry(products, scored),
                **hierarchy_entry(tree, evaluation, scored),
                "macro_f1_without_flagged": evaluation.macro_f1_without_flagged(scored),
                "honesty": honest[row],
            }
            for row, scored in evaluation.best.items()
        },
        "classifiers": [
            {**_entry(products, scored), **hierarchy_entry(tree, evaluation, scored), "row": scored.row}
            for scored in evaluation.classifiers
        ],
        "mistakes": _mistakes(products, evaluation),
    }


def _decided(score: Score | None) -> dict[str, Any] | None:
    """The ensemble on the labels that people decided alone; None where there are none."""
    if score is None:
        return None
    figures = {"macro_f1": score.macro_f1, "macro_f1_interval": list(score.interval)}
    return {"products": int(score.support.sum()), **figures, "accuracy": score.accuracy}


def _mistakes(products: Products, evaluation: Evaluation) -> list[dict[str, Any]]:
    """The products that the ensemble has wrong, by which two runs can be compared."""
    predicted, classes = evaluation.best["ensemble"].predicted, products.classes
    ids, titles = products.ids, products.table["title"].tolist()
    return [
        {
            "product": str(ids[evaluation.rows[at]]),
            "title": plain(titles[evaluation.rows[at]], 90),
            "label": classes[evaluation.labels[at]],
            "predicted": classes[predicted[at]],
            "flagged": bool(evaluation.flagged[at]),
        }
        for at in np.flatnonzero(predicted != evaluation.labels).tolist()
    ]


def _entry(products: Products, scored: Scored) -> dict[str, Any]:
    score = scored.score
    per_class = zip(products.classes, score.f1, score.precision, score.recall, score.support, strict=True)
    return {
        "name": scored.classifier.name,
        "macro_f1": score.macro_f1,
        "macro_f1_interval": list(score.interval),
        "weighted_f1": score.weighted_f1,
        "accuracy": score.accuracy,
        "accuracy_interval": list(score.accuracy_interval),
        "calibration_error": scored.calibration.error,
        "per_class": {
            code: {
                "f1": float(f1),
                "precision": float(precision),
                "recall": float(recall),
                "support": int(count),
            }
            for code, f1, precision, recall, count in per_class
        },
    }


def _write_predictions(
    new: Products, validation: Evaluation, predicted: Sequence[tuple[str, Classifier]], output: Path
) -> None:
    """The codes of the ensemble, and of the best text and image classifier that the model kept."""
    scores = {key: scored.score.macro_f1 for key, scored in validation.by_name.items()}
    predicted_by_name = {(row, classifier.name): classifier for row, classifier in predicted}
    for stem, row in PREDICTIONS.items():
        of_row = {key: one for key, one in predicted_by_name.items() if key[0] == row and key in scores}
        if of_row:
            best = of_row[max(of_row, key=scores.__getitem__)]
            labels = best.chosen("test", new.ids).argmax(axis=1)
            write_predictions(new.table, [new.classes[i] for i in labels], new.metadata, output, stem)


def _scalars(validation: Evaluation, test: Evaluation | None) -> dict[str, float]:
    scalars = {f"{row}_macro_f1": scored.score.macro_f1 for row, scored in validation.best.items()}
    ensemble = validation.best["ensemble"]
    scalars["ensemble_weighted_f1"] = ensemble.score.weighted_f1
    scalars["ensemble_accuracy"] = ensemble.score.accuracy
    scalars["ensemble_calibration_error"] = ensemble.calibration.error
    if test:
        scalars["ensemble_macro_f1_test"] = test.best["ensemble"].score.macro_f1
    return scalars
