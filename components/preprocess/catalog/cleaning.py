"""Text cleaning: white space, HTML tags and entities (paper, section 3.1.1)."""

import html
import re
import unicodedata

# A tag opens with a letter, a slash or an exclamation mark: "taille < 40" and "<3" are text.
_TAG = re.compile(r"<[a-zA-Z/!][^<>]*>")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# Cyrillic and Greek letters that look like Latin ones; beside a Latin letter they pretend to be one.
_LOOK_ALIKES = "АВЕЅІЈКМНОРСТУХаеіјорсухѕԁΑΒΕΖΗΙΚΜΝΟΡΤΥΧο"
_PRETENDING = re.compile(f"[A-Za-z][{_LOOK_ALIKES}]|[{_LOOK_ALIKES}][A-Za-z]")
_NO_CHARACTER = re.compile(r"&#[0-9]{8,};?")  # larger than any; of thousands of digits Python makes no number
_HIDDEN = re.compile("[\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


def clean_text(text: str) -> str:
    """Removes HTML tags, decodes entities, drops control characters, folds white space; NFC.

    The authors' expression dropped entities; one that stands for a character is decoded here, as it
    carries meaning ("T-shirt L&#39;Or"). Tags become a space, so that words on both sides stay two.
    """
    # Entities are escaped twice in some catalogs ("&amp;#39;"), and may spell a tag ("&lt;br&gt;").
    for _ in range(2):
        if "<" in text:
            text = _TAG.sub(" ", text)
        if "&" not in text:
            break
        text = html.unescape(_NO_CHARACTER.sub(" ", text))
    if "<" in text:
        text = _TAG.sub(" ", text)
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if not text.isprintable():
        text = _CONTROL.sub(" ", text)
    return " ".join(text.split())


def hides_characters(text: str) -> bool:
    """Whether a text holds direction overrides or zero-width characters."""
    return not text.isascii() and _HIDDEN.search(text) is not None


def mixes_look_alikes(text: str) -> bool:
    """Whether a Cyrillic or Greek letter stands beside a Latin one that it could be taken for."""
    return not text.isascii() and _PRETENDING.search(text) is not None
