"""Why ids of two files do not join, and the one change of form that a person may ask for."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation

from components.core.errors import InputError
from components.data.tables.findings import first_of, shown

_REMEDY = "set match_ids=number to compare ids as numbers, or write them as text in both files"


def number_form(value: str) -> str:
    """An id as the whole number that it stands for: "0012", "12.0", "1.2E1" -> "12"."""
    try:
        number = Decimal(value)
    except InvalidOperation:
        return value
    whole = number.is_finite() and abs(number.adjusted()) < 100 and number == number.to_integral_value()
    return str(int(number)) if whole else value


def _without_point(value: str) -> str:
    return re.sub(r"\.0+$", "", value)


def _without_zeros(value: str) -> str:
    return value.lstrip("0") or "0"


def _folded(value: str) -> str:
    return "".join(unicodedata.normalize("NFKC", value).casefold().split())


# In the order in which they are tried: what happened to one file's ids, the form that undoes it, the remedy.
REASONS: tuple[tuple[str, Callable[[str], str], str], ...] = (
    (
        "one file has '.0' behind its ids, as pandas writes a column where one is missing",
        _without_point,
        _REMEDY,
    ),
    ("one file has lost the zeros before its ids, as Excel and pandas do", _without_zeros, _REMEDY),
    ("one file has its ids in scientific notation, as Excel shows long numbers", number_form, _REMEDY),
    ("they differ in case, spaces or how letters are composed", _folded, "write them alike in both files"),
)


def why_not_joined(products: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """For each of the labels' ids that is a product's in another form: what happened, and the remedy."""
    found: dict[str, str] = {}
    for why, form, remedy in REASONS:
        forms = {form(value) for value in products}
        found |= {
            value: f": {why}; {remedy}" for value in labels if value not in found and form(value) in forms
        }
    lost = ": its digits are lost in scientific notation; export the file anew with its ids as text"
    rounded = (value for value in labels if re.fullmatch(r"\d([.,]\d+)?E\+\d+", value, re.IGNORECASE))
    return found | {value: lost for value in rounded if value not in found}


def refuse_merged(values: Sequence[str], what: str) -> None:
    """Checks that ids stay apart when they are compared as numbers.

    Raises:
        InputError: two of them are one number.
    """
    first: dict[str, str] = {}
    merged = [
        f"{shown(first[form])} and {shown(value)}"
        for value in values
        if first.setdefault(form := number_form(value), value) != value
    ]
    if merged:
        raise InputError(
            f"match_ids=number: {len(merged)} ids of the {what} are the same number as another\n"
            f"{first_of(merged)}\n"
            "Set match_ids=text, and write the ids alike in both files."
        )
