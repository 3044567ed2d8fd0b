"""Denoise: finds label issues by confident learning and takes the worst out of train (paper, 3.2.1)."""

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

from components.core.artifacts import whole_file, write_manifest
from components.core.errors import InputError
from components.core.stage import Result
from components.data.alignment import rows_of
from components.data.ids import read_ids
from components.data.image_store import ImageStore
from components.data.probabilities import read_classifier
from components.data.products import Products, read_products, write_products
from components.denoise.config import DenoiseConfig
from components.denoise.report import denoise_report
from components.reports.page import ISSUES, safe_report

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelIssues:
    """Flagged products, worst first.

    Attributes:
        rows: row numbers in the product table.
        suggested: the label that the model suggests for each.
        scores: quality of each label by `DenoiseConfig.rank`, 0 (surely wrong) to 1.
        removed: whether each is removed from train.
    """

    rows: np.ndarray
    suggested: np.ndarray
    scores: np.ndarray
    removed: np.ndarray


def run_denoise(
    products: Path,
    out_of_fold: Sequence[Path],
    config: DenoiseConfig,
    *,
    images: Path,
    keep_ids: str,
    cleaned: Path,
    label_issues: Path,
) -> Result:
    """Ranks label issues by the classifiers' out-of-fold probabilities and marks the removed ones.

    Args:
        out_of_fold: one classifier folder a fold and modality; where several predicted a product, the
            mean of their probabilities counts.
        images: the image store, for the report's pictures.
        keep_ids: path or URI of product ids, one a line, that are never removed; "" for none.
        cleaned: file for the product table, its `removed` column set. Nothing leaves validation or test:
            a validation set cleaned by the same models would flatter the result.
        label_issues: folder for a TSV of every flagged product, worst first.

    Returns:
        Counts, and the gallery of label issues.

    Raises:
        InputError: a product was predicted by no fold, or a file breaks its rules.
    """
    catalog = read_products(products)
    rows = catalog.rows("out_of_fold")
    pred_probs = mean_out_of_fold(catalog, rows, out_of_fold)
    issues = find_issues(catalog, rows, pred_probs, config, kept=read_ids(keep_ids, catalog.ids.tolist()))
    removed = np.zeros(len(catalog.table), dtype=bool)
    removed[issues.rows[issues.removed]] = True
    metadata = {**catalog.metadata, "denoise": {"flagged": len(issues.rows), "removed": int(removed.sum())}}
    cleaned_catalog = Products(catalog.table.assign(removed=removed), catalog.classes, metadata)
    write_products(cleaned_catalog, cleaned)
    table = issues_table(catalog, issues)
    write_issues(table, label_issues)
    log.info("flagged %d of %d labeled products, removed %d from train", len(table), len(rows), removed.sum())
    counts = {
        "flagged": len(table),
        "flagged_share": len(table) / len(rows),
        "removed": int(removed.sum()),
    }
    report = safe_report(lambda: denoise_report(cleaned_catalog, ImageStore(images), table))
    return Result(counts, report)


def mean_out_of_fold(products: Products, rows: np.ndarray, folders: Sequence[Path]) -> np.ndarray:
    """Mean out-of-fold probabilities of `rows` over all classifiers, (len(rows), C) float64.

    Raises:
        InputError: a classifier has no out-of-fold matrix, or some product is in none.
    """
    total = np.zeros((len(rows), len(products.classes)))
    count = np.zeros(len(rows), np.int64)
    for folder in folders:
        classifier = read_classifier(folder, classes=products.classes)
        matrix = next(iter(classifier.matrices.values())).get("out_of_fold")
        if matrix is None:
            raise InputError(
                f"{folder} (classifier {classifier.name}): no out-of-fold matrix; give its training a fold"
            )
        where = f"{folder} (classifier {classifier.name})"
        at = rows_of(products.ids[rows], matrix.ids, what="labeled product", where=where)
        total[at] += matrix.pred_probs
        count[at] += 1
    if (count == 0).any():
        first = products.ids[rows[np.flatnonzero(count == 0)[0]]]
        raise InputError(
            f"{int((count == 0).sum())} labeled products were predicted by no fold, the first is {first!r}: "
            "run every fold"
        )
    return total / count[:, None]


def find_issues(
    products: Products,
    rows: np.ndarray,
    pred_probs: np.ndarray,
    config: DenoiseConfig,
    *,
    kept: frozenset[str],
) -> LabelIssues:
    """Flags label issues (Northcutt et al., arXiv:1911.00068) and ranks them.

    Args:
        rows: the labeled products, the rows of `pred_probs`.
        pred_probs: (len(rows), C) out-of-fold probabilities.
        kept: product ids that are never removed.
    """
    labels = products.labels[rows]
    order: Any = find_label_issues(
        labels,
        pred_probs,
        filter_by=config.filter_by,
        return_indices_ranked_by=config.rank,
        n_jobs=1,
    )
    order = np.asarray(order, dtype=np.int64)
    # A low score alone may flag a product whose own label is still the likeliest.
    order = order[pred_probs[order].argmax(axis=1) != labels[order]]
    scores = get_label_quality_scores(labels, pred_probs, method=config.rank)[order]
    in_train = products.table["split"].to_numpy()[rows[order]] == "train"
    may_go = in_train & ~np.isin(products.ids[rows[order]].astype(str), list(kept))
    removed = may_go & (np.cumsum(may_go) <= round(config.share * len(order)))
    return LabelIssues(rows[order], pred_probs[order].argmax(axis=1), scores, removed)


def issues_table(products: Products, issues: LabelIssues) -> pd.DataFrame:
    """Flagged products: product_id, given_code, suggested_code, score, removed; worst first."""
    classes = np.array(products.classes, dtype=object)
    return pd.DataFrame(
        {
            "product_id": products.ids[issues.rows],
            "given_code": classes[products.labels[issues.rows]],
            "suggested_code": classes[issues.suggested],
            "score": issues.scores,
            "removed": issues.removed,
        }
    )


def write_issues(table: pd.DataFrame, folder: Path) -> None:
    """Writes flagged products as TSV into a folder, the columns of `issues_table`; the manifest last."""
    with whole_file(folder / ISSUES) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(table.columns)
        for *codes, score, removed in table.itertuples(index=False):
            writer.writerow([*codes, f"{score:.6f}", "true" if removed else "false"])
    write_manifest(folder, flagged=len(table))
