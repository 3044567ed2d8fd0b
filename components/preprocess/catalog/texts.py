"""What is odd about a catalog's texts taken together."""

import re
from collections import Counter
from collections.abc import Sequence

from components.data.tables.findings import FLAGGED, Finding, shown
from components.preprocess.catalog.records import Record

PLACEHOLDER_COUNT = 20  # products from which on one description is a placeholder
PLACEHOLDER_SHARE = 0.05
# UTF-8 that was read as Windows-1252 or Latin-1, and as Windows-1251.
_MOJIBAKE = re.compile("[ÂÃÐÑâ][\u0080-\u00bf\u0152-\u0178\u02c6-\u2122]|([РС][^\\x00-\\x7fА-я]){2}")
_READ_AS = ("cp1252", "latin-1", "cp1251")


def text_findings(records: Sequence[Record]) -> list[Finding]:
    """Findings about texts that were decoded wrongly before, and descriptions that describe nothing."""
    if not records:
        return []
    return [*_mojibake(records), *_placeholders(records)]


def _mojibake(records: Sequence[Record]) -> list[Finding]:
    wrong = [record for record in records if any(map(_was_utf8, (record.title, record.description)))]
    if not wrong:
        return []
    text = next(text for text in (wrong[0].title, wrong[0].description) if _was_utf8(text))
    detail = (
        f"{len(wrong)} products have texts that were UTF-8 and were read as something else, as in "
        f"{shown(text, 60)}: export the catalog anew as UTF-8"
    )
    return [Finding(wrong[0].file, wrong[0].line, wrong[0].product_id, "mojibake", FLAGGED, detail)]


def _was_utf8(text: str) -> bool:
    if text.isascii() or not _MOJIBAKE.search(text):
        return False
    return any(_decodes(run) for run in re.findall(r"[^\x00-\x7f]{2,}", text))


def _decodes(run: str) -> bool:
    for encoding in _READ_AS:
        try:
            return len(run.encode(encoding).decode("utf-8")) < len(run)
        except UnicodeError:
            continue
    return False


def _placeholders(records: Sequence[Record]) -> list[Finding]:
    least = max(PLACEHOLDER_COUNT, PLACEHOLDER_SHARE * len(records))
    counts = Counter(record.description for record in records if record.description)
    return [
        Finding(
            records[0].file,
            0,
            "",
            "placeholder_description",
            FLAGGED,
            f"{count} of {len(records)} products have one description, {shown(text, 60)}: is it theirs?",
        )
        for text, count in counts.most_common(3)
        if count >= least
    ]
