"""Texts as they leave the cleaning, and what is flagged in them."""

import time

import numpy as np
import pytest

from components.core.project import code_revision
from components.data.tables.findings import Finding
from components.preprocess.catalog.cleaning import clean_text, hides_characters, mixes_look_alikes
from components.preprocess.catalog.records import Record
from components.preprocess.catalog.texts import OddTexts, text_findings, text_hash


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Chaise <b>pliante</b>&nbsp;&amp; table", "Chaise pliante & table"),
        ("T-shirt L&amp;#39;Or", "T-shirt L'Or"),
        ("taille < 40 <3", "taille < 40 <3"),
        ("&lt;script&gt;alert(1)&lt;/script&gt;", "alert(1)"),
        ("e\u0301te\u0301", "été"),
        ("a\x00b\tc\r\nd", "a b c d"),
        ("<Nintendo> Switch", "<Nintendo> Switch"),
        ("<Map of France>, <Table lamp>", "<Map of France>, <Table lamp>"),
        ("Lit <em>90</EM> <br/>cm<td nowrap>sapin<o:p></o:p>", "Lit 90 cm sapin"),
        ('<img alt="a > b" src=x>bois', "bois"),
        ("<p title=l'eau>bois</p> it's", "bois it's"),
        ("<style type='text/css'>p{color:red}</style>bois<SCRIPT>alert('<b>')</script >", "bois"),
        ("<script>alert(1) and no end", "alert(1) and no end"),
        ("bois<!--[if mso]><xml>x</xml><![endif]--> massif", "bois massif"),
        ("<!DOCTYPE html><?xml version='1.0'?><![CDATA[bois <b>massif</b>]]>", "bois massif"),
        ("Kühl\u00adschrank Kühl&shy;schrank Kühl<wbr>schrank", "Kühlschrank Kühlschrank Kühlschrank"),
        ("zero\u200bwidth \ufeffChair \u202egpj", "zerowidth Chair gpj"),
        ("ze\u200dro", "zero"),
        ("👩‍👩‍👧‍👦 ❤️‍🔥 کتاب\u200cها क्‍ष", "👩‍👩‍👧‍👦 ❤️‍🔥 کتاب\u200cها क्‍ष"),
        (
            "rock&roll R&D black&regular &eacute;t&eacute ?a=1&copy=2",
            "rock&roll R&D black&regular été ?a=1&copy=2",
        ),
        ("a&#0;b&#xD800;c&#99999999;d&#128;", "a b c d€"),
        (f"a&#{'1' * 5000};b", "a b"),
        ("q" + "\u0323\u0307" * 3, "q" + "\u0323" * 3 + "\u0307" * 3),
    ],
)
def test_a_text_keeps_its_words_and_nothing_else(text: str, cleaned: str):
    assert clean_text(text) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "cheap \u202egpj.exe",
        "zero\u200bwidth",
        "\ufeffmark",
        "\u2066isolated\u2069",
        "ze\u200dro",
        "&#8238;gpj",
    ],
)
def test_hidden_characters_are_noticed(text: str):
    assert hides_characters(text)
    assert not hides_characters(clean_text(text))


@pytest.mark.parametrize(
    "text", ["Chaise été 日本語 🧸", "👩‍👩‍👧‍👦", "❤️‍🔥", "کتاب\u200cها", "Kühl\u00adschrank"]
)
def test_joiners_that_a_script_or_an_emoji_needs_hide_nothing(text: str):
    assert not hides_characters(text)


@pytest.mark.parametrize(
    "repeated",
    ["\u0301\u0323", "<p ", '<p "', "<p a='", "<!--", "<script>", "&#1", "&lt;", "= ", "\u200d"],
)
def test_the_time_grows_with_the_length_of_a_text_alone(repeated: str):
    def seconds(length: int) -> float:
        text = "<a " + repeated * (length // len(repeated))
        start = time.process_time()
        clean_text(text)
        hides_characters(text)
        return time.process_time() - start

    seconds(1000)
    assert seconds(160_000) < 10 * max(seconds(40_000), 0.02)


def test_marks_beyond_thirty_on_one_letter_go():
    assert clean_text("Z" + "\u0301" * 80_000 + "a") == "\u0179" + "\u0301" * 29 + "a"


@pytest.mark.parametrize("text", ["\u0410pple", "iPh\u043ene", "R\u03bflex"])
def test_letters_of_another_alphabet_inside_a_latin_word_are_noticed(text: str):
    assert mixes_look_alikes(text)


@pytest.mark.parametrize("text", ["Apple", "Яблоко", "résistance 10 kΩ", "Кофе Nescafé", "5 µm", "α-lipoic"])
def test_other_alphabets_and_units_are_no_disguise(text: str):
    assert not mixes_look_alikes(text)


@pytest.mark.parametrize("digits", [8, 4_301, 100_000])
def test_a_number_of_no_character_is_left_out_however_long(digits: int):
    assert clean_text(f"Robe &#{'9' * digits}; rouge &#{'0' * digits}") == "Robe rouge"


def test_the_codes_revision_is_a_commit_or_nothing():
    revision = code_revision()
    assert revision == "" or len(revision.removesuffix("-dirty")) >= 7


@pytest.mark.parametrize(
    ("title", "read_as"),
    [
        *(("Crème brûlée", "cp1252"), ("Crème brûlée", "latin-1"), ("Table – 2 pièces", "cp1252")),
        *(("Übertöpfe für Müller", "latin-1"), ("Мыло ручной работы", "cp1251"), ("Соль морская", "cp1251")),
    ],
)
def test_texts_that_were_decoded_wrongly_before_are_found(title: str, read_as: str):
    wrong = clean_text(title.encode().decode(read_as))
    [finding] = found_in([product("Chaise"), product(wrong)])
    assert finding.reason == "mojibake"
    assert "1 products have texts that were UTF-8" in finding.detail


@pytest.mark.parametrize(
    "title",
    [
        *("Crème brûlée", "РСФСР СССР Русский стиль", "Мыло", "Ñandú «Ñuñoa» 5 €", "日本語 🧸"),
        *("Âge d'or – été", "РЎ", "СЃ", "Срђан Ђорђевић"),
    ],
)
def test_texts_in_any_language_are_no_wrongly_decoded_ones(title: str):
    assert found_in([product(title)]) == []


def test_one_description_on_many_products_is_named():
    records = [product("Chaise", "No description available") for _ in range(25)]
    records += [product("Table", f"Bois {at}") for at in range(40)]
    [finding] = found_in(records)
    assert finding.reason == "placeholder_description"
    assert "25 of 65 products have one description" in finding.detail


def found_in(records: list[Record]) -> list[Finding]:
    odd = OddTexts()
    for record in records:
        odd.add(record)
    descriptions = np.array([text_hash(record.description) for record in records], np.uint64)
    return text_findings(odd, descriptions, "X.tsv", lambda row: records[row].description)


def product(title: str, description: str = "") -> Record:
    return Record("X.tsv", 2, "1", "1", title, description, "", "")
