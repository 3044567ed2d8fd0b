"""Both parts of a catalog, examined: cleaned records with their images become a table of products."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from components.core.errors import InputError
from components.data.decisions import decisions_of
from components.data.products import Products
from components.data.tables.findings import DROPPED, FLAGGED, NORMALIZED, Finding, by_reason
from components.preprocess.catalog.cleaning import clean_text, hides_characters, mixes_look_alikes
from components.preprocess.catalog.quarantine import refuse_if_too_many
from components.preprocess.catalog.records import Record
from components.preprocess.catalog.texts import text_findings
from components.preprocess.config import PreprocessConfig
from components.preprocess.images.coverage import check_coverage
from components.preprocess.images.packing import Part
from components.preprocess.images.sources import ImageSource, open_images
from components.preprocess.reading import read_labeled, read_new
from components.preprocess.small_classes import settle_new_codes, settle_small_classes
from components.preprocess.table import SplitSettings, labeled_table, new_table

log = logging.getLogger(__name__)

ReadImages = Callable[..., tuple[list[Finding], int]]  # `pack_images` or `look_through`


def examine_labeled(
    paths: dict[str, Path],
    config: PreprocessConfig,
    split: SplitSettings,
    findings: list[Finding],
    read_images: ReadImages,
) -> tuple[Products, int]:
    """The labeled products, and what `read_images` counted.

    Args:
        paths: of the catalog's files, by their names in `Sources`.
        findings: receives what is found, also where the catalog cannot be used.

    Raises:
        InputError: it cannot be used.
    """
    records, metadata = read_labeled(paths, config, findings)
    clean_records(records, findings)
    log.info("read and cleaned %s labeled products", f"{len(records):,}")
    parts = [_part("labeled", records, open_images(paths["images"]), config)]
    found, count = _read(parts, config, findings, read_images)
    refuse_if_too_many(findings, metadata["rows"]["labeled"], config.max_quarantined)
    dropped = {finding.product_id for finding in found if finding.action == DROPPED}
    kept = [record for record in records if record.product_id not in dropped]
    _refuse_vanished_classes({record.code for record in records}, kept)
    kept, metadata["small_classes"] = settle_small_classes(kept, config, findings)
    classes = sorted({record.code for record in kept if record.code is not None})
    labeled_by_people = frozenset(each.product_id for each in decisions_of(metadata) if not each.given)
    split = replace(split, train_only=labeled_by_people)
    table, metadata["split"] = labeled_table(kept, classes, split)
    _report_findings(findings)
    _check_nothing_is_lost(metadata["rows"]["labeled"], len(table), findings)
    return Products(table, tuple(classes), metadata), count


def examine_new(
    paths: dict[str, Path],
    config: PreprocessConfig,
    labeled: Products,
    findings: list[Finding],
    read_images: ReadImages,
) -> tuple[Products, int]:
    """The products to categorize, and what `read_images` counted; see `examine_labeled`."""
    waiting, tested, metadata = read_new(paths, config, labeled, findings)
    records = [*waiting, *tested]
    clean_records(records, findings)
    log.info("read and cleaned %s products to categorize", f"{len(records):,}")
    parts = []
    if waiting:
        parts.append(_part("test", waiting, open_images(paths["images"]), config))
    if tested:
        where = paths["test_images"] if "test_images" in paths else paths["images"]
        parts.append(_part("test", tested, open_images(where), config))
    _, count = _read(parts, config, findings, read_images)
    refuse_if_too_many(findings, metadata["rows"]["test"], config.max_quarantined)
    settle_new_codes(records, labeled.metadata.get("small_classes", {}), config, findings)
    table = new_table(records, labeled.classes)
    _report_findings(findings)
    _check_nothing_is_lost(metadata["rows"]["test"], len(table), findings)
    return Products(table, labeled.classes, {**labeled.metadata, "split": {}, **metadata}), count


def clean_records(records: Sequence[Record], findings: list[Finding]) -> None:
    """Cleans titles and descriptions in place, and says what was odd about them."""
    for record in records:
        if hides_characters(record.title) or hides_characters(record.description):
            findings.append(record.finding("hidden_characters", NORMALIZED, "in title or description"))
        if mixes_look_alikes(record.title) or mixes_look_alikes(record.description):
            detail = "Cyrillic or Greek letters inside a Latin word, in title or description"
            findings.append(record.finding("look_alike_characters", FLAGGED, detail))
        record.title = clean_text(record.title)
        record.description = clean_text(record.description)
    findings += text_findings(records)


def quarantined(findings: Sequence[Finding]) -> int:
    """How many rows were left out."""
    return sum(finding.action == DROPPED for finding in findings)


def _part(what: str, records: list[Record], source: ImageSource, config: PreprocessConfig) -> Part:
    policy = config.on_bad_image if what == "labeled" else "keep"
    return Part(what, records, source, policy, config.image_separator)


def _read(
    parts: list[Part], config: PreprocessConfig, findings: list[Finding], read_images: ReadImages
) -> tuple[list[Finding], int]:
    found, count = read_images(parts, max_pixels=config.max_image_pixels)
    findings += found
    check_coverage(parts, found, config.max_test_without_image)
    return found, count


def _report_findings(findings: list[Finding]) -> None:
    if findings:
        left_out, found = quarantined(findings), by_reason(findings)
        log.info("quarantine: %d rows left out; found: %s; see the quarantine report", left_out, found)


def _check_nothing_is_lost(rows: int, kept: int, findings: list[Finding]) -> None:
    left_out = quarantined(findings)
    if kept + left_out != rows:
        raise RuntimeError(f"{rows} rows were read, {kept} kept and {left_out} quarantined: some are lost")


def _refuse_vanished_classes(codes_before: set[str | None], kept: list[Record]) -> None:
    vanished = sorted(map(str, codes_before - {record.code for record in kept}))
    if vanished:
        raise InputError(f"no usable product is left of {len(vanished)} classes: {', '.join(vanished[:20])}")
