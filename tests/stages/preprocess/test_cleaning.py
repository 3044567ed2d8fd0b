"""Texts as they leave the cleaning, and what is flagged in them."""

import pytest

from components.core.project import code_revision
from components.preprocess.catalog.cleaning import clean_text, hides_characters, mixes_look_alikes


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Chaise <b>pliante</b>&nbsp;&amp; table", "Chaise pliante & table"),
        ("T-shirt L&amp;#39;Or", "T-shirt L'Or"),
        ("taille < 40 <3", "taille < 40 <3"),
        ("&lt;script&gt;alert(1)&lt;/script&gt;", "alert(1)"),
        ("e\u0301te\u0301", "été"),
        ("a\x00b\tc\r\nd", "a b c d"),
    ],
)
def test_a_text_keeps_its_words_and_nothing_else(text: str, cleaned: str):
    assert clean_text(text) == cleaned


@pytest.mark.parametrize(
    "text", ["cheap \u202egpj.exe", "zero\u200bwidth", "\ufeffmark", "\u2066isolated\u2069"]
)
def test_hidden_characters_are_noticed(text: str):
    assert hides_characters(text)
    assert not hides_characters("Chaise été 日本語 🧸")


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
