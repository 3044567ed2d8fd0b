"""Denoise: finds label issues by confident learning and takes the worst out of train (paper, 3.2.1)."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from components.core.errors import InputError
from components.core.stage import Result
from components.data.alignment import rows_of
from components.data.decisions import decisions_of, settled_products
from components.data.folds import read_folds
from components.data.ids import read_ids
from components.data.image_store import ImageStore
from components.data.probabilities import Classifier
from components.data.products import Products, read_products, write_products
from components.data.top_classes import PredProbs, TopClasses, in_blocks, many
from components.denoise.config import MARGIN, DenoiseConfig
from components.denoise.issues import find_issues, known_classes
from components.denoise.issues_file import issues_table, write_issues
from components.denoise.report import denoise_report
from components.reports.page import safe_report

log = logging.getLogger(__name__)

NAMES = {"out_of_fold": "train", "validation": "validation"}  # matrix -> whose products it predicts


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
        out_of_fold: what each training of folds left (`components.data.folds`). Where several classifiers
            predicted a product, the mean of their probabilities counts; validation is predicted by all.
        images: the image store, for the report's pictures.
        keep_ids: path or URI of product ids, one a line, that are never removed; "" for none.
        cleaned: file for the product table, its `removed` column set. Nothing leaves validation or test:
            a validation set cleaned by the same models would flatter the result.
        label_issues: folder for every flagged product, worst first, as TSV and as a workbook; a person fills
            in what is decided, and either is what `catalog_corrections` takes.

    Returns:
        Counts, and the gallery of label issues.

    Raises:
        InputError: a product was predicted by no fold, or a file breaks its rules.
    """
    catalog = read_products(products)
    classifiers = {
        str(folder): classifier
        for path in out_of_fold
        for folder, classifier in read_folds(path, classes=catalog.classes).items()
    }
    splits = [split for split in NAMES if len(catalog.rows(split))]
    pred_probs = {split: mean_pred_probs(catalog, split, classifiers) for split in splits}
    known = known_classes(catalog, pictured=any(each.modality == "image" for each in classifiers.values()))
    kept = read_ids(keep_ids, catalog.ids.tolist())
    issues = find_issues(
        catalog, pred_probs, config, known=known, kept=kept, decided=settled_products(catalog.metadata)
    )
    removed = np.zeros(len(catalog.table), dtype=bool)
    removed[issues.rows[issues.removed]] = True
    exempt = [code for code, each in zip(catalog.classes, known, strict=True) if not each]
    counts = {"flagged": len(issues.rows), "removed": int(removed.sum())}
    in_part = {"filter_by": MARGIN} if many(len(catalog.classes)) else {}
    metadata = {**catalog.metadata, "denoise": {**counts, "exempt_classes": exempt, **in_part}}
    cleaned_catalog = Products(catalog.table.assign(removed=removed), catalog.classes, metadata)
    write_products(cleaned_catalog, cleaned)
    table = issues_table(catalog, issues)
    write_issues(table, label_issues, decisions_of(catalog.metadata), byte_order_mark=config.byte_order_mark)
    labeled = sum(map(len, pred_probs.values()))
    log.info("flagged %d of %d labeled products, removed %d from train", len(table), labeled, removed.sum())
    if exempt:
        log.warning("of %d classes, in one fold of train alone, nothing is flagged: %s", len(exempt), exempt)
    if in_part and config.filter_by != MARGIN:
        log.warning(
            "%s in place of %s: of %d classes only the most probable are kept, which it takes",
            *(MARGIN, config.filter_by, len(catalog.classes)),
        )
    report = safe_report(lambda: denoise_report(cleaned_catalog, ImageStore(images), table))
    return Result({**counts, "flagged_share": len(table) / labeled}, report)


def mean_pred_probs(products: Products, split: str, classifiers: Mapping[str, Classifier]) -> PredProbs:
    """Mean probabilities of a split's rows over all classifiers that predicted each, (n, C) float64.

    Of `out_of_fold` that is one a modality, of validation every fold's. Of many classes the most probable
    are kept, as in the classifiers' own.

    Args:
        classifiers: folder -> classifier.

    Raises:
        InputError: a classifier has no matrix of the split, or some product is in none.
    """
    rows, classes = products.rows(split), len(products.classes)
    count = np.zeros(len(rows), np.int64)
    found = []
    for folder, classifier in classifiers.items():
        where = f"{folder} (classifier {classifier.name})"
        matrix = next(iter(classifier.matrices.values())).get(split)
        if matrix is None:
            raise InputError(f"{where}: no {split} matrix; give its training a fold")
        at = rows_of(products.ids[rows], matrix.ids, what=f"{NAMES[split]} product", where=where)
        found.append((at, matrix.pred_probs))
        count[at] += 1
    if (count == 0).any():
        first = products.ids[rows[np.flatnonzero(count == 0)[0]]]
        raise InputError(
            f"{int((count == 0).sum())} {NAMES[split]} products were predicted by no fold, the first is "
            f"{first!r}: run every fold"
        )
    return in_blocks(lambda part: _summed(found, part, classes) / count[part, None], len(rows), classes)


def _summed(found: Sequence[tuple[np.ndarray, PredProbs]], part: slice, classes: int) -> np.ndarray:
    """(n, C) float64 sum of what matrices, each with the row numbers of its rows, say of some rows."""
    total = np.zeros((part.stop - part.start, classes))
    for at, pred_probs in found:
        here = np.flatnonzero((at >= part.start) & (at < part.stop))
        of_part = pred_probs[here]
        total[at[here] - part.start] += of_part.dense() if isinstance(of_part, TopClasses) else of_part
    return total
