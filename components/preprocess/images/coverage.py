"""Whether the products have images at all: a wrong folder or archive is noticed before any training."""

import logging
from collections.abc import Sequence

from components.core.errors import InputError
from components.data.tables.findings import Finding, by_reason, first_of
from components.preprocess.catalog.records import Record

log = logging.getLogger(__name__)

MOST = 0.5  # over this share of a part it is warned of
ADVICE = (
    "Products without an image are predicted by their text alone. Where the test products' images lie in "
    "another folder or zip, name it as their own."
)


def check_coverage(
    what: str, records: Sequence[Record], findings: Sequence[Finding], limit: float, sides: str
) -> None:
    """Warns where most products have no image that can be used.

    Args:
        what: they are, "labeled" or "test".
        findings: of packing their images.
        limit: share of the test products that may be without.
        sides: names of the catalog and of the images, where none of the catalog's means an image; else "".

    Raises:
        InputError: no labeled product has an image, or more test products than the limit are without.
    """
    without = {record.product_id for record in records if record.image is None}
    share = len(without) / max(1, len(records))
    if share <= min(MOST, limit):
        return
    found = [one for one in findings if one.product_id in without]
    sides = f"\n{sides} Is it the right one?" if sides else ""
    count = f"{len(without):,} of {len(records):,} {what} products have no image that can be used"
    message = f"{count} ({by_reason(found)}){sides}\n{first_of(found[:3])}"
    if what == "labeled" and share == 1:
        raise InputError(f"{message}\nNo image classifier can be trained.")
    if what == "test" and share > limit:
        raise InputError(f"{message}\nAllowed by max_test_without_image: {limit:.1%}. {ADVICE}")
    for line in f"warning: {message}\n{ADVICE}".splitlines() if share > MOST else []:
        log.warning("%s", line)  # a run shows lines alone that are marked as a stage's
