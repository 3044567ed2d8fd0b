"""The file of class names: flat, with paths, and with parents by code."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_catalog import Prepared, TinyCatalog

from components.core.errors import InputError
from components.data.class_tree import PATHS, tree_of
from components.preprocess.catalog.class_file import read_classes
from components.preprocess.config import PreprocessConfig

TABLE = "code\tname\tparent\n"


def read(
    folder: Path, text: str, name: str = "classes.tsv", **config: str
) -> tuple[dict[str, str], dict[str, list[str]]]:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_classes(path, PreprocessConfig.model_validate(config))


def refusal(folder: Path, text: str, **config: str) -> str:
    with pytest.raises(InputError) as caught:
        read(folder, text, **config)
    return str(caught.value).removeprefix(f"{folder}/")


def test_a_name_holds_its_parents(tmp_path: Path) -> None:
    text = json.dumps({"0010": "Shoes > Boots", " 20 ": "Shoes", "30": "R&amp;B > CDs", "40": 7})
    names, paths = read(tmp_path, text, "classes.json")
    assert names == {"0010": "Shoes > Boots", "20": "Shoes", "30": "R&B > CDs", "40": "7"}
    assert paths == {"0010": ["Shoes", "Boots"], "30": ["R&B", "CDs"]}


def test_another_separator_and_none(tmp_path: Path) -> None:
    text = '{"10": "Ties / Formal", "20": "Up > down"}'
    names, paths = read(tmp_path, text, "names", class_separator=" / ")
    assert names == {"10": "Ties / Formal", "20": "Up > down"}
    assert paths == {"10": ["Ties", "Formal"]}
    assert read(tmp_path, text, "names", class_separator="")[1] == {}


def test_a_table_names_parents_by_code_whatever_their_order(tmp_path: Path) -> None:
    text = TABLE + "0010\tBoots\t2\n2\tShoes\t\n3\tBoots\t4\n4\tToys\t\n"
    names, paths = read(tmp_path, text)
    assert paths == {"0010": ["Shoes", "Boots"], "3": ["Toys", "Boots"]}
    assert names == {"0010": "Shoes > Boots", "2": "Shoes", "3": "Toys > Boots", "4": "Toys"}


def test_a_table_names_parents_by_name_in_columns_of_its_own(tmp_path: Path) -> None:
    text = "id,label,below\n007,Cat Litter,Animals & Pet Supplies > Pet Supplies\n8,Books,\n"
    given = {"class_columns": "code=id,name=label,parent=below"}
    names, paths = read(tmp_path, text, "classes.csv", **given)
    assert paths == {"007": ["Animals & Pet Supplies", "Pet Supplies", "Cat Litter"]}
    assert names["8"] == "Books"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.json", '{"1": {"name": "Boots", "parent": "2"}, "2": {"name": "Shoes"}}'),
        ("classes.jsonl", '{"code": "1", "name": "Boots", "parent": "2"}\n{"code": "2", "name": "Shoes"}\n'),
        ("classes.jsonl", '{"code": "1", "name": "Shoes > Boots"}\n{"code": "2", "name": "Shoes"}\n'),
    ],
    ids=["json", "lines", "paths in lines"],
)
def test_json_has_the_same_parents(tmp_path: Path, name: str, text: str) -> None:
    assert read(tmp_path, text, name) == ({"1": "Shoes > Boots", "2": "Shoes"}, {"1": ["Shoes", "Boots"]})


def test_what_contradicts_itself_is_refused_by_its_rows(tmp_path: Path) -> None:
    found = refusal(tmp_path, TABLE + "1\tBoots\tShoes\n2\tTies\t\n1\tBoots\tToys\n")
    assert found == (
        "classes.tsv: code '1' has two names: 'Shoes > Boots' (line 2), 'Toys > Boots' (line 4); give it one"
    )
    found = refusal(tmp_path, TABLE + "9\tTop\t\n1\tA\t2\n2\tB\t3\n3\tC\t2\n")
    assert found.startswith("classes.tsv: a class stands below itself: '1' (line 3) below '2' (line 4) below")
    assert "parent '12' is no code" in refusal(tmp_path, TABLE + "1\tA\t2\n2\tB\t12\n")
    assert "parent '2.0' is no code" in refusal(tmp_path, TABLE + "1\tA\t2.0\n2\tB\t\n")
    assert "line 3: 'code' is empty" in refusal(tmp_path, TABLE + "1\tA\t\n\tB\t\n")
    assert "column 'name' missing" in refusal(tmp_path, "code\tparent\n1\tA\n")
    found = refusal(tmp_path, "code\tname\n1\tA\n", class_columns="code=code,name=name,parent=above")
    assert "column 'above' missing" in found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"1": "Boots", "1": "Ties"}', "the key '1' occurs twice"),
        ('{"1": ["Shoes", "Boots"]}', "code '1': \"['Shoes', 'Boots']\": expected a text"),
        ('{"1": {"name": "Boots", "parent": {"name": "Shoes"}}}', "expected a text"),
    ],
)
def test_json_that_is_no_name_is_refused_with_its_code(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        read(tmp_path, text, "classes.json")
    assert read(tmp_path, '{"1": null, "2": "Ties"}', "classes.json")[0] == {"1": "", "2": "Ties"}


def test_quotes_that_are_text_in_the_catalog_still_enclose_names(tmp_path: Path) -> None:
    text = 'code,name\n1,"Shoes, 10"""\n2,Ties\n'
    assert read(tmp_path, text, "classes.csv", quotes="none")[0] == {"1": 'Shoes, 10"', "2": "Ties"}


