"""Whether the products have images at all: a wrong folder or archive is noticed before any training."""

import logging
from collections.abc import Sequence

from components.core.errors import InputError
from components.data.tables.findings import Finding, by_reason, first_of
from components.preprocess.images.packing import Part

log = logging.getLogger(__name__)

MOST = 0.5  # over this share of a part it is warned of
ADVICE = (
    "Products without an image are predicted by their text alone. Where the test products' images lie in "
    "another folder or zip, name it as their own."
)


def check_coverage(parts: Sequence[Part], findings: Sequence[Finding], limit: float) -> None:
    """Warns where most products of a part have no image that can be used.

    Args:
        findings: of packing these parts.
        limit: share of the test products that may be without.

    Raises:
        InputError: no labeled product has an image, or more test products than the limit are without.
    """
    for part in parts:
        without = [record for record in part.records if record.image is None]
        share = len(without) / max(1, len(part.records))
        if share <= min(MOST, limit):
            continue
        ids = {record.product_id for record in without}
        message = _in_words(part, len(without), [one for one in findings if one.product_id in ids])
        if part.what == "labeled" and share == 1:
            raise InputError(f"{message}\nNo image classifier can be trained.")
        if part.what == "test" and share > limit:
            raise InputError(f"{message}\nAllowed by max_test_without_image: {limit:.1%}. {ADVICE}")
        for line in f"warning: {message}\n{ADVICE}".splitlines() if share > MOST else []:
            log.warning("%s", line)  # a run shows lines alone that are marked as a stage's


def _in_words(part: Part, without: int, findings: Sequence[Finding]) -> str:
    sides = "" if part.names.matched else f"\n{part.names.both_sides()} Is it the right one?"
    count = f"{without:,} of {len(part.records):,} {part.what} products have no image that can be used"
    return f"{count} ({by_reason(findings)}){sides}\n{first_of(findings[:3])}"
