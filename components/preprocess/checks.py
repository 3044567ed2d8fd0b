"""What the data reports say of a catalog: whether it is sound, and what to do where it is not."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from components.data.decisions import counted, decisions_of
from components.data.products import Products
from components.preprocess.images.coverage import MOST
from components.preprocess.profile.drift import CHANCE, LARGE, Drift
from components.preprocess.table import split_sentences
from components.reports.page import check, class_label, many, percent

NAMED = 5
FEW_PRODUCTS = 20  # products to train on of a class below which its figures mean little


def catalog_checks(
    products: Products, profile: dict[str, Any], dropped: int, drift: Sequence[Drift] | None
) -> list[dict[str, Any]]:
    """What is checked of the labeled products, as a report shows it.

    Args:
        profile: theirs, as `components.preprocess.profile.profile.profile_catalog` returns it.
        dropped: rows of the catalog that were left out.
        drift: what changed since an earlier run's catalog; None where none was given.
    """
    return [
        *_images_check(products, "labeled"),
        _rows_check(products, profile, dropped),
        _sizes_check(products),
        _labels_check(profile["duplicates"]["contradictory"]),
        *(check(*each) for each in split_sentences(products.metadata.get("split", {}))),
        _missing_check(profile),
        *_decisions_check(products.metadata),
        *_drift_check(drift, "the earlier run's catalog"),
    ]


def new_products_checks(
    products: Products, profile: dict[str, Any], dropped: int, drift: Sequence[Drift] | None
) -> list[dict[str, Any]]:
    """What is checked of the products to categorize; see `catalog_checks`.

    Args:
        drift: how they differ from the labeled products.
    """
    return [
        *_images_check(products, "test"),
        _rows_check(products, profile, dropped),
        _missing_check(profile),
        *_drift_check(drift, "the labeled products"),
    ]


def _rows_check(products: Products, profile: dict[str, Any], dropped: int) -> dict[str, Any]:
    rows = sum(products.metadata.get("rows", {}).values()) or profile["products"] + dropped
    lost = f"{many(dropped, 'row')} of {rows:,} could not be used; the next table has the reasons."
    return check(not dropped, lost if dropped else "Every row of the catalog was taken.")


def _images_check(products: Products, what: str) -> list[dict[str, Any]]:
    without, count = int(products.table["image"].isna().to_numpy().sum()), len(products.table)
    if without <= MOST * count:
        return []
    found = f"{without:,} of {many(count, f'{what} product')} have no picture that can be used"
    return [check(False, f"{found}: is it the right folder or archive?")]


def _sizes_check(products: Products) -> dict[str, Any]:
    train = products.labels[products.rows("train")]
    counts = np.bincount(train, minlength=len(products.classes))
    small = [label for label in np.argsort(counts, kind="stable").tolist() if counts[label] < FEW_PRODUCTS]
    if not small:
        return check(True, f"Every class has at least {FEW_PRODUCTS} labeled products to train on.")
    named = ", ".join(f"“{class_label(products, label, 40)}” ({counts[label]})" for label in small[:NAMED])
    named += f" and {len(small) - NAMED} more" if len(small) > NAMED else ""
    classes = many(len(small), "class", "classes")
    few = f"{classes} with fewer than {FEW_PRODUCTS} labeled products to train on: {named}"
    return check(False, f"{few}. Scores of so few are uncertain: add products, or merge classes.")


def _labels_check(contradictory: int) -> dict[str, Any]:
    same = "with the same title or picture"
    if not contradictory:
        return check(True, f"Products {same} carry the same label.")
    groups = (
        f"{many(contradictory, 'group')} of products {same} {'carry' if contradictory > 1 else 'carries'}"
    )
    advice = "some of these labels are wrong, and denoising looks for them"
    return check(False, f"{groups} different labels: {advice}.")


def _missing_check(profile: dict[str, Any]) -> dict[str, Any]:
    missing, count = profile["missing"], profile["products"]
    shares = ", ".join(f"{percent(n / count, 1)} % have no {what}" for what, n in missing.items() if n)
    if not shares:
        return check(True, "Every product has a title, a description and a picture.")
    if missing["title"] or missing["picture"]:
        return check(False, f"{shares}: one of the two models predicts them blindly.")
    return check(True, f"Every product has a title and a picture; {shares}.")


def _decisions_check(metadata: dict[str, Any]) -> list[dict[str, Any]]:
    decisions = decisions_of(metadata)
    return [check(True, f"What people decided was carried out: {counted(decisions)}.")] if decisions else []


def _drift_check(drift: Sequence[Drift] | None, since: str) -> list[dict[str, Any]]:
    if drift is None:
        return []
    moved = [entry for entry in drift if entry.size != CHANCE]
    if not moved:
        return [check(True, f"Nothing differs from {since} beyond chance.")]
    aspects = ", ".join(f"{entry.aspect} ({entry.size})" for entry in moved[:4])
    advice = " Train anew before you trust an older model." if moved[0].size == LARGE else ""
    return [check(False, f"What differs from {since}: {aspects}.{advice}")]
