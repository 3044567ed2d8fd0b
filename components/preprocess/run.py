"""Preprocess: a catalog becomes checked product tables and packed image stores (paper, section 3.1.1)."""

import logging
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

from components.core.artifacts import sha256, write_json
from components.core.errors import InputError
from components.core.reading import read_json
from components.core.stage import Result
from components.data.image_store import ImageStore
from components.data.products import Products, read_products, write_products
from components.data.tables.findings import Finding
from components.data.uris import fetch
from components.preprocess.catalog.quarantine import write_findings
from components.preprocess.config import PreprocessConfig, Sources
from components.preprocess.examination import examine_labeled, examine_new, quarantined
from components.preprocess.images.packing import look_through, pack_images
from components.preprocess.profile.drift import catalog_drift
from components.preprocess.profile.profile import fetch_profile, profile_catalog
from components.preprocess.report import new_products_report, preprocess_report
from components.preprocess.table import SplitSettings
from components.reports.page import safe_report

log = logging.getLogger(__name__)

# Of a catalog's files those that there must be.
NEEDED = {"products": "the products file", "images": "the folder or zip with the products' images"}


def run_preprocess(
    sources: Sources,
    config: PreprocessConfig,
    *,
    folds: int,
    seed: int,
    earlier_profile: str,
    products: Path,
    images: Path,
    quarantine: Path,
    profile: Path,
) -> Result:
    """Reads, cleans, checks, splits and packs the labeled products of a catalog.

    Leaves the product table, the image store, the quarantine report and the catalog's profile. Every row is
    in the table or in the report as quarantined. Of the products to categorize nothing is read:
    `run_preprocess_new` does.

    Args:
        folds: that train is dealt into, for out-of-fold predictions.
        seed: of the split and of these folds.
        earlier_profile: path or URI of the profile that an earlier run left, for drift, and whose
            validation products are validation again; "" for none.

    Returns:
        Counts, and the data report.

    Raises:
        InputError: the catalog cannot be used; the report of what was found is left all the same.
    """
    earlier = fetch_profile(earlier_profile) if earlier_profile else None
    split = _split_settings(config, folds, seed, earlier)
    findings: list[Finding] = []
    try:
        with _fetched(sources.labeled, NEEDED) as paths:
            catalog, count = examine_labeled(
                paths, config, split, findings, partial(pack_images, folder=images)
            )
            catalog.metadata["digests"] = _digests(paths)
    finally:
        write_findings(findings, quarantine)
    write_products(catalog, products)
    made = profile_catalog(catalog, ImageStore(images, check=False))
    write_json(profile, made)
    splits = Counter(catalog.table["split"])
    counts = {split: splits[split] for split in ("train", "validation")}
    log.info("split: %s", counts)

    def draw() -> str:
        drift = catalog_drift(made, earlier, catalog.metadata["class_names"]) if earlier else None
        return preprocess_report(catalog, made, findings, drift)

    counts |= {"images": count, "quarantined": quarantined(findings)}
    return Result(counts, safe_report(draw))


def run_preprocess_new(
    sources: Sources,
    config: PreprocessConfig,
    products: Path,
    profile: Path,
    *,
    new_products: Path,
    new_images: Path,
    new_quarantine: Path,
) -> Result:
    """Reads, cleans, checks and packs the products to categorize; there may be none.

    Args:
        products: the table of the labeled products.
        profile: theirs, to which the report compares the new ones.
        new_products, new_images, new_quarantine: as `run_preprocess` leaves them of the labeled ones.

    Returns:
        Counts, and the report of the new products.

    Raises:
        InputError: they cannot be used, or contradict the labeled ones.
    """
    labeled, findings = read_products(products), []
    try:
        with _fetched(sources.unlabeled, {}) as paths:
            read_images = partial(pack_images, folder=new_images)
            new, count = examine_new(paths, config, labeled, findings, read_images)
            new.metadata["digests"] = _digests(paths)
    finally:
        write_findings(findings, new_quarantine)
    write_products(new, new_products)

    def draw() -> str:
        made = profile_catalog(new, ImageStore(new_images, check=False)) if len(new.table) else None
        earlier = read_json(profile, "a catalog's profile")
        drift = catalog_drift(made, earlier, new.metadata["class_names"]) if made else None
        return new_products_report(new, made, findings, drift)

    counts = {"test": len(new.table), "images": count, "quarantined": quarantined(findings)}
    return Result(counts, safe_report(draw))


def check_catalog(
    sources: Sources,
    config: PreprocessConfig,
    *,
    folds: int,
    seed: int,
    earlier_profile: str,
    findings: list[Finding],
    decoded: int | None,
) -> tuple[Products, Products, int]:
    """Says of a catalog what `run_preprocess` and `run_preprocess_new` would say, and leaves nothing.

    Args:
        findings: receives what is found, also where the catalog cannot be used.
        decoded: how many images of each part are decoded; see `look_through`.

    Returns:
        The labeled products, those to categorize, and how many images were decoded.

    Raises:
        InputError: as these two.
    """
    earlier = fetch_profile(earlier_profile) if earlier_profile else None
    split = _split_settings(config, folds, seed, earlier)
    look, found = partial(look_through, most=decoded), []
    with _fetched(asdict(sources), NEEDED) as paths:
        try:
            labeled, count = examine_labeled(paths, config, split, findings, look)
            new, more = examine_new(paths, config, labeled, found, look)
        finally:
            findings += found
    return labeled, new, count + more


def _split_settings(config: PreprocessConfig, folds: int, seed: int, earlier: dict | None) -> SplitSettings:
    before = frozenset(earlier.get("validation", []) if earlier else [])
    return SplitSettings(config.validation_share, folds, seed, before)


@contextmanager
def _fetched(uris: dict[str, str], needed: dict[str, str]) -> Iterator[dict[str, Path]]:
    for name, what in needed.items():
        if not uris[name]:
            raise InputError(f"{name}: name {what}")
    with tempfile.TemporaryDirectory() as scratch:
        yield {name: fetch(uri, Path(scratch) / name) for name, uri in uris.items() if uri}


def _digests(paths: dict[str, Path]) -> dict[str, str]:
    return {name: sha256(path) for name, path in paths.items() if path.is_file()}
