"""Preprocess: a catalog becomes checked product tables and packed image stores (paper, section 3.1.1)."""

import logging
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from components.core.artifacts import write_json
from components.core.reading import read_json
from components.core.stage import Result
from components.data.image_store import ImageStore
from components.data.products import Products, read_products, write_products_with
from components.data.tables.findings import Finding
from components.preprocess.catalog.quarantine import write_findings
from components.preprocess.catalog.records import Record
from components.preprocess.config import PreprocessConfig, Sources
from components.preprocess.examination import examine_labeled, examine_new, quarantined
from components.preprocess.images.sources import images_at
from components.preprocess.profile.drift import catalog_drift
from components.preprocess.profile.profile import fetch_profile, profile_of
from components.preprocess.reading import read_labeled
from components.preprocess.report import new_products_report, preprocess_report
from components.preprocess.shards.cut import LABELED, cut_catalog, read_cut
from components.preprocess.shards.merge import Prepared, merge_images, read_prepared
from components.preprocess.shards.prepare import prepare_shard
from components.preprocess.shards.whole import check_named, digests_of, fetched, prepare_labeled, prepare_new
from components.preprocess.table import split_settings
from components.reports.page import safe_report

log = logging.getLogger(__name__)


def run_read(
    sources: Sources, config: PreprocessConfig, *, size: int, records: Path, quarantine: Path
) -> list[int]:
    """Reads the labeled products of a catalog, and cuts them into shards, whose numbers it returns.

    Args:
        size: products of a shard, at most.
        records: receives the shards, and what was found on the way.
        quarantine: receives what was found, also where the catalog cannot be used.

    Raises:
        InputError: a file is missing or cannot be read.
    """
    findings: list[Finding] = []
    try:
        check_named(sources)
        with fetched(sources.labeled) as paths:
            catalog, metadata = read_labeled(paths, config, findings)
            metadata["digests"] = digests_of(sources.labeled, paths)
            cut = cut_catalog([("images", catalog)], LABELED, metadata, findings, size=size, folder=records)
    finally:
        write_findings(findings, quarantine)
    return [shard.number for shard in cut.shards]


def run_shard(records: Path, number: int, images: str, config: PreprocessConfig, *, prepared: Path) -> None:
    """Cleans, decodes and hashes the products of one shard.

    Args:
        records: as `run_read` leaves them.
        images: the folder or zip of the images, a path or URI.
    """
    cut = read_cut(records)
    with tempfile.TemporaryDirectory() as scratch:
        prepare_shard(cut, cut.shards[number], images_at(images, Path(scratch)), config, prepared)


def run_merge(
    records: Path,
    prepared: Sequence[Path],
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
    """Puts the shards of the labeled products together, checks and splits them.

    Leaves the product table, the image store, the quarantine report and the catalog's profile: the same
    bytes for any number of shards. Every row is in the table or in the report as quarantined.

    Args:
        records, prepared: as `run_read` and, for each shard, `run_shard` leave them.
        folds, seed: that train is dealt into, for out-of-fold predictions; of the split and of these.
        earlier_profile: path or URI of an earlier run's, for drift; its validation stays so; "" for none.

    Returns:
        Counts, and the data report.

    Raises:
        InputError: the catalog cannot be used; the quarantine report is left all the same.
    """
    earlier = fetch_profile(earlier_profile) if earlier_profile else None
    split = split_settings(config.validation_share, folds, seed, earlier)
    cut = read_cut(records)
    findings = cut.findings
    try:
        shards = read_prepared(cut, prepared)
        catalog, kept = examine_labeled(shards, config, split, findings)
    finally:
        write_findings(findings, quarantine)
    count = _write(shards, catalog, kept, products, images)
    made = _profile(shards, catalog, kept, images)
    write_json(profile, made)
    counts = {side: catalog.table["split"].tolist().count(side) for side in ("train", "validation")}
    log.info("split: %s", counts)

    def draw() -> str:
        drift = catalog_drift(made, earlier, catalog.metadata["class_names"]) if earlier else None
        return preprocess_report(catalog, made, findings, drift)

    counts |= {"images": count, "quarantined": quarantined(findings)}
    return Result(counts, safe_report(draw))


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
    """Reads, cleans, checks, splits and packs the labeled products of a catalog, as one shard.

    See `run_merge` for what it leaves.
    """
    with tempfile.TemporaryDirectory() as scratch:
        records, prepared = Path(scratch) / "records", Path(scratch) / "prepared"
        run_read(sources, config, size=sys.maxsize, records=records, quarantine=quarantine)
        run_shard(records, 0, sources.images, config, prepared=prepared)
        settings: dict[str, Any] = {"folds": folds, "seed": seed, "earlier_profile": earlier_profile}
        settings |= {"products": products, "images": images, "quarantine": quarantine, "profile": profile}
        return run_merge(records, [prepared], config, **settings)


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
        new_products, new_images, new_quarantine: as `run_merge` leaves them of the labeled ones.

    Returns:
        Counts, and the report of the new products.

    Raises:
        InputError: they cannot be used, or contradict the labeled ones.
    """
    labeled, findings = read_products(products), list[Finding]()
    with tempfile.TemporaryDirectory() as scratch, fetched(sources.unlabeled) as paths:
        try:
            shards = prepare_new(paths, sources, config, labeled, findings, Path(scratch))
            new, records = examine_new(shards, config, labeled, findings)
        finally:
            write_findings(findings, new_quarantine)
        count = _write(shards, new, records, new_products, new_images)

    def draw() -> str:
        if not len(new.table):
            return new_products_report(new, None, findings, None)
        made = _profile(shards, new, records, new_images)
        drift = catalog_drift(made, read_json(profile, "a catalog's profile"), new.metadata["class_names"])
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
    """Says of a catalog what a run would say, and leaves nothing.

    Args:
        findings: receives what is found, also where the catalog cannot be used.
        decoded: about so many images of each part are decoded, drawn by their content; of the others the
            header is read. None decodes all.

    Returns:
        The labeled products, those to categorize, without their texts, and how many images were decoded.

    Raises:
        InputError: as a run.
    """
    earlier = fetch_profile(earlier_profile) if earlier_profile else None
    split = split_settings(config.validation_share, folds, seed, earlier)
    found = list[Finding]()
    check_named(sources)
    with tempfile.TemporaryDirectory() as scratch, fetched(asdict(sources)) as paths:
        try:
            folder = Path(scratch)
            one = prepare_labeled(paths, sources, config, findings, folder / "labeled", decoded)
            labeled, _ = examine_labeled(one, config, split, findings)
            other = prepare_new(paths, sources, config, labeled, found, folder / "new", decoded)
            new, _ = examine_new(other, config, labeled, found)
        finally:
            findings += found
    return labeled, new, one.decoded + other.decoded


def _write(shards: Prepared, catalog: Products, kept: Sequence[Record], products: Path, images: Path) -> int:
    """Writes the product table and the image store; returns how many images it has."""
    write_products_with(catalog, shards.texts_of(_rows(kept)), products)
    return merge_images(shards, images)


def _profile(shards: Prepared, catalog: Products, kept: Sequence[Record], images: Path) -> dict[str, Any]:
    return profile_of(catalog, shards.texts.of(_rows(kept)), ImageStore(images, check=False))


def _rows(records: Sequence[Record]) -> np.ndarray:
    return np.array([record.row for record in records], np.int64)
