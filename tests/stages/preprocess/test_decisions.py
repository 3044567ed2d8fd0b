"""What people decide of labels: every choice is carried out, a catalog that went on wins, nothing is lost."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest
from tables import SOFFICE, saved_by_libreoffice
from tiny_catalog import Prepared, TinyCatalog, column

from components.core.errors import InputError
from components.data.codes import clean_code
from components.data.decisions import Decision, decisions_of, read_decisions
from components.data.tables.read import read_table
from components.denoise.issues import LabelIssues
from components.denoise.issues_file import WORKBOOK, issues_table, write_issues
from components.preprocess.config import PreprocessConfig
from components.reports.page import ISSUES, read_issues

HEADER = "product_id\tgiven_code\tdecision\tcode\n"


@pytest.fixture
def catalog(tmp_path: Path) -> TinyCatalog:
    return TinyCatalog(tmp_path)


def decided(catalog: TinyCatalog, text: str, **config) -> Prepared:
    path = catalog.folder / "decisions.tsv"
    path.write_text(text, encoding="utf-8")
    sources = replace(catalog.write(), corrections=str(path))
    return Prepared(catalog.folder, sources, PreprocessConfig(max_quarantined=0.2, **config))


def test_each_choice_is_carried_out_and_an_open_row_does_nothing(catalog: TinyCatalog):
    rows = ["5000\t10\tcorrect\t30", "5001\t20\tKeep\t10", "5002\t30\tdrop\t10", "5003\t10\t\t30"]
    prepared = decided(catalog, HEADER + "\n".join(rows) + "\n")
    code_of = dict(
        zip(column(prepared.products, "product_id"), column(prepared.products, "code"), strict=True)
    )
    assert [code_of.get(product) for product in ("5000", "5001", "5002", "5003")] == ["30", "20", None, "10"]
    [dropped] = prepared.findings_of("dropped_by_a_person")
    assert (dropped["product_id"], dropped["action"]) == ("5002", "quarantined")
    assert "1 labels corrected, 1 kept, 1 products dropped" in prepared.report
    assert decisions_of(prepared.products.metadata) == [
        Decision("5000", "correct", "30", "10"),
        Decision("5001", "keep", "", "20"),
        Decision("5002", "drop", "", "30"),
    ]


def test_quotes_that_are_text_in_the_catalog_still_enclose_what_the_project_wrote(catalog: TinyCatalog):
    catalog.codes[0] = catalog.codes[3] = 'TV 55"'
    prepared = decided(catalog, HEADER + '5001\t20\tcorrect\t"TV 55"""\n', quotes="none")
    assert column(prepared.products, "code").count('TV 55"') == 3


def test_products_that_people_drop_are_not_rows_that_cannot_be_used(catalog: TinyCatalog):
    rows = [f"{5000 + i}\t{catalog.codes[i]}\tdrop\t" for i in range(20)]
    assert len(decided(catalog, HEADER + "\n".join(rows) + "\n").products.table) == 40


def test_where_the_label_is_another_by_now_the_catalog_wins(catalog: TinyCatalog):
    catalog.codes[0], catalog.codes[2] = "20", "20"  # decided on 10 and 30
    rows = ["5000\t10\tcorrect\t60", "5001\t20\tkeep\t", "5002\t30\tcorrect\t20", "gone\t10\tdrop\t"]
    prepared = decided(catalog, HEADER + "\n".join(rows) + "\n")
    assert column(prepared.products, "code")[:3] == ["20", "20", "20"]
    said = {finding["product_id"]: finding["detail"] for finding in prepared.findings_of("stale_corrections")}
    assert said["5000"] == "1 correction is on another label than the catalog has by now, which it keeps"
    assert said["gone"].startswith("1 correction is of products that the products file does not have")
    # The catalog has taken over what was decided of 5002: that is no contradiction.
    assert [each.product_id for each in decisions_of(prepared.products.metadata)] == ["5001", "5002"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("5000\t10\tkeeep\t", "line 2: decision 'keeep', expected keep, correct, drop or nothing"),
        ("5000\t10\tcorrect\t", "line 2: product_id '5000' is to be corrected, and has no code"),
        ("5000\t10\tcorrect\t99", "line 2: code '99' is not in the catalog"),
        ("5000\t10\tkeep\t\n5000\t10\tdrop\t", "line 3: product_id '5000' is corrected more than once"),
    ],
)
def test_a_decision_that_cannot_be_carried_out_is_named_with_its_line(
    catalog: TinyCatalog, row: str, says: str
):
    with pytest.raises(InputError, match=says):
        decided(catalog, f"{HEADER}{row}\n")


