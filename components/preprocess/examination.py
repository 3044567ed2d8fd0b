"""Both parts of a catalog, examined: their prepared shards become a table of products."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from components.core.errors import InputError
from components.data.decisions import decisions_of
from components.data.products import Products
from components.data.tables.findings import DROPPED, Finding, by_reason
from components.preprocess.catalog.quarantine import codes_and_rows, refuse_if_too_many
from components.preprocess.catalog.records import Record
from components.preprocess.config import PreprocessConfig
from components.preprocess.images.coverage import check_coverage
from components.preprocess.shards.merge import Prepared
from components.preprocess.small_classes import settle_new_codes, settle_small_classes
from components.preprocess.table import SplitSettings, labeled_table, new_table

log = logging.getLogger(__name__)


def examine_labeled(
    catalog: Prepared, config: PreprocessConfig, split: SplitSettings, findings: list[Finding]
) -> tuple[Products, list[Record]]:
    """The labeled products without their texts, and the records that they are.

    Args:
        findings: receives what is found, also where the catalog cannot be used.

    Raises:
        InputError: it cannot be used.
    """
    metadata, records = catalog.metadata, catalog.records
    _check_images(catalog, config, findings)
    refuse_if_too_many(findings, metadata["rows"]["labeled"], config.max_quarantined)
    dropped = {finding.product_id for finding in catalog.of_images if finding.action == DROPPED}
    kept = [record for record in records if record.product_id not in dropped]
    _refuse_vanished_classes(records, kept, config)
    kept, metadata["small_classes"] = settle_small_classes(kept, config, findings)
    classes = sorted({record.code for record in kept if record.code is not None})
    labeled_by_people = frozenset(each.product_id for each in decisions_of(metadata) if not each.given)
    split = replace(split, train_only=labeled_by_people)
    table, metadata["split"] = labeled_table(kept, catalog.alike, classes, split)
    _report_findings(findings)
    _check_nothing_is_lost(metadata["rows"]["labeled"], len(table), findings)
    metadata["digests"] = catalog.digests
    return Products(table, tuple(classes), metadata), kept


def examine_new(
    catalog: Prepared, config: PreprocessConfig, labeled: Products, findings: list[Finding]
) -> tuple[Products, list[Record]]:
    """The products to categorize, and the records that they are; see `examine_labeled`."""
    metadata, records = catalog.metadata, catalog.records
    _check_images(catalog, config, findings)
    refuse_if_too_many(findings, metadata["rows"]["test"], config.max_quarantined)
    settle_new_codes(records, labeled.metadata.get("small_classes", {}), config, findings)
    table = new_table(records, catalog.alike, labeled.classes)
    _report_findings(findings)
    _check_nothing_is_lost(metadata["rows"]["test"], len(table), findings)
    metadata = {**labeled.metadata, "split": {}, **metadata, "digests": catalog.digests}
    return Products(table, labeled.classes, metadata), records


def quarantined(findings: Sequence[Finding]) -> int:
    """How many rows were left out."""
    return sum(finding.action == DROPPED for finding in findings)


def _check_images(catalog: Prepared, config: PreprocessConfig, findings: list[Finding]) -> None:
    findings += [*catalog.of_texts, *catalog.of_images]
    for records, found, strangers in catalog.parts():
        check_coverage(catalog.what, records, found, config.max_test_without_image, strangers)


def _report_findings(findings: list[Finding]) -> None:
    if findings:
        left_out, found = quarantined(findings), by_reason(findings)
        log.info("quarantine: %d rows left out; found: %s; see the quarantine report", left_out, found)


def _check_nothing_is_lost(rows: int, kept: int, findings: list[Finding]) -> None:
    left_out = quarantined(findings)
    if kept + left_out != rows:
        raise RuntimeError(f"{rows} rows were read, {kept} kept and {left_out} quarantined: some are lost")


def _refuse_vanished_classes(
    records: Sequence[Record], kept: Sequence[Record], config: PreprocessConfig
) -> None:
    """Refuses that a class loses its last product, unless small classes are not kept and it is one."""
    counts = Counter(record.code for record in records)
    least = 1 if config.small_classes == "keep" else config.min_products
    vanished = {code for code in counts.keys() - {record.code for record in kept} if counts[code] >= least}
    if vanished:
        lost = [record for record in records if record.code in vanished]
        raise InputError(
            f"no usable product is left of {len(vanished)} classes: {codes_and_rows(lost)}\n"
            "Mend their images, keep them without (on_bad_image=keep), or take these rows out; "
            "small_classes and min_products leave out classes of few products."
        )
