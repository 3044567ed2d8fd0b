"""Codes that a person may take for one another."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from components.data.tables.findings import FLAGGED, Finding, shown
from components.preprocess.catalog.cleaning import as_latin


def similar_codes(codes: Iterable[str], file: str) -> list[Finding]:
    """One finding where codes differ in case, look-alike letters, spaces or signs alone."""
    groups: dict[str, list[str]] = defaultdict(list)
    for code in sorted(codes):
        groups[_skeleton(code)].append(code)
    alike = [" and ".join(map(shown, group)) for group in groups.values() if len(group) > 1]
    if not alike:
        return []
    listed = "; ".join(alike[:5])
    detail = f"{len(alike)} groups of classes have nearly the same code, are they one class? {listed}"
    return [Finding(file, 0, "", "similar_codes", FLAGGED, detail)]


def _skeleton(code: str) -> str:
    folded = as_latin(unicodedata.normalize("NFKC", code)).casefold()
    kept = "".join(sign for sign in folded if sign.isalnum())
    # Signs alone, and the sign of a number, tell codes apart.
    return kept if kept and not kept.isdecimal() else folded
