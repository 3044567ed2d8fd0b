"""Ids and codes as text: how they are compared, and how a spreadsheet is kept from running one."""

import html
import re
import unicodedata

# Entities that end in a semicolon; "R&copy" is a name.
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
# A mark of byte order stands inside a table where files were put one behind the other.
_MARKS = "\ufeff\u200b"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# What a spreadsheet would compute: "=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0"; not "-1e5", "- Other -".
_FORMULA = re.compile(r"'*(?![=+\-@][\w\s.,&/-]*$)[=+\-@\t\r].", re.DOTALL)


def clean_code(text: str) -> str:
    """A code as it is compared: NFC, entities decoded, white space folded, nothing invisible."""
    text = revived(text.strip())
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    if not text.isascii():
        text = _INVISIBLE.sub("", unicodedata.normalize("NFC", text))
    return " ".join(_CONTROL.sub(" ", text).split())


def clean_id(text: str) -> str:
    """An id as it is compared: without white space and marks that nobody sees around it."""
    return revived(text.strip().strip(_MARKS).strip())


def defused(text: str) -> str:
    """A cell that no spreadsheet runs: an apostrophe before what it would compute. `revived` undoes it."""
    return f"'{text}" if _FORMULA.match(text) else text


def revived(text: str) -> str:
    """What `defused` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text[1:]) else text
