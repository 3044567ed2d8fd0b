"""Which older code page a text file is in, by its words.

How often a language uses its letters decides (a naive Bayes over them), and how messy charset-normalizer
finds the reading; alone that takes French in cp1252 for cp1250. Where the odds are low the file is refused,
with a sample of each reading.
"""

import math
import re
import unicodedata
from collections import Counter
from functools import cache

from charset_normalizer import from_bytes

from components.core.errors import InputError
from components.data.tables.findings import shown

# In the order in which one is named where several read the file alike.
CODE_PAGES = (
    *(
        "cp1252",
        "cp1251",
        "cp1250",
        "cp1253",
        "cp1254",
        "cp1257",
        "cp1255",
        "cp1256",
        "iso8859_2",
        "iso8859_15",
    ),
    *("koi8_r", "cp866", "cp850", "cp852", "mac_roman", "cp874", "cp932", "euc_jp", "gb18030"),
    *("big5", "cp949"),
)
SAMPLE = 2**15  # bytes of distinct words that tell an older encoding
ODDS = 7.0  # logarithm of the odds (1,100 to 1) from which on a reading is taken
RARE = math.log(1e-4)  # of a letter that the language does not use, or of a sign where none belongs
SIGN = math.log(1 / 50)
OTHER = math.log(1 / 500)  # of a letter in a script that is not listed
MESS = 5.0  # what charset-normalizer's measure of mess (0 to 1) costs a letter
ODD_SHARE = 0.1  # of its letters that may be oddities, or the reading is no text
UNLIKELY = 0.3  # that measure for a reading which charset-normalizer drops
SIGNS = "’‘“”„«»–—…€£°²³®™©·•№¿¡§\xa0"
BESIDE_NUMBERS = "¼½¾×÷±µ"
# What ISO 8859 has where Windows has signs: no text holds them, and "iso-8859-1" mostly means cp1252.
CONTROLS = re.compile("[\x80-\x9f]")

# The letters beyond a-z of some languages, by how often they stand in a text.
ALPHABETS = (
    *("éèàêçôîûâùïëœ", "üäöß", "óíáéñúü", "ãçáéíóõêâúà", "àèùìòé", "åäö", "øæåé", "ëéïöüèê", "áðíéöþúýóæ"),
    *("íáěéžčšřýůúťďňó", "áíéýčšžúťôľäďňó", "ąłęóżśćńź", "áéöőóüűíú", "ăîțșâţş", "čšžćđ", "ıüşçöğİâ"),
    *("ėšžąųįčęū", "āīēšņģļžčūķ", "äõüöšž", "àèóíéçòúïü"),
    *(
        "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё",
        "оаинітевркслудпмязьбгчхйжїєюцшщґ",
        "аиоетнрсвлкдпмзгябучцжщшхйюъфь",
    ),
    *("αοιετσνηυρπκμλςάίόέθγδήωχβύφξώζψϊΐ", "יוהלאתרבםמנשדחקעספצגטזכןךףץ"),
    "ايلمونترةبسعدفهكحجقشصطخزضذثغظأإىئءؤ",
)


def older_codec(data: bytes, lines: list[bytes], where: str) -> str:
    """The code page of a file, which the language of its words tells.

    Args:
        lines: those that are not ASCII.

    Raises:
        InputError: none is recognized, or two are as likely.
    """
    size = sum(map(len, lines)) + len(lines)
    sample = b"\n".join(lines[:: max(1, math.ceil(size / SAMPLE))])
    scored = [(score, name, text) for score, name, text in _scored(sample) if reads(data, name)]
    if not scored:
        raise InputError(
            f"{where}: not a text file, or in an encoding that is not recognized. Write it in UTF-8, or set "
            "the encoding option, as in encoding=cp1252."
        )
    (best, *taken), *others = scored
    rival = next((other for score, *other in others if best - score < ODDS), None)
    if rival:
        _refuse_guess(taken, rival, where)
    return taken[0]


