"""What people decide of labels: one row a product, in a table that a spreadsheet or `review` fills in."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.errors import InputError
from components.data.codes import clean_code, clean_id
from components.data.tables.findings import DROPPED, first_of, shown
from components.data.tables.table import Row, Table

KEEP, CORRECT, DROP = "keep", "correct", "drop"
CHOICES = (KEEP, CORRECT, DROP)
DECISION_COLUMNS = ("decision", "code")  # what a person fills in


@dataclass(frozen=True)
class Decision:
    """What a person decided of one product.

    Attributes:
        choice: keep its label, correct it, or drop the product.
        code: the right one, where the label is corrected; else "".
        given: the label that was decided on: "" for none, None where the table does not say.
        line: of the table.
    """

    product_id: str
    choice: str
    code: str
    given: str | None
    line: int = 0


@dataclass(frozen=True)
class Decisions:
    """All decisions of a table, and how many of its rows were left undecided."""

    made: list[Decision]
    undecided: int


def decisions_of(metadata: Mapping[str, Any]) -> list[Decision]:
    """The decisions that preprocess carried out, as a product table's metadata holds them.

    Of each, `given` is the label that the catalog has, "" for none.
    """
    return [Decision(**each) for each in metadata.get("decisions", [])]


def settled_products(metadata: Mapping[str, Any]) -> frozenset[str]:
    """Ids of the products whose label a person put right or found right."""
    return frozenset(each.product_id for each in decisions_of(metadata) if each.choice != DROP)


def counted(decisions: Sequence[Decision]) -> str:
    """How many decisions there are of each choice, in words."""
    count = Counter(each.choice for each in decisions)
    return f"{count[CORRECT]} labels corrected, {count[KEEP]} kept, {count[DROP]} products dropped"


def read_decisions(table: Table) -> Decisions:
    """Reads the columns `product_id`, `decision` (keep, correct, drop or nothing) and `code`.

    A row without a decision does nothing, whatever its code; without that column every row corrects.
    `given_code`, where it is there, is the label that was decided on.

    Raises:
        InputError: columns are missing, a row cannot be read, or a decision cannot be carried out.
    """
    missing = table.missing(["product_id", "code"])
    if missing:
        raise InputError(
            f"{table.path}: missing columns {missing}; it has {table.named()}, expected product_id and "
            f"code, and decision ({', '.join(CHOICES)}) where not every row corrects a label"
        )
    optional = {name for name in ("decision", "given_code") if not table.missing([name])}
    rows = [_decision(row, optional) for row in table.rows]
    made = [row for row in rows if row.choice]
    wrong = [*(f"line {one.line}: {one.detail}" for one in table.findings if one.action == DROPPED)]
    wrong += _problems(made)
    refuse_wrong(wrong, table.path)
    return Decisions(made, len(rows) - len(made))


def refuse_wrong(wrong: Sequence[str], path: Path) -> None:
    """Refuses a table of which some lines cannot be carried out, naming them; nothing where all can."""
    if wrong:
        raise InputError(
            f"{path}: {len(wrong)} corrections cannot be made\n{first_of(wrong)}\n"
            "Mend these lines, or take them out."
        )


def _decision(row: Row, optional: set[str]) -> Decision:
    values = row.values
    choice = values["decision"].strip().casefold() if "decision" in optional else CORRECT
    given = clean_code(values["given_code"]) if "given_code" in optional else None
    code = clean_code(values["code"]) if choice == CORRECT else ""
    return Decision(clean_id(values["product_id"]), choice, code, given, row.line)


def _problems(decisions: list[Decision]) -> Iterator[str]:
    times = Counter(each.product_id for each in decisions)
    for each in decisions:
        if each.choice not in CHOICES:
            known = ", ".join(CHOICES)
            yield f"line {each.line}: decision {shown(each.choice)}, expected {known} or nothing"
        if each.choice == CORRECT and not each.code:
            yield f"line {each.line}: product_id {shown(each.product_id)} is to be corrected, and has no code"
        if times[each.product_id] > 1:
            yield f"line {each.line}: product_id {shown(each.product_id)} is corrected more than once"
