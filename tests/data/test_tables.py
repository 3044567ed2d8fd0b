"""Tables as people have them: what is read, and what is refused with the line and the remedy."""

import csv
import gzip
import io
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import xlsxwriter
from tables import FRENCH, HEADER, RUSSIAN, by_openpyxl, delimited, packed, rows_of

from components.core.errors import InputError
from components.data.codes import clean_code, clean_id, defused, revived
from components.data.tables.read import read_table
from components.data.tables.table import Table


def read(tmp_path: Path, data: bytes | str, **options) -> Table:
    path = tmp_path / "table"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_table(path, **options)


def values(table: Table) -> list[list[str]]:
    return [[row.values[name] for name in HEADER] for row in table.rows]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("delimiter", ["\t", ",", ";", "|"])
def test_unicode_is_read_in_each_of_its_encodings(tmp_path: Path, encoding: str, delimiter: str):
    rows = rows_of([*FRENCH, *RUSSIAN, "日本語 🧸"])
    assert values(read(tmp_path, delimited(rows, delimiter).encode(encoding))) == rows


@pytest.mark.parametrize(
    ("names", "encoding"),
    [(FRENCH, "cp1252"), (FRENCH, "mac_roman"), (RUSSIAN, "cp1251"), (RUSSIAN, "koi8_r"), (RUSSIAN, "cp866")],
)
def test_an_older_export_is_read_by_its_language_and_the_decision_is_shown(
    tmp_path: Path, names: list[str], encoding: str
):
    rows = rows_of(names)
    table = read(tmp_path, delimited(rows, ";").encode(encoding))
    assert values(table) == rows
    assert table.form == (
        f"{encoding} text, delimited by semicolons, quotes are text "
        "(the encoding by its letters, the quotes by the whole file)"
    )


def test_an_encoding_that_only_a_guess_decides_is_refused_with_both_readings(tmp_path: Path):
    data = delimited([["1", "Mère", "", "", "a"], ["2", "Table", "", "", "b"]]).encode("cp1252")
    with pytest.raises(InputError, match=r"only a guess would decide:\n  cp125.: 'M.re'\n .*\n.*encoding="):
        read(tmp_path, data)
    assert read(tmp_path, data, encoding="cp1252").rows[0].values["name"] == "Mère"


@pytest.mark.parametrize("odd", ["décor 20€", "d’été"])
def test_a_few_words_of_windows_suffice_where_the_other_reading_is_no_text(tmp_path: Path, odd: str):
    rows = rows_of(["Lamp", odd, "Table"])
    table = read(tmp_path, delimited(rows, ";").encode("cp1252"))
    assert values(table) == rows


@pytest.mark.parametrize("encoding", ["latin1", "iso-8859-1", "iso8859_15"])
def test_an_encoding_that_would_turn_signs_into_control_characters_is_refused_with_the_line(
    tmp_path: Path, encoding: str
):
    data = delimited(rows_of(["Lampe", "Œuvre", "Table"]), ";").encode("cp1252")
    with pytest.raises(InputError, match=rf"line 3: not {encoding}: .* control character '\\x8c'.*cp1252"):
        read(tmp_path, data, encoding=encoding)


@pytest.mark.parametrize("encoding", ["iso2022_jp", "utf-7"])
def test_an_encoding_of_ascii_bytes_is_read_where_it_is_named(tmp_path: Path, encoding: str):
    rows = rows_of(["ベッド", "本", "食品"])
    assert values(read(tmp_path, delimited(rows, ";").encode(encoding), encoding=encoding)) == rows


def test_two_encodings_in_one_file_are_refused_with_the_line(tmp_path: Path):
    lines = [
        line.encode("utf-8" if i % 2 else "cp1252")
        for i, line in enumerate(delimited(rows_of(FRENCH)).split("\n"))
    ]
    with pytest.raises(InputError, match=r"line 3: this line is not UTF-8, others are"):
        read(tmp_path, b"\n".join(lines))


def test_a_replacement_character_of_the_file_itself_stays(tmp_path: Path):
    assert read(tmp_path, "sku,name\n1,a\ufffdb\n").rows[0].values["name"] == "a\ufffdb"


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("delimiter", ["\t", ";"])
def test_quoted_fields_are_read_as_pandas_and_excel_write_them(tmp_path: Path, delimiter: str, quoting: int):
    rows = rows_of(FRENCH)
    rows[3][1] = 'Sofa bed 2" "comfy"'
    rows[4][2] = f"line one\nline two{delimiter}with more"
    table = read(tmp_path, delimited(rows, delimiter, quoting=quoting))
    assert values(table) == rows
    assert "quotes enclose fields" in table.form