def test_the_same_product_may_stand_twice_while_one_row_is_open(catalog: TinyCatalog):
    prepared = decided(catalog, f"{HEADER}5000\t10\t\t30\n5000\t10\tcorrect\t20\n")
    assert column(prepared.products, "code")[0] == "20"


def in_one_file(catalog: TinyCatalog) -> PreprocessConfig:
    """The products file itself has the codes; of the last twelve products it has none."""
    catalog.header = (*catalog.header, "code")  # type: ignore[assignment]
    labeled = len(catalog.rows) - 12
    catalog.rows = [
        [*row, code if number < labeled else ""]
        for number, (row, code) in enumerate(zip(catalog.rows, catalog.codes, strict=True))
    ]
    columns = "product_id=Product_id,image_id=Image_id,title=Title,code=code"
    return PreprocessConfig(columns=columns, image_name="image_{image_id}_product_{product_id}.jpg")


def test_a_new_product_that_was_decided_is_trained_on_and_never_validated_on(catalog: TinyCatalog):
    config = in_one_file(catalog)
    new = [row[4] for row in catalog.rows[-12:]]
    twin = catalog.rows[0][1]
    catalog.rows[-1][1] = twin  # a group with a labeled product goes to train as a whole
    path = catalog.folder / "decisions.tsv"
    path.write_text(HEADER + "".join(f"{product}\t\tcorrect\t10\n" for product in new[1:]), encoding="utf-8")
    sources = replace(catalog.write(), labels="", test_products="", corrections=str(path))
    prepared = Prepared(catalog.folder, sources, config)
    table = prepared.products.table.set_index("product_id")
    assert set(table.loc[new[1:], "split"]) == {"train"}
    assert set(table.loc[new[1:], "code"]) == {"10"}
    assert table.loc["5000", "split"] == "train"
    assert "validation" in set(table["split"])
    assert column(prepared.new, "product_id") == new[:1]


def test_a_new_product_that_the_products_file_lacks_waits_for_it(catalog: TinyCatalog):
    rows = ["5061\t\tcorrect\t10", "5062\t10\tcorrect\t20"]  # both are of the test file
    prepared = decided(catalog, HEADER + "\n".join(rows) + "\n")
    assert decisions_of(prepared.products.metadata) == [Decision("5061", "correct", "10", "")]
    assert "5061" in column(prepared.new, "product_id")


def test_a_new_product_is_dropped_and_has_no_label_to_keep(catalog: TinyCatalog):
    config = in_one_file(catalog)
    one, two, *_ = (row[4] for row in catalog.rows[-12:])
    path = catalog.folder / "decisions.tsv"
    path.write_text(f"{HEADER}{one}\t\tdrop\t\n{two}\t\tkeep\t\n", encoding="utf-8")
    sources = replace(catalog.write(), labels="", test_products="", corrections=str(path))
    prepared = Prepared(catalog.folder, sources, config)
    assert one not in {*column(prepared.new, "product_id"), *column(prepared.products, "product_id")}
    [finding] = prepared.findings_of("stale_corrections")
    assert finding["product_id"] == two
    assert finding["detail"].endswith("write correct, and the code")


def test_without_decisions_hashes_alone_split(catalog: TinyCatalog):
    before = column(decided(catalog, HEADER + "5001\t20\tkeep\t\n").products, "split")
    after = column(decided(catalog, HEADER + "5001\t20\t\t\n").products, "split")
    assert before == after


