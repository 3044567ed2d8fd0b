"""What becomes of classes of few products: kept, dropped, or merged into one."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

from components.core.errors import InputError
from components.data.tables.findings import DROPPED, NORMALIZED, Finding
from components.preprocess.catalog.records import Record
from components.preprocess.config import PreprocessConfig

log = logging.getLogger(__name__)


def settle_small_classes(
    labeled: list[Record], config: PreprocessConfig, findings: list[Finding]
) -> tuple[list[Record], dict[str, int]]:
    """The labeled records that stay, those of merged classes with their new code; and the small classes.

    Returns:
        The records; code -> products of every small class that was dropped or merged.

    Raises:
        InputError: fewer than two classes are left.
    """
    counts = Counter(record.code for record in labeled if record.code is not None)
    small = {code: count for code, count in sorted(counts.items()) if count < config.min_products}
    named = ", ".join(f"{code!r} {count}" for code, count in list(small.items())[:8])
    if small:
        log.warning("small classes (%d): %s: %s", len(small), config.small_classes, named)
    if config.small_classes == "keep":
        small = {}
    elif config.small_classes == "merge":
        _merge(labeled, small, config, findings)
    else:
        findings += [
            record.finding("small_class", DROPPED, f"class {record.code!r} has {small[record.code]}")
            for record in labeled
            if record.code in small
        ]
        labeled = [record for record in labeled if record.code not in small]
    left = {record.code for record in labeled}
    if len(left) < 2:
        dropped = f" once small ones are out ({named})" if named else ""
        raise InputError(
            f"the catalog has {len(left)} class{dropped}; at least two are needed: "
            "are the codes in the column that is read?"
        )
    return labeled, small


def settle_new_codes(
    new: Sequence[Record], small: Mapping[str, int], config: PreprocessConfig, findings: list[Finding]
) -> None:
    """Gives new products of classes that are no more the code of the merged class, or none.

    Args:
        small: as `settle_small_classes` returns it.
    """
    if config.small_classes == "merge":
        _merge(new, small, config, findings)
        return
    for record in new:
        record.code = None if record.code in small else record.code


def _merge(
    records: Sequence[Record], small: Mapping[str, int], config: PreprocessConfig, findings: list[Finding]
) -> None:
    for record in records:
        if record.code is not None and record.code in small:
            detail = f"class {record.code!r} of {small[record.code]} became {config.merged_class!r}"
            findings.append(record.finding("small_class", NORMALIZED, detail))
            record.code = config.merged_class