def test_quotes_of_a_file_without_quoting_are_text(tmp_path: Path):
    rows = rows_of(FRENCH)
    rows[3][1], rows[7][1], rows[9][1] = '"Vintage lamp', 'Screen 24"', '"Sofa"'
    table = read(tmp_path, "\n".join("\t".join(row) for row in [HEADER, *rows]))
    assert values(table) == rows
    assert "quotes are text" in table.form


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_quote_that_swallows_records_is_refused_with_its_line_or_read_as_text(
    tmp_path: Path, delimiter: str
):
    rows = [[value.replace(",", "") for value in row] for row in rows_of(FRENCH)]
    rows[4][1], rows[9][1] = '"Vintage lamp', 'Screen 24"'
    text = "\n".join(delimiter.join(row) for row in [HEADER, *rows])
    with pytest.raises(
        InputError, match=r"line 6: a quote opens here and the field .* whole records.*quotes=none"
    ):
        read(tmp_path, text)
    assert values(read(tmp_path, text, quotes="none")) == rows


def test_a_stray_quote_among_quoted_fields_is_refused_with_its_line(tmp_path: Path):
    lines = delimited(rows_of(FRENCH)).split("\n")
    lines[6] = lines[6].replace(",", ',"', 1)
    with pytest.raises(InputError, match=r"line 7: a quote opens here and it is not closed"):
        read(tmp_path, "\n".join(lines))


def test_descriptions_of_several_lines_with_commas_are_no_swallowed_records(tmp_path: Path):
    rows = rows_of(FRENCH)
    for i, row in enumerate(rows):
        row[2] = "oak, beech\nash, elm, pine, fir\nand, more" if i % 2 else "one, two\nthree, four"
    assert values(read(tmp_path, delimited(rows))) == rows


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("sku;name;text", " sku; name ;text "),
        lambda text: "\n".join(f"{line};;" for line in text.splitlines()),
        lambda text: "\n".join(
            f"{'price;price' if i == 0 else '1;2'};{line}" for i, line in enumerate(text.splitlines())
        ),
        lambda text: text + ";;;;\n" * 30 + "\n\n",
        lambda text: f"sep=;\n{text}",
        lambda text: f"{text}\x1a",
        lambda text: f"\n\n{text}",
        lambda text: text.replace("\n", "\r"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("picture", "picture (a,b,c,d,e,f,g)").replace(
            "picture (a,b,c,d,e,f,g)", "picture", 1
        ),
    ],
)
def test_habits_of_exports_change_nothing(tmp_path: Path, change: Callable[[str], str]):
    rows = rows_of(FRENCH)
    assert values(read(tmp_path, change(delimited(rows, ";")))) == rows


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_files_put_one_behind_the_other_have_one_header_and_no_product_of_it(tmp_path: Path, mark: str):
    rows = rows_of(FRENCH)
    text = delimited(rows, ";")
    table = read(tmp_path, f"{mark}{text}{mark}{delimited(rows[:2], ';')}")
    assert values(table) == [*rows, *rows[:2]]
    [finding] = table.findings
    assert (finding.line, finding.reason, finding.action) == (len(rows) + 2, "header_again", "ignored")


def test_the_delimiter_is_the_one_of_the_rows_not_of_the_headers_commas(tmp_path: Path):
    header = [*HEADER[:2], "text (fr,de,en,it,es,pt,nl)", *HEADER[3:]]
    table = read(tmp_path, delimited(rows_of(FRENCH), ";", header))
    assert table.header == header


def test_a_column_that_is_read_and_there_twice_is_refused(tmp_path: Path):
    table = read(tmp_path, "sku,name,name\n1,a,b\n")
    with pytest.raises(InputError, match="column 'name' is to be read, and there are 2"):
        table.missing(["name"])
    assert table.missing(["sku", "x"]) == ["x"]


def test_a_formula_without_its_result_is_left_out_with_its_row(tmp_path: Path):
    rows = [["1", "=A1", "", "", "a"], ["2", "b", "", "", "a"], ["=A1", "=A2", "", "", ""]]
    table = read(tmp_path, by_openpyxl([HEADER, *rows]))
    found = [(finding.line, finding.reason) for finding in table.findings]
    assert found == [(2, "no_result"), (4, "no_result")]
    assert values(table) == [["2", "b", "", "", "a"]]


def test_a_formula_with_its_result_is_read_beside_an_empty_cell(tmp_path: Path):
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, {"in_memory": True}) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, HEADER)
        sheet.write_formula(0, 0, "=LOWER(B1)", value="sku")  # pyright: ignore
        sheet.write_row(1, 0, ["1", "", "", "", "a"])
        sheet.write_formula(1, 1, "=A2*5", value=5)
    table = read(tmp_path, file.getvalue())
    assert (values(table), table.findings) == ([["1", "5", "", "", "a"]], [])


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (packed(b"a,b\n", "one.csv", "two.csv"), r"a ZIP archive of 2 files \('one.csv', 'two.csv'\)"),
        (b"\xd0\xcf\x11\xe0" + bytes(600), "an Excel 97 workbook"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"<!DOCTYPE html><table><tr><td>sku</table>", "an HTML or XML document"),
        (b'[{"sku": 1}]', "a JSON document"),
        (b"SQLite format 3\0", "an SQLite database"),
        (gzip.compress(b"a,b\n1,2\n")[:-6], "not a table"),
        (packed(b"a,b\n", "a.csv")[:-30], "not a table"),
        (b"PAR1 no parquet PAR1", "not a table"),
        (b"", "empty"),
        (b"\n\n", "empty"),
    ],
    # An archive holds the time it was made at, and processes side by side must find tests of the same names.
    ids=["zip", "xls", "pdf", "html", "json", "sqlite", "cut gzip", "cut zip", "parquet", "nothing", "blank"],
)
def test_what_is_no_table_is_named(tmp_path: Path, data: bytes, what: str):
    with pytest.raises(InputError, match=what):
        read(tmp_path, data)


