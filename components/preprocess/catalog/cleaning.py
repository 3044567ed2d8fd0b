"""Text cleaning: white space, HTML tags and entities (paper, section 3.1.1)."""

import html
import re
import sys
import unicodedata
from html.entities import html5

# The elements of HTML and the drawing ones of SVG: "<Nintendo> Switch", "taille < 40" and "<3" are text.
ELEMENTS = (
    "a abbr acronym address applet area article aside audio b base basefont bdi bdo big blink "
    "blockquote body br button canvas caption center circle cite code col colgroup data datalist dd "
    "defs del details dfn dialog dir div dl dt em embed fieldset figcaption figure font footer "
    "foreignobject form frame frameset g h1 h2 h3 h4 h5 h6 head header hgroup hr html i iframe image "
    "img input ins kbd label legend li line link main map mark marquee math menu meta meter nav nobr "
    "noscript object ol optgroup option output p param path picture polygon pre progress q rect rp "
    "rt ruby s samp script section select slot small source span strike strong style sub summary sup "
    "svg symbol table tbody td template text textarea tfoot th thead time title tr track tt u ul use "
    "var video wbr xml"
)
_TAG = re.compile(
    r"""</?+([a-zA-Z][a-zA-Z0-9:]*+)(?:>|(?=[\s/])((?:[^<>"']|"[^"<]*"|'[^'<]*')*+|[^<>]*)>)"""
    r"""|<!(?:doctype|DOCTYPE|\[)[^<>]*>|<\?[a-z][^<>]*>"""
)
_OFFICE = ("o:", "v:", "w:", "m:", "st1:")  # namespaces in what is pasted from a word processor
# Attributes that need no value: what else stands behind an element's name without one is text.
FLAGS = (
    "allowfullscreen async autofocus autoplay checked compact controls default defer disabled hidden "
    "ismap itemscope loop multiple muted nohref noshade novalidate nowrap open playsinline readonly "
    "required reversed selected"
)
_KNOWN, _VALUELESS = frozenset(ELEMENTS.split()), frozenset(FLAGS.split())
_COMMENT = (re.compile("<!--"), re.compile("-->"))
_CODE = tuple(
    (re.compile(rf"<{name}(?=[\s/>])[^<>]*>", re.IGNORECASE), re.compile(rf"</{name}\s*>", re.IGNORECASE))
    for name in ("script", "style")
)
_ENTITY = re.compile(r"&(?:#([0-9]+)|#[xX]([0-9a-fA-F]+)|([a-zA-Z][a-zA-Z0-9]{1,30}))(;|(?!=))")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# Joiners stay where a script or an emoji needs them; a soft hyphen is only a place to break a word.
_HIDDEN = re.compile(
    "[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u180e\ufeff\ufff9-\ufffb]"
    "|(?<![^\x00-\u024f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\u024f])"
)
_PILE = re.compile(r"[^\w\s\x00-\x7f]{31,}")
LONGEST_NUMBER = 10  # digits of an entity
MARKS = 30  # combining marks on one letter, at most: composing a pile of n takes n² steps (Unicode, UAX 15)
# Cyrillic and Greek letters that look like Latin ones; beside a Latin letter they pretend to be one.
_LOOK_ALIKES = "АВЕЅІЈКМНОРСТУХаеіјорсухѕԁΑΒΕΖΗΙΚΜΝΟΡΤΥΧο"
_LATIN = str.maketrans(_LOOK_ALIKES, "ABESIJKMHOPCTYXaeijopcyxsdABEZHIKMNOPTYXo")
_PRETENDING = re.compile(f"[A-Za-z][{_LOOK_ALIKES}]|[{_LOOK_ALIKES}][A-Za-z]")


def clean_text(text: str) -> str:
    """Removes HTML tags, decodes entities, drops control and hidden characters, folds white space; NFC.

    The authors' expression dropped entities; one that stands for a character is decoded here, as it
    carries meaning ("T-shirt L&#39;Or"). Tags become a space, so that words on both sides stay two; what
    stands in a script or a style goes, unless it is escaped, and so was meant to be seen.
    """
    if "<" in text:
        for opening, closing in _CODE:
            text = _without(text, opening, closing)
    # Entities are escaped twice in some catalogs ("&amp;#39;"), and may spell a tag ("&lt;br&gt;").
    for _ in range(2):
        text = _without_tags(text)
        if "&" not in text:
            break
        text = _ENTITY.sub(_character, text)
    text = _without_tags(text)
    if not text.isascii():
        text = _HIDDEN.sub("", text.replace("\u00ad", ""))
        text = unicodedata.normalize("NFC", _PILE.sub(_thinned, text))
    if not text.isprintable():
        text = _CONTROL.sub(" ", text)
    return " ".join(text.split())


def _without(text: str, opening: re.Pattern[str], closing: re.Pattern[str]) -> str:
    pieces, at = [], 0
    while (start := opening.search(text, at)) and (end := closing.search(text, start.end())):
        pieces.append(text[at : start.start()])
        at = end.end()
    return " ".join([*pieces, text[at:]])


def _without_tags(text: str) -> str:
    if "<" not in text:
        return text
    if "<!" in text:
        text = _without(text.replace("<![CDATA[", " ").replace("]]>", " "), *_COMMENT)
    return _TAG.sub(_space, text)


def _space(tag: re.Match[str]) -> str:
    name, attributes = tag.groups("")
    name, attributes = name.lower(), attributes.lower()
    if name and name not in _KNOWN and not name.startswith(_OFFICE):
        return tag[0]
    if attributes and "=" not in attributes and not _VALUELESS.issuperset(attributes.strip("/ ").split()):
        return tag[0]  # "<Map of France>"
    return "" if name == "wbr" else " "  # where a word may be broken, as a soft hyphen


def _character(entity: re.Match[str]) -> str:
    """What an entity stands for; itself where nothing has its name, as in "rock&roll"."""
    decimal, hexadecimal, name, end = entity.groups()
    if name:
        return html5.get(name + end, entity[0])
    digits, base = (decimal, 10) if decimal else (hexadecimal, 16)
    number = int(digits, base) if len(digits) <= LONGEST_NUMBER else 0
    is_character = 0 < number <= sys.maxunicode and not 0xD800 <= number <= 0xDFFF
    return html.unescape(f"&#{number};") if is_character else " "


def _thinned(match: re.Match[str]) -> str:
    kept, marks = [], 0
    for character in match[0]:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks <= MARKS:
            kept.append(character)
    return "".join(kept)


def hides_characters(text: str) -> bool:
    """Whether a text holds direction overrides or zero-width characters, which `clean_text` drops."""
    if "&" in text:
        text = _ENTITY.sub(_character, text)
    return not text.isascii() and _HIDDEN.search(text) is not None


def mixes_look_alikes(text: str) -> bool:
    """Whether a Cyrillic or Greek letter stands beside a Latin one that it could be taken for."""
    return not text.isascii() and _PRETENDING.search(text) is not None


def as_latin(text: str) -> str:
    """A text in which Cyrillic and Greek letters are the Latin ones that they look like."""
    return text.translate(_LATIN)
