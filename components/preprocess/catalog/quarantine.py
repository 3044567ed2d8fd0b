"""The quarantine report: every row that was not taken as it came, and why."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path

from components.core.artifacts import whole_file
from components.core.errors import InputError
from components.data.codes import defused
from components.data.tables.findings import DROPPED, PERSON_DROPPED, Finding, by_reason, first_of
from components.preprocess.catalog.records import Record


def write_findings(findings: Iterable[Finding], path: Path) -> None:
    """Writes the report as TSV: file, line, product_id, reason, action, detail."""
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(field.name for field in fields(Finding))
        writer.writerows(map(defused, map(str, finding.values())) for finding in findings)


def codes_and_rows(records: Sequence[Record]) -> str:
    """For messages: the codes of some records, and below them the first twenty records, one a line."""
    codes = sorted({str(record.code) for record in records})
    rows = [f"{one.file}, line {one.line}, product {one.product_id!r}: {one.code!r}" for one in records]
    return f"{', '.join(codes[:20])}\n{first_of(rows)}"


def refuse_if_too_many(findings: list[Finding], rows: int, limit: float) -> None:
    """Stops where more than a share `limit` of the rows had to be left out.

    Raises:
        InputError: with the counts by reason and the first twenty rows.
    """
    dropped = [one for one in findings if one.action == DROPPED and one.reason != PERSON_DROPPED]
    if len(dropped) > limit * rows:
        images = sum("image" in finding.reason for finding in dropped)
        keep = f", keep the {images} without their image (on_bad_image=keep)" if images else ""
        raise InputError(
            f"{len(dropped)} of {rows} rows cannot be used ({len(dropped) / rows:.1%}, allowed {limit:.1%}): "
            f"{by_reason(dropped)}\n{first_of(dropped)}\nMend them{keep}, or allow more with max_quarantined."
        )
