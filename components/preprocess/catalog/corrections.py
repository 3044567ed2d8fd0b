"""A person's corrections of labels, and the names of classes."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from components.core.errors import InputError
from components.core.reading import read_json
from components.data.codes import clean_code, clean_id
from components.data.tables.findings import DROPPED, FLAGGED, IGNORED, Finding, first_of, shown
from components.data.tables.table import Table
from components.preprocess.catalog.cleaning import clean_text
from components.preprocess.catalog.records import Record

log = logging.getLogger(__name__)


def apply_corrections(records: Sequence[Record], corrections: Table) -> list[Finding]:
    """Puts a person's codes in place of the catalog's.

    Returns:
        One finding where products are corrected that the catalog does not have, or not any more.

    Raises:
        InputError: columns are missing, a row that cannot be read, a code that the catalog does not have, or
            a product that is corrected twice.
    """
    missing = corrections.missing(["product_id", "code"])
    if missing:
        raise InputError(
            f"{corrections.path}: missing columns {missing}; it has {corrections.named()}, expected "
            "product_id, code"
        )
    by_id = {record.product_id: record for record in records}
    codes = {record.code for record in records}
    rows = [
        (row.line, clean_id(row.values["product_id"]), clean_code(row.values["code"]))
        for row in corrections.rows
    ]
    times = Counter(product for _, product, _ in rows)
    wrong = [f"line {one.line}: {one.detail}" for one in corrections.findings if one.action == DROPPED]
    wrong += [
        f"line {line}: product_id {shown(product)} is corrected more than once"
        for line, product, _ in rows
        if times[product] > 1
    ]
    wrong += [
        f"line {line}: code {shown(code)} is not in the catalog"
        for line, product, code in rows
        if product in by_id and code not in codes
    ]
    if wrong:
        raise InputError(
            f"{corrections.path}: {len(wrong)} corrections cannot be made\n{first_of(wrong)}\n"
            "Mend these lines, or take them out."
        )
    unknown = [(line, product) for line, product, _ in rows if product not in by_id]
    for _, product, code in rows:
        if product in by_id:
            by_id[product].code = code
    return _of_unknown(unknown, corrections.path)


def _of_unknown(unknown: list[tuple[int, str]], path: Path) -> list[Finding]:
    if not unknown:
        return []
    line, product = unknown[0]
    detail = f"{len(unknown)} corrections are of products that are not labeled ones of the catalog"
    log.warning("%s: %s, the first is %s", path, detail, shown(product))
    return [Finding(path.name, line, product, "stale_corrections", IGNORED, detail)]


def read_class_names(path: Path) -> dict[str, str]:
    """Reads a JSON object of code to name.

    Raises:
        InputError: not one, or two of its codes are one code once they are normalized.
    """
    names = read_json(path, 'a JSON object of code to name, {"10": "Books"}')
    pairs = [(clean_code(code), clean_text(str(name))) for code, name in names.items()]
    times = Counter(code for code, _ in pairs)
    twice = [code for code, count in times.items() if count > 1]
    if twice:
        raise InputError(f"{path}: code {shown(twice[0])} has {times[twice[0]]} names; give it one")
    return dict(pairs)


def unused_names(names: Iterable[str], codes: set[str], path: Path) -> list[Finding]:
    """One finding where classes are named that the catalog does not have."""
    unused = sorted(set(names) - codes)
    if not unused:
        return []
    listed = ", ".join(map(shown, unused[:5])) + (", ..." if len(unused) > 5 else "")
    detail = f"{len(unused)} names are of codes that no product has: {listed}"
    return [Finding(path.name, 0, "", "unused_class_names", FLAGGED, detail)]