def test_a_pipe_and_a_folder_are_refused(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(InputError, match="expected a table"):
            read_table(path)


def test_lines_that_are_no_json_object_are_left_out_with_their_numbers(tmp_path: Path):
    table = read(tmp_path, '{"sku": 1, "tags": ["a"]}\n{"sku": 2\n{"sku": 3.0, "name": null}\n')
    assert [row.values["sku"] for row in table.rows] == ["1", "3"]
    assert [(finding.line, finding.reason) for finding in table.findings] == [(2, "bad_json")]
    with pytest.raises(InputError, match="column 'tags' holds lists"):
        table.missing(["tags"])


@pytest.mark.parametrize(
    "value", ["=Sale", "@home", "+33", "-1e5", "- Other -", "'quoted'", '"Books"', "x'y"]
)
def test_names_that_start_like_a_formula_are_written_as_they_are(value: str):
    assert defused(value) == value
    assert revived(value) == value


@pytest.mark.parametrize(
    "value", ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "=HYPERLINK(1)", "'=HYPERLINK(1)", "''=f(x)"]
)
def test_formulas_are_defused_and_read_back(value: str):
    assert defused(value) == f"'{value}"
    assert clean_code(defused(value)) == value


def test_marks_around_an_id_are_no_part_of_it():
    assert clean_id(" \ufeffA 1\u200b\n") == "A 1"
    assert clean_id("A\u200b1") == "A\u200b1"
    assert clean_id("") == ""


def test_codes_are_compared_composed_decoded_and_without_hidden_characters():
    assert clean_code(" Cafe\u0301 &amp;\n Th\u00e9\u200b ") == "Café & Thé"
    assert clean_code("R&copy") == "R&copy"


# --- tables spoiled at random ---------------------------------------------------------------------------


def spoil(random_: random.Random) -> tuple[bytes, bool, list[list[str]]]:
    """A table's bytes, whether one reading is left of it, and its rows."""
    names = random_.choice([FRENCH, RUSSIAN, ["Table", "Chair", "Lamp with shade"]])
    rows = rows_of(names, random_.randint(15, 40))
    delimiter = random_.choice("\t,;|")
    for row in rows:
        row[2] = random_.choice(
            ["", "plain text", f"with {delimiter} in it", 'a 2" screw', "two\nlines", "a, b; c"]
        )
    quoting = random_.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    text, clear = delimited(rows, delimiter, quoting=quoting), True
    fault = random_.choice(["none", "quote", "two quotes", "encoding", "line ends", "blank", "columns"])
    lines = text.split("\n")
    if "quote" in fault:
        for at in random_.sample(range(1, len(lines) - 1), 1 + (fault == "two quotes")):
            place = random_.choice(
                [place for place, sign in enumerate(lines[at]) if sign == delimiter] or [0]
            )
            lines[at] = f'{lines[at][: place + 1]}"{lines[at][place + 1 :]}'
        text, clear = "\n".join(lines), False
    if fault == "blank":
        lines.insert(random_.randint(1, len(lines) - 1), "")
        text, clear = "\n".join(lines), "two\nlines" not in text
    if fault == "columns":
        text = "\n".join([f"{lines[0]}{delimiter}", *lines[1:]])
    ends = random_.choice(["\r\n", "\r"]) if fault == "line ends" else "\n"
    encodings = ["utf-16", "utf-8-sig", {id(FRENCH): "cp1252", id(RUSSIAN): "cp1251"}.get(id(names), "ascii")]
    encoding = random_.choice(encodings) if fault == "encoding" else "utf-8"
    return text.replace("\n", ends).encode(encoding), clear, rows


def check_spoiled(tmp_path: Path, count: int) -> tuple[int, int, int]:
    random_ = random.Random(0)
    right = wrong = clear = 0
    for _ in range(count):
        data, one_reading, rows = spoil(random_)
        clear += one_reading
        try:
            table = read(tmp_path, data)
        except InputError:
            continue
        got = (
            [[" ".join(value.split()) for value in row] for row in values(table)]
            if set(HEADER) <= set(table.header)
            else []
        )
        expected = [[" ".join(value.split()) for value in row] for row in rows]
        left_out = len(rows) - len(got)
        sound = got == expected or (
            table.findings and 0 < left_out <= len(table.findings) and all(row in expected for row in got)
        )
        right += one_reading and got == expected
        wrong += not sound
    return right, clear, wrong


def test_a_spoiled_table_is_read_as_it_was_or_refused(tmp_path: Path):
    right, clear, wrong = check_spoiled(tmp_path, 200)
    assert wrong == 0
    assert right >= 0.95 * clear
