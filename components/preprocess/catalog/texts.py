"""Cleans a catalog's texts, and says what is odd about them, alone and taken together."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np

from components.data.tables.findings import FLAGGED, NORMALIZED, Finding, shown
from components.preprocess.catalog.cleaning import clean_text, hides_characters, mixes_look_alikes
from components.preprocess.catalog.records import Record

PLACEHOLDER_COUNT = 20  # products from which on one description is a placeholder
PLACEHOLDER_SHARE = 0.05
# UTF-8 that was read as Windows-1252 or Latin-1, and as Windows-1251.
_MOJIBAKE = re.compile("[ÂÃÐÑâ][\u0080-\u00bf\u0152-\u0178\u02c6-\u2122]|([РС][^\\x00-\\x7fА-я]){2}")
_READ_AS = ("cp1252", "latin-1", "cp1251")


@dataclass
class OddTexts:
    """Products whose texts were decoded wrongly before.

    Attributes:
        count: of them.
        first: of them; its detail is the text.
    """

    count: int = 0
    first: Finding | None = None

    def add(self, record: Record) -> None:
        """Looks at one more product, cleaned."""
        text = next(filter(_was_utf8, (record.title, record.description)), None)
        if text is not None:
            self.count += 1
            self.first = self.first or record.finding("mojibake", FLAGGED, text)


def cleaned(records: Iterable[Record], findings: list[Finding], odd: OddTexts) -> Iterator[Record]:
    """Cleans titles and descriptions in place, and says what was odd about them."""
    for record in records:
        if hides_characters(record.title) or hides_characters(record.description):
            findings.append(record.finding("hidden_characters", NORMALIZED, "in title or description"))
        if mixes_look_alikes(record.title) or mixes_look_alikes(record.description):
            detail = "Cyrillic or Greek letters inside a Latin word, in title or description"
            findings.append(record.finding("look_alike_characters", FLAGGED, detail))
        record.title = clean_text(record.title)
        record.description = clean_text(record.description)
        odd.add(record)
        yield record


def text_hash(text: str) -> int:
    """64 bits by which equal texts are known; 0 for none."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) if text else 0


def text_findings(
    odd: OddTexts, descriptions: np.ndarray, file: str, description_at: Callable[[int], str]
) -> list[Finding]:
    """Findings about texts that were decoded wrongly before, and descriptions that describe nothing.

    Args:
        descriptions: (N,) uint64, `text_hash` of every product's.
        file: of the first product.
        description_at: the description of a product by its number.
    """
    found = []
    if odd.first is not None:
        detail = (
            f"{odd.count} products have texts that were UTF-8 and were read as something else, as in "
            f"{shown(odd.first.detail, 60)}: export the catalog anew as UTF-8"
        )
        found.append(replace(odd.first, detail=detail))
    count = len(descriptions)
    least = max(PLACEHOLDER_COUNT, PLACEHOLDER_SHARE * count)
    texts, firsts, times = np.unique(descriptions, return_index=True, return_counts=True)
    often = np.flatnonzero((texts != 0) & (times >= least))
    for at in often[np.lexsort((firsts[often], -times[often]))][:3]:
        text = shown(description_at(int(firsts[at])), 60)
        detail = f"{times[at]} of {count} products have one description, {text}: is it theirs?"
        found.append(Finding(file, 0, "", "placeholder_description", FLAGGED, detail))
    return found


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
