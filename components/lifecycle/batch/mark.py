"""What is new in a catalog since the last run, by a column of dates: each product once, whatever fails.

An output keeps a mark, `last-run.json`, which a run replaces when all it predicted is written. Until then the
mark says what the last finished run had read, so a run that fails is made up for by the next one. A run first
writes into the mark that it is about to write: another one that read the same mark is refused, and the next
one knows what to put away of a run that was cut off.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta

from components.core.errors import InputError
from components.lifecycle.config import moment_of
from components.lifecycle.objects import Changed, Objects
from components.lifecycle.store import as_json, parse_object

MARK = "last-run.json"
FORMAT = 1
LATE = timedelta(days=31)  # so much older than the newest product may be what a catalog receives late


@dataclass(frozen=True)
class Mark:
    """Up to where a catalog was predicted.

    Attributes:
        column: of the catalog, whose dates these are.
        number: how many runs found something new.
        until: the latest date that was read, ISO 8601 in UTC; "" before the first run.
        seen: product id -> date, of what was predicted with a date of the last `LATE` before `until`.
        last: token of the last finished run.
        writing: tokens of the runs that began to write since then, the last of which may be at it.
    """

    column: str
    number: int = 0
    until: str = ""
    seen: dict[str, str] = field(default_factory=dict)
    last: str = ""
    writing: list[str] = field(default_factory=list)

    def is_new(self, product: str, moment: datetime) -> bool:
        """Whether no run has predicted a product with this date."""
        if self.until and moment < moment_of(self.until) - LATE:
            return False
        return self.seen.get(product) != moment.isoformat()

    def after(self, found: Mapping[str, datetime], now: datetime) -> "Mark":
        """The mark once these products are predicted.

        Args:
            found: date of every product; one in the future, such as a slip of the pen, moves the mark no
                further than to `now`.
        """
        before = [moment_of(self.until)] if self.until else []
        dates: list[datetime] = [*before, *(min(moment, now) for moment in found.values())]
        until = max(dates)
        seen = {**self.seen, **{product: moment.isoformat() for product, moment in found.items()}}
        kept = {product: date for product, date in seen.items() if moment_of(date) >= until - LATE}
        return replace(self, number=self.number + 1, until=until.isoformat(), seen=kept)

    def claimed(self, token: str) -> "Mark":
        """The mark while a run writes what it predicted."""
        return replace(self, writing=[*self.writing, token])

    def finished(self, token: str) -> "Mark":
        """The mark when a run has written everything."""
        return replace(self, last=token, writing=[])


def folder_of(number: int, token: str) -> str:
    """The folder of the output that a run writes into: no two share one, so a slow one mixes with none."""
    return f"{number:06d}-{token}"


def read_mark(output: Objects, column: str) -> tuple[Mark, str]:
    """The mark of an output, and the tag with which alone it is replaced.

    Raises:
        InputError: it is damaged, of a later release, or of another column of dates.
    """
    content, tag = output.tagged(MARK)
    if content is None:
        return Mark(column), tag
    where, found = f"{output.place}/{MARK}", parse_object(content, f"{output.place}/{MARK}")
    if found.pop("format", None) != FORMAT:
        raise InputError(f"{where}: of another format than {FORMAT}, which this release reads")
    try:
        mark = Mark(**found)
    except TypeError as error:
        raise InputError(f"{where}: no mark of a last run: {error}; restore it from a backup") from error
    if mark.column != column:
        raise InputError(
            f"{where}: tells what is new by the column {mark.column!r}, this run by {column!r}: name another "
            "output, or delete the mark to predict the whole catalog again"
        )
    return mark, tag


def write_mark(output: Objects, mark: Mark, tag: str) -> str:
    """Replaces the mark if it still is what was read; returns the new tag.

    Raises:
        InputError: another run has written it since.
    """
    content = as_json({"format": FORMAT, **asdict(mark)})
    try:
        output.replace(MARK, content, tag)
    except Changed:
        raise InputError(_TWO_RUNS.format(where=f"{output.place}/{MARK}")) from None
    written, tag = output.tagged(MARK)
    if written != content:
        raise InputError(_TWO_RUNS.format(where=f"{output.place}/{MARK}"))
    return tag


_TWO_RUNS = (
    "{where}: another run predicts what is new, or has predicted it, since this one began: what this one "
    "predicted is not written; the next run takes what is left"
)
