"""What people decided of labels, carried out on a catalog."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from components.data.decisions import CORRECT, DROP, KEEP, Decision, counted, read_decisions, refuse_wrong
from components.data.tables.findings import (
    DROPPED,
    IGNORED,
    PERSON_DROPPED,
    Finding,
    shown,
)
from components.data.tables.table import Table
from components.preprocess.catalog.records import Catalog, Record

log = logging.getLogger(__name__)

# Why a decision is not carried out.
GONE = "of products that the products file does not have; one of a new product waits until it does"
MOVED = "on another label than the catalog has by now, which it keeps"
UNLABELED = "to keep the label of products that have none: write correct, and the code"


def apply_corrections(catalog: Catalog, corrections: Table) -> list[Decision]:
    """Carries out what a person decided of a catalog's products, in place.

    A decision on another label than the catalog has by now is not carried out: the catalog wins.

    Returns:
        By product the decisions that were carried out, and those of new products that the products file does
        not have yet; the catalog's findings name what was not carried out.

    Raises:
        InputError: the table cannot be used, or has a code that the catalog does not have.
    """
    decisions = read_decisions(corrections)
    named = {decision.product_id for decision in decisions.made}
    by_id = {record.product_id: record for record in catalog.records if record.product_id in named}
    carried_out, others = [], {why: [] for why in (GONE, MOVED, UNLABELED)}
    for decision in decisions.made:
        record = by_id.get(decision.product_id)
        if why := _hindrance(decision, record):
            others[why].append(decision)
        elif record is not None:
            given = record.code if decision.given is None else decision.given
            carried_out.append(replace(decision, given=given or ""))
    _refuse_unknown_codes(carried_out, {record.code for record in catalog.records}, corrections.path)
    for decision in carried_out:
        record = by_id[decision.product_id]
        record.code = decision.code or record.code
        if decision.choice == DROP:
            catalog.findings.append(record.finding(PERSON_DROPPED, DROPPED, corrections.path.name))
    dropped = {each.product_id for each in carried_out if each.choice == DROP}
    catalog.records = [record for record in catalog.records if record.product_id not in dropped]
    for why, some in others.items():
        catalog.findings += _not_carried_out(some, why, corrections.path)
    undecided = f"; {decisions.undecided} rows undecided" if decisions.undecided else ""
    log.info("%s: %s%s", corrections.path.name, counted(carried_out), undecided)
    waiting = [each for each in others[GONE] if each.given == ""]
    kept = [replace(each, line=0) for each in (*carried_out, *waiting)]
    return sorted(kept, key=lambda each: each.product_id)


def _hindrance(decision: Decision, record: Record | None) -> str:
    """Why a decision cannot be carried out on what the catalog has by now; "" where it can."""
    if record is None:
        return GONE
    if record.code is None and decision.choice == KEEP:
        return UNLABELED
    taken_over = decision.choice == CORRECT and decision.code == record.code
    fits = decision.given is None or decision.given == (record.code or "")
    return "" if taken_over or fits else MOVED


def _refuse_unknown_codes(decisions: Sequence[Decision], codes: set[str | None], path: Path) -> None:
    wrong = [
        f"line {each.line}: code {shown(each.code)} is not in the catalog"
        for each in decisions
        if each.choice == CORRECT and each.code not in codes
    ]
    refuse_wrong(wrong, path)


def _not_carried_out(decisions: Sequence[Decision], why: str, path: Path) -> list[Finding]:
    if not decisions:
        return []
    first = decisions[0]
    detail = f"{len(decisions)} {'corrections are' if len(decisions) > 1 else 'correction is'} {why}"
    log.warning("%s: %s, the first is %s", path, detail, shown(first.product_id))
    return [Finding(path.name, first.line, first.product_id, "stale_corrections", IGNORED, detail)]