def test_quotes_help_with_names_that_cannot_be_read_without(tmp_path: Path) -> None:
    text = 'code;name;parent\n1;"Classic" collection;Top\n2;"Kids ""A""";Top\n'
    assert "quotes=none" in refusal(tmp_path, text)
    assert read(tmp_path, text, quotes="none")[0]["1"] == 'Top > "Classic" collection'


def test_a_header_again_is_no_class(tmp_path: Path) -> None:
    text = "code,name\n1,Boots\ncode,name\n3,Ties\n"
    assert read(tmp_path, text, "classes.csv")[0] == {"1": "Boots", "3": "Ties"}


def test_a_parent_may_be_the_number_0(tmp_path: Path) -> None:
    text = '{"0": "All", "1": {"name": "Books", "parent": 0}}'
    assert read(tmp_path, text, "classes.json")[1] == {"1": ["All", "Books"]}


def test_the_same_row_twice_is_one_class(tmp_path: Path) -> None:
    assert read(tmp_path, TABLE + "1\tBoots\tShoes\n1\tBoots\tShoes\n")[0] == {"1": "Shoes > Boots"}


def test_a_catalog_carries_the_tree_where_one_of_its_classes_has_a_parent(tmp_path: Path) -> None:
    catalog = TinyCatalog(tmp_path)
    sources = replace(catalog.write(), class_names=str(tmp_path / "classes.json"))
    (tmp_path / "classes.json").write_text('{"10": "Shoes > Boots", "20": "Shoes > Boots", "99": "Ties"}')
    prepared = Prepared(tmp_path, sources, PreprocessConfig())
    assert prepared.findings == []
    for products in (prepared.products, prepared.new):
        tree = tree_of(products.classes, products.metadata)
        assert tree is not None
        assert tree.paths == (("Shoes", "Boots (10)"), ("Shoes", "Boots (20)"), ("30",))
    (tmp_path / "classes.json").write_text('{"10": "Boots", "99": "Shoes > Boots"}')
    prepared = Prepared(tmp_path, sources, PreprocessConfig())
    assert PATHS not in prepared.products.metadata
    assert [finding["reason"] for finding in prepared.findings] == ["unused_class_names"]