def flagged(prepared: Prepared) -> pd.DataFrame:
    rows = np.array([3, 4, 5])
    labels = prepared.products.labels[rows]
    issues = LabelIssues(rows, (labels + 1) % 3, np.array([0.1, 0.2, 0.3]), np.array([True, False, False]))
    return issues_table(prepared.products, issues)


def test_the_list_of_issues_is_what_corrections_take(catalog: TinyCatalog, tmp_path: Path):
    first = decided(catalog, HEADER + "5001\t20\tkeep\t\n5002\t30\tdrop\t\n")
    write_issues(flagged(first), tmp_path / "issues", decisions_of(first.products.metadata))
    assert len(read_issues(tmp_path / "issues")) == 3  # those that are open
    # A person writes one decision, into the workbook or into the text.
    text = (tmp_path / "issues" / ISSUES).read_text(encoding="utf-8").splitlines()
    assert text[0].split("\t")[-2:] == ["decision", "code"]
    cells = text[1].split("\t")
    (tmp_path / "filled.tsv").write_text(
        "\n".join([text[0], "\t".join([*cells[:-2], "correct", cells[-1]]), *text[2:]]) + "\n",
        encoding="utf-8",
    )
    book = openpyxl.load_workbook(tmp_path / "issues" / WORKBOOK)
    book.worksheets[0]["I2"] = "correct"
    book.save(tmp_path / "filled.xlsx")
    for name in ("filled.tsv", "filled.xlsx"):
        sources = replace(catalog.write(), corrections=str(tmp_path / name))
        second = Prepared(catalog.folder, sources, PreprocessConfig(max_quarantined=0.2))
        choices = {each.product_id: each.choice for each in decisions_of(second.products.metadata)}
        assert choices == {"5001": "keep", "5002": "drop", cells[0]: "correct"}


@pytest.mark.slow
@pytest.mark.skipif(SOFFICE is None, reason="LibreOffice (soffice) is not installed")
def test_codes_outlive_libreoffice(catalog: TinyCatalog, tmp_path: Path):
    catalog.codes = [{"10": "0010", "20": "1e5", "30": "=A1"}[code] for code in catalog.codes]
    table = flagged(decided(catalog, HEADER + "5001\t1e5\tkeep\t\n")).assign(decision="correct")
    write_issues(table, tmp_path / "issues")
    saved = saved_by_libreoffice(tmp_path, [tmp_path / "issues" / WORKBOOK])
    decisions = read_decisions(read_table(saved / WORKBOOK)).made
    assert [each.given for each in decisions] == table["given_code"].tolist()
    assert [each.code for each in decisions] == table["suggested_code"].tolist()
    assert {"0010", "1e5", "=A1"} == {each.code for each in decisions} | {each.given for each in decisions}


def test_equal_issues_are_equal_files_and_codes_stay_texts(catalog: TinyCatalog, tmp_path: Path):
    catalog.codes = [{"10": "0010", "20": "1e5", "30": "=A\u200c1"}[code] for code in catalog.codes]
    table = flagged(decided(catalog, HEADER + "5001\t1e5\tkeep\t\n"))
    for name in ("one", "two"):
        write_issues(table, tmp_path / name, byte_order_mark=True)
    assert [(tmp_path / "one" / file).read_bytes() for file in (ISSUES, WORKBOOK)] == [
        (tmp_path / "two" / file).read_bytes() for file in (ISSUES, WORKBOOK)
    ]
    properties = openpyxl.load_workbook(tmp_path / "one" / WORKBOOK).properties
    assert properties.created == properties.modified == datetime(2000, 1, 1)  # whenever it was written
    for file in (ISSUES, WORKBOOK):
        rows = read_table(tmp_path / "one" / file)
        assert not rows.numeric
        assert [clean_code(row.values["given_code"]) for row in rows.rows] == table["given_code"].tolist()
        assert not read_decisions(rows).made
    assert read_issues(tmp_path / "one")["given_code"].tolist() == table["given_code"].tolist()
