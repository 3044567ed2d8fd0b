"""Cron expressions as Kubeflow Pipelines reads them: six fields, seconds first, in UTC."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from components.core.errors import InputError

MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
FIELDS = (
    ("second", 0, 59, []),
    ("minute", 0, 59, []),
    ("hour", 0, 23, []),
    ("day of the month", 1, 31, []),
    ("month", 1, 12, MONTHS),
    ("day of the week", 0, 6, DAYS),
)

LONGEST = 8  # values at equal distances that are all named


@dataclass(frozen=True)
class Cron:
    """A schedule. A day fits as in robfig/cron, which the cluster uses: where both the day of the month
    and the day of the week are restricted, either may match."""

    expression: str
    values: tuple[frozenset[int], ...]
    starred: tuple[bool, ...]

    def next_times(self, start: datetime, count: int = 3) -> list[datetime]:
        """The next times after `start` in UTC; fewer than `count` where five years hold no more."""
        seconds, minutes, hours = (sorted(values) for values in self.values[:3])
        moment = start.astimezone(UTC)
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        found: list[datetime] = []
        for day in (midnight + timedelta(days=number) for number in range(5 * 366)):
            if not self._fits(day):
                continue
            for hour in hours:
                for minute in minutes:
                    for second in seconds:
                        time = day.replace(hour=hour, minute=minute, second=second)
                        if time > moment:
                            found.append(time)
                            if len(found) == count:
                                return found
        return found

    def words(self) -> str:
        """The schedule read back for people."""
        parts = [
            f"every {name}" if len(values) == high - low + 1 else f"{name} {_listed(values, low, names)}"
            for (name, low, high, names), values in zip(FIELDS, self.values, strict=True)
        ]
        return "; ".join(reversed(parts)) + " (UTC)"

    def _fits(self, day: datetime) -> bool:
        if day.month not in self.values[4]:
            return False
        of_month, of_week = day.day in self.values[3], day.isoweekday() % 7 in self.values[5]
        if self.starred[3] or self.starred[5]:
            return of_month and of_week
        return of_month or of_week


def parse_cron(expression: str) -> Cron:
    """Reads a cron expression of six fields.

    Raises:
        InputError: it has another number of fields (five is the classic mistake: the backend would read
            `0 3 * * *` as every hour), a field is out of its range, or it never comes.
    """
    fields = expression.split()
    if len(fields) != len(FIELDS):
        hint = f"; for a classic one of five, write '0 {expression}'" if len(fields) == 5 else ""
        raise InputError(
            f"--cron {expression!r}: {len(fields)} fields, expected six: "
            f"{', '.join(name for name, *_ in FIELDS)}{hint}"
        )
    values = tuple(_parse(text, *field) for text, field in zip(fields, FIELDS, strict=True))
    cron = Cron(expression, values, tuple(text[0] in "*?" for text in fields))
    if not cron.next_times(datetime.now(UTC), 1):
        raise InputError(f"--cron {expression!r}: no such time comes in the next five years")
    return cron


def _parse(text: str, name: str, low: int, high: int, names: list[str]) -> frozenset[int]:
    values: set[int] = set()
    for item in text.split(","):
        span, slash, step = item.partition("/")
        first, dash, last = span.partition("-")
        try:
            start = low if span in ("*", "?") else _number(first, low, names)
            end = high if span in ("*", "?") or (slash and not dash) else start
            end = _number(last, low, names) if dash else end
            stride = int(step) if slash else 1
        except ValueError:
            raise InputError(f"--cron: {name} {item!r} is not a number, a range, a list or *") from None
        if not low <= start <= end <= high or stride < 1:
            raise InputError(f"--cron: {name} {item!r} is outside {low} to {high}")
        values.update(range(start, end + 1, stride))
    return frozenset(values)


def _number(text: str, low: int, names: list[str]) -> int:
    return names.index(text.lower()) + low if text.lower() in names else int(text)


def _listed(values: frozenset[int], low: int, names: list[str]) -> str:
    shown = [names[value - low].title() if names else str(value) for value in sorted(values)]
    if len(shown) > LONGEST and len({after - value for value, after in pairwise(sorted(values))}) == 1:
        shown = [*shown[:3], f"... {shown[-1]}"]
    return ", ".join(shown)
