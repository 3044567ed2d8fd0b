"""What is found in a table that is not as it should be: one line each, for a report or a message."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

DROPPED = "quarantined"
WITHOUT_IMAGE = "kept without image"
NORMALIZED = "normalized"
IGNORED = "ignored"
FLAGGED = "flagged"
PERSON_DROPPED = "dropped_by_a_person"  # the reason of a row that was left out as somebody wanted it
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One row that was not taken as it came, or something that is odd about a file.

    Attributes:
        file: name of the catalog's file.
        line: line number in it, from 1; 0 where it concerns no single line.
        product_id: the row's product id, "" where it could not be read.
        reason: a short code such as `image_missing`.
        action: quarantined, kept without image, normalized, flagged, or ignored.
        detail: what was found.
    """

    file: str
    line: int
    product_id: str
    reason: str
    action: str
    detail: str

    def values(self) -> tuple[str, int, str, str, str, str]:
        """Its fields in their order; `dataclasses.astuple` takes many times as long."""
        return self.file, self.line, self.product_id, self.reason, self.action, self.detail

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}, product {self.product_id!r}: {self.reason}: {self.detail}"


def first_of(problems: Iterable[object]) -> str:
    """The first twenty problems in full, one a line, and how many more there are."""
    listed = list(problems)
    more = [f"... and {len(listed) - SHOWN} more"] if len(listed) > SHOWN else []
    return "\n".join(f"  {line}" for line in [*listed[:SHOWN], *more])


def by_reason(findings: Iterable[Finding]) -> str:
    """How many there are of each reason, the most frequent first."""
    return ", ".join(f"{reason} {n}" for reason, n in Counter(f.reason for f in findings).most_common())


def grouped(findings: Sequence[Finding]) -> list[tuple[Finding, int]]:
    """The first finding of every reason and action, and how many there are, the most frequent first."""
    counts = Counter((finding.reason, finding.action) for finding in findings)
    first = {(finding.reason, finding.action): finding for finding in reversed(findings)}
    return [(first[group], count) for group, count in counts.most_common()]


def shown(value: str, limit: int = 80) -> str:
    """A value as a message quotes it: escaped, and cut to `limit` characters."""
    return ascii_safe(value if len(value) <= limit else value[: limit - 1] + "…")


def ascii_safe(value: str) -> str:
    """`repr` of a value in which an undecodable byte is written as its number."""
    return repr(value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))
