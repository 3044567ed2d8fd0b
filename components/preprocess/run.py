"""Preprocess: a catalog becomes a checked product table and a packed image store (paper, section 3.1.1)."""

import logging
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from components.core.artifacts import sha256, write_json
from components.core.errors import InputError
from components.core.stage import Result
from components.data.image_store import ImageStore
from components.data.products import SPLITS, Products, write_products
from components.data.tables.findings import DROPPED, FLAGGED, NORMALIZED, Finding, by_reason
from components.data.uris import fetch
from components.preprocess.catalog.cleaning import clean_text, hides_characters, mixes_look_alikes
from components.preprocess.catalog.quarantine import refuse_if_too_many, write_findings
from components.preprocess.catalog.records import Record
from components.preprocess.catalog.texts import text_findings
from components.preprocess.config import PreprocessConfig, Sources
from components.preprocess.images.coverage import check_coverage
from components.preprocess.images.packing import Part, look_through, pack_images
from components.preprocess.images.sources import open_images
from components.preprocess.profile.drift import catalog_drift
from components.preprocess.profile.profile import fetch_profile, profile_catalog
from components.preprocess.reading import read_both_parts
from components.preprocess.report import preprocess_report
from components.preprocess.small_classes import settle_small_classes
from components.preprocess.table import SplitSettings, product_table
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
    """Reads, cleans, checks, splits and packs a catalog.

    Leaves the product table, the image store, the quarantine report and the catalog's profile. Every row of
    the catalog is in the table or in the report as quarantined.

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
    findings: list[Finding] = []
    settings = {"folds": folds, "seed": seed, "earlier": earlier}
    try:
        with _fetched(sources) as paths:
            read_images = partial(pack_images, folder=images)
            catalog, count = _examine(paths, config, findings, read_images, **settings)
            catalog.metadata["digests"] = {
                name: sha256(path) for name, path in paths.items() if path.is_file()
            }
    finally:
        write_findings(findings, quarantine)
    write_products(catalog, products)
    made = profile_catalog(catalog, ImageStore(images, check=False))
    write_json(profile, made)
    splits = Counter(catalog.table["split"])
    counts = {split: splits[split] for split in SPLITS}
    log.info("split: %s", counts)

    def draw() -> str:
        drift = catalog_drift(made, earlier, catalog.metadata["class_names"]) if earlier else None
        return preprocess_report(catalog, made, findings, drift)

    counts |= {"images": count, "quarantined": _quarantined(findings)}
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
) -> tuple[Products, int]:
    """Says of a catalog what `run_preprocess` would say, and leaves nothing.

    Args:
        findings: receives what is found, also where the catalog cannot be used.
        decoded: how many images are decoded; see `look_through`.

    Returns:
        The product table, and how many images were decoded.

    Raises:
        InputError: as `run_preprocess`.
    """
    earlier = fetch_profile(earlier_profile) if earlier_profile else None
    look = partial(look_through, most=decoded)
    with _fetched(sources) as paths:
        return _examine(paths, config, findings, look, folds=folds, seed=seed, earlier=earlier)


def _examine(
    paths: dict[str, Path],
    config: PreprocessConfig,
    findings: list[Finding],
    read_images: Callable[..., tuple[list[Finding], int]],
    *,
    folds: int,
    seed: int,
    earlier: dict[str, Any] | None,
) -> tuple[Products, int]:
    """The product table, and what `read_images` counted."""
    before = frozenset(earlier.get("validation", []) if earlier else [])
    split = SplitSettings(config.validation_share, folds, seed, before)
    return _preprocess(paths, config, split, findings, read_images)


@contextmanager
def _fetched(sources: Sources) -> Iterator[dict[str, Path]]:
    with tempfile.TemporaryDirectory() as scratch:
        paths = {name: fetch(uri, Path(scratch) / name) for name, uri in asdict(sources).items() if uri}
        for name, what in NEEDED.items():
            if name not in paths:
                raise InputError(f"{name}: name {what}")
        yield paths


def _preprocess(
    paths: dict[str, Path],
    config: PreprocessConfig,
    split: SplitSettings,
    findings: list[Finding],
    read_images: Callable[..., tuple[list[Finding], int]],
) -> tuple[Products, int]:
    train, waiting, tested, metadata = read_both_parts(paths, config, findings)
    test = [*waiting, *tested]
    for record in [*train, *test]:
        _clean(record, findings)
    findings += text_findings(train) + text_findings(test)
    log.info("read and cleaned %s labeled and %s test products", f"{len(train):,}", f"{len(test):,}")
    train_images = open_images(paths["images"])
    test_images = open_images(paths["test_images"]) if "test_images" in paths else train_images
    parts = [
        Part("labeled", train, train_images, config.on_bad_image, config.image_separator),
        Part("test", waiting, train_images, "keep", config.image_separator),
        Part("test", tested, test_images, "keep", config.image_separator),
    ]
    found, count = read_images(parts, max_pixels=config.max_image_pixels)
    findings += found
    check_coverage(parts, found, config.max_test_without_image)
    refuse_if_too_many(findings, sum(metadata["rows"].values()), config.max_quarantined)
    dropped = {finding.product_id for finding in found if finding.action == DROPPED}
    kept = [record for record in train if record.product_id not in dropped]
    _refuse_vanished_classes({record.code for record in train}, kept)
    kept = settle_small_classes(kept, test, config, findings)
    classes = sorted({record.code for record in kept if record.code is not None})
    table, metadata["split"] = product_table(kept, test, classes, split)
    _report_findings(findings)
    _check_nothing_is_lost(metadata["rows"], len(table), _quarantined(findings))
    return Products(table, tuple(classes), metadata), count


def _quarantined(findings: list[Finding]) -> int:
    return sum(finding.action == DROPPED for finding in findings)


def _report_findings(findings: list[Finding]) -> None:
    if findings:
        left_out, found = _quarantined(findings), by_reason(findings)
        log.info("quarantine: %d rows left out; found: %s; see quarantine.tsv", left_out, found)


def _check_nothing_is_lost(rows: dict[str, int], kept: int, quarantined: int) -> None:
    if kept + quarantined != sum(rows.values()):
        raise RuntimeError(f"{rows} rows were read, {kept} kept and {quarantined} quarantined: some are lost")


def _clean(record: Record, findings: list[Finding]) -> None:
    if hides_characters(record.title) or hides_characters(record.description):
        findings.append(record.finding("hidden_characters", NORMALIZED, "in title or description"))
    if mixes_look_alikes(record.title) or mixes_look_alikes(record.description):
        detail = "Cyrillic or Greek letters inside a Latin word, in title or description"
        findings.append(record.finding("look_alike_characters", FLAGGED, detail))
    record.title = clean_text(record.title)
    record.description = clean_text(record.description)


def _refuse_vanished_classes(codes_before: set[str | None], kept: list[Record]) -> None:
    vanished = sorted(map(str, codes_before - {record.code for record in kept}))
    if vanished:
        raise InputError(f"no usable product is left of {len(vanished)} classes: {', '.join(vanished[:20])}")