def _scored(sample: bytes) -> list[tuple[float, str, str]]:
    """For each encoding that reads the sample: log-likelihood, its name, the words; the likeliest first."""
    matches = from_bytes(sample, cp_isolation=list(CODE_PAGES), threshold=0.5, language_threshold=0.0)
    mess = {name: match.chaos for match in matches for name in match.could_be_from_charset}
    readings: dict[str, str] = {}
    for name in CODE_PAGES:
        if reads(sample, name):
            words = re.findall(r"[^\s,;|\"]*[^\x00-\x7f][^\s,;|\"]*", sample.decode(name))
            readings.setdefault("\n".join(dict.fromkeys(words)), name)
    scored = []
    for text, name in readings.items():
        score, odd, letters = likelihood(text)
        if odd <= 1 + ODD_SHARE * letters:
            scored.append((score - MESS * letters * mess.get(name, UNLIKELY), name, text))
    return sorted(scored, key=lambda each: -each[0])


def reads(data: bytes, encoding: str) -> bool:
    """Whether the bytes are a text in an encoding."""
    try:
        text = data.decode(encoding)
    except UnicodeError:
        return False
    return encoding == "utf-8" or not CONTROLS.search(text)


def likelihood(text: str) -> tuple[float, int, int]:
    """Logarithm of a reading's likelihood in the language that suits it best; its oddities; its letters."""
    letters, odd, signs = Counter[str](), 0, 0
    for match in re.finditer(r"[^\x00-\x7f]", text):
        before, letter, after = (
            text[match.start() - 1 : match.start()],
            match[0],
            text[match.end() : match.end() + 1],
        )
        if _odd(before, letter, after):
            odd += 1
        elif letter in SIGNS + BESIDE_NUMBERS:
            signs += 1
        else:
            letters[letter if letter == "İ" else letter.lower()] += 1
    best = max(_of_language(letters, alphabet) for alphabet in ALPHABETS)
    return odd * RARE + signs * SIGN + best, odd, letters.total()


def _odd(before: str, letter: str, after: str) -> bool:
    """Whether no language writes this: a symbol or a capital inside a word, two alphabets in one word."""
    if letter in SIGNS:
        return False
    if letter in BESIDE_NUMBERS:
        return before.isalpha() or after.isalpha()
    if not letter.isalpha() and unicodedata.category(letter)[0] != "M":
        return True
    if before.isdigit() or (letter.isupper() and before.islower()):
        return True
    latin = letter < "\u0250"
    return not latin and any(beside.isascii() and beside.isalpha() for beside in (before, after))


def _of_language(letters: Counter[str], alphabet: str) -> float:
    known = _logarithms(alphabet)
    return sum(
        count * known.get(letter, OTHER if letter > "\u06ff" else RARE) for letter, count in letters.items()
    )


@cache
def _logarithms(alphabet: str) -> dict[str, float]:
    weights = {letter: 1 / (rank + 1.5) for rank, letter in enumerate(alphabet)}
    total = sum(weights.values())
    return {letter: math.log(weight / total) for letter, weight in weights.items()}


def _refuse_guess(taken: list[str], rival: list[str], where: str) -> None:
    pairs = list(zip(taken[1].split("\n"), rival[1].split("\n"), strict=False))
    differing = [pair for pair in pairs if pair[0] != pair[1]][:3] or pairs[:3]
    samples = [
        f"{name}: {', '.join(shown(word, 30) for word in words)}"
        for name, words in zip((taken[0], rival[0]), zip(*differing, strict=True), strict=True)
    ]
    raise InputError(
        f"{where}: not UTF-8, and it reads in two encodings; only a guess would decide:\n  "
        + "\n  ".join(samples)
        + f"\nSet the encoding option to the right one, as in encoding={taken[0]}, or write it in UTF-8."
    )
