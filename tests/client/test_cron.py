"""Cron expressions: read as the cluster reads them, read back for people, refused where they are wrong."""

from datetime import UTC, datetime

import pytest

from components.client.cluster.cron import parse_cron
from components.core.errors import InputError


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("0 3 * * *", "write '0 0 3 * * *'"),
        ("0 0 24 * * *", "hour '24' is outside 0 to 23"),
        ("0 0 3 * * someday", "day of the week 'someday' is not a number"),
        ("0 0 3 31 2 *", "no such time comes"),
        ("0 */0 3 * * *", "minute '*/0' is outside"),
    ],
)
def test_a_wrong_cron_expression_is_explained(expression: str, problem: str):
    with pytest.raises(InputError) as caught:
        parse_cron(expression)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 0 3 * * 1", ["2026-01-05 03:00:00", "2026-01-12 03:00:00", "2026-01-19 03:00:00"]),
        ("30 */20 23 * * *", ["2026-01-01 23:00:30", "2026-01-01 23:20:30", "2026-01-01 23:40:30"]),
        ("0 0 0 1 jan-mar ?", ["2026-02-01 00:00:00", "2026-03-01 00:00:00", "2027-01-01 00:00:00"]),
        # Either the day of the month or the day of the week, as in the cluster's own reading.
        ("0 0 0 3 * fri", ["2026-01-02 00:00:00", "2026-01-03 00:00:00", "2026-01-09 00:00:00"]),
        ("0 0 0 29 2 *", ["2028-02-29 00:00:00"]),
    ],
)
def test_next_times(expression: str, expected: list[str]):
    found = parse_cron(expression).next_times(datetime(2026, 1, 1, tzinfo=UTC))
    assert [f"{time:%Y-%m-%d %H:%M:%S}" for time in found] == expected


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        (
            "0 0 3 * * 1",
            "day of the week Mon; every month; every day of the month; hour 3; minute 0; second 0",
        ),
        (
            "0 */2 * * * *",
            "every day of the week; every month; every day of the month; every hour; "
            "minute 0, 2, 4, ... 58; second 0",
        ),
        (
            "0 0 */12 1-7 jan,jul *",
            "every day of the week; month Jan, Jul; day of the month 1, 2, 3, 4, 5, 6, 7; hour 0, 12; "
            "minute 0; second 0",
        ),
        (
            "0 0 0-23 ? 1-12 sun-sat",
            "every day of the week; every month; every day of the month; every hour; minute 0; second 0",
        ),
    ],
)
def test_the_words_say_every_only_where_every_one_is_meant(expression: str, words: str):
    assert parse_cron(expression).words() == f"{words} (UTC)"
