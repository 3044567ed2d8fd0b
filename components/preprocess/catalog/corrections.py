"""What people decided of labels, carried out on a catalog; and the names of classes."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from components.core.errors import InputError
from components.core.reading import read_json
from components.data.codes import clean_code
from components.data.decisions import CORRECT, DROP, Decision, counted, read_decisions
from components.data.tables.findings import (
    DROPPED,
    FLAGGED,
    IGNORED,
    PERSON_DROPPED,
    Finding,
    first_of,
    shown,
)
from components.data.tables.table import Table
from components.preprocess.catalog.cleaning import clean_text
from components.preprocess.catalog.records import Catalog, Record

log = logging.getLogger(__name__)


def apply_corrections(catalog: Catalog, corrections: Table) -> list[Decision]:
    """Carries out what a person decided of a catalog's products, in place.

    A decision on another label than the catalog has by now is not carried out: the catalog wins.

    Returns:
        The decisions that were carried out, by product; the catalog's findings name those that were not.

    Raises:
        InputError: the table cannot be used, or has a code that the catalog does not have.
    """
    decisions = read_decisions(corrections)
    by_id = {record.product_id: record for record in catalog.records}
    _refuse_unknown_codes(decisions.made, by_id, corrections.path)
    carried_out, gone, moved = [], [], []
    for decision in decisions.made:
        record = by_id.get(decision.product_id)
        if record is None:
            gone.append(decision)
        elif not _fits(decision, record):
            moved.append(decision)
        else:
            given = record.code if decision.given is None else decision.given
            carried_out.append(replace(decision, given=given or "", line=0))
            record.code = decision.code or record.code
    dropped = dict.fromkeys(each.product_id for each in carried_out if each.choice == DROP)
    for product in dropped:
        catalog.findings.append(
            by_id[product].finding(PERSON_DROPPED, DROPPED, f"by {corrections.path.name}")
        )
    catalog.records = [record for record in catalog.records if record.product_id not in dropped]
    catalog.findings += _of_another(gone, "of products that the catalog does not have", corrections.path)
    catalog.findings += _of_another(
        moved, "on another label than the catalog has by now, which it keeps", corrections.path
    )
    undecided = f"; {decisions.undecided} rows undecided" if decisions.undecided else ""
    log.info("%s: %s%s", corrections.path.name, counted(carried_out), undecided)
    return sorted(carried_out, key=lambda each: each.product_id)


def _refuse_unknown_codes(decisions: Sequence[Decision], by_id: dict[str, Record], path: Path) -> None:
    codes = {record.code for record in by_id.values()}
    wrong = [
        f"line {each.line}: code {shown(each.code)} is not in the catalog"
        for each in decisions
        if each.choice == CORRECT and each.product_id in by_id and each.code not in codes
    ]
    if wrong:
        raise InputError(
            f"{path}: {len(wrong)} corrections cannot be made\n{first_of(wrong)}\n"
            "Mend these lines, or take them out."
        )


def _fits(decision: Decision, record: Record) -> bool:
    """Whether a decision can be carried out on what the catalog has by now."""
    if decision.choice == CORRECT and decision.code == record.code:
        return True
    if record.code is None and decision.choice != CORRECT:
        return False
    return decision.given is None or decision.given == (record.code or "")


def _of_another(decisions: Sequence[Decision], what: str, path: Path) -> list[Finding]:
    if not decisions:
        return []
    first = decisions[0]
    detail = f"{len(decisions)} {'corrections are' if len(decisions) > 1 else 'correction is'} {what}"
    log.warning("%s: %s, the first is %s", path, detail, shown(first.product_id))
    return [Finding(path.name, first.line, first.product_id, "stale_corrections", IGNORED, detail)]


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
