"""What becomes of classes of few products: kept, dropped, or merged into one."""

import logging
from collections import Counter

from components.core.errors import InputError
from components.data.tables.findings import DROPPED, NORMALIZED, Finding
from components.preprocess.catalog.records import Record
from components.preprocess.config import PreprocessConfig

log = logging.getLogger(__name__)


def settle_small_classes(
    train: list[Record], test: list[Record], config: PreprocessConfig, findings: list[Finding]
) -> list[Record]:
    """The labeled records that stay; those of merged classes get their new code, of test too.

    Args:
        train: labeled records, whose classes are counted.
        test: where a class is dropped, its test products lose their label and are predicted all the same.

    Raises:
        InputError: fewer than two classes are left.
    """
    counts = Counter(record.code for record in train)
    small = {code: count for code, count in counts.items() if count < config.min_products}
    named = ", ".join(f"{code!r} {count}" for code, count in sorted(small.items(), key=str)[:8])
    if small:
        log.warning("small classes (%d): %s: %s", len(small), config.small_classes, named)
    if config.small_classes == "merge":
        for record in (*train, *test):
            if record.code in small:
                detail = f"class {record.code!r} of {small[record.code]} became {config.merged_class!r}"
                findings.append(record.finding("small_class", NORMALIZED, detail))
                record.code = config.merged_class
    elif config.small_classes == "drop":
        findings += [
            record.finding("small_class", DROPPED, f"class {record.code!r} has {small[record.code]}")
            for record in train
            if record.code in small
        ]
        train = [record for record in train if record.code not in small]
        for record in test:
            record.code = None if record.code in small else record.code
    left = {record.code for record in train}
    if len(left) < 2:
        dropped = f" once small ones are out ({named})" if small else ""
        raise InputError(f"the catalog has {len(left)} class{dropped}; at least two are needed")
    return train
