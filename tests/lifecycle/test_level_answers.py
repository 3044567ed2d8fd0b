"""A package that answers at the deepest level: in the detail file, by the server, and not without a tree."""

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_package import KEPT, new_products, with_document

from components.data.class_tree import PATHS
from components.lifecycle.detail import COLUMNS, detail_of, detail_rows, send_some_to_review
from components.lifecycle.levels import level_answers
from components.lifecycle.model import Model, load_model
from components.lifecycle.products import cleaned

TREE = {"10": ["Media", "Livres"], "20": ["Media", "Films"]}
SURE = np.array([[0.95, 0.03, 0.02], [0.5, 0.45, 0.05], [0.4, 0.4, 0.2], [0.02, 0.03, 0.95]], np.float32)


def package(folder: Path, levels: dict[int, float | None], **changes: Any) -> Model:
    """The kept package with a tree of its classes and thresholds of levels."""
    choices = [{"level": level, "probability": found} for level, found in levels.items()]
    threshold = {"probability": levels.get(2), "target": 0.97, "checked_share": 0.01, "levels": choices}
    copied = Path(shutil.copytree(KEPT, folder / "model"))
    given = {"class_paths": TREE, "threshold": threshold, **changes}
    return load_model(with_document(copied, **given), device="cpu")


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return package(tmp_path, {2: 0.9, 1: 0.8})


def test_a_product_is_answered_at_the_deepest_level_that_is_sure_enough(model: Model) -> None:
    found = level_answers(model, SURE, np.ones(4, bool))
    assert found == {
        "answer": ["Media > Livres", "Media", "Media", "30"],
        "answer_level": ["2", "1", "1", "1"],
        "answer_probability": ["0.9500", "0.9500", "0.8000", "0.9500"],
    }
    flagged = level_answers(model, SURE, np.array([True, False, True, True]))
    assert flagged["answer"] == ["Media > Livres", "", "Media", "30"]


def test_a_level_without_a_threshold_answers_nothing(tmp_path: Path) -> None:
    model = package(tmp_path, {2: None, 1: 0.9}, preprocess={"class_separator": " / "}, class_names={})
    found = level_answers(model, SURE, np.ones(4, bool))
    assert [found["answer"], found["answer_level"]] == [["Media", "Media", "", "30"], ["1", "1", "", "1"]]


def test_the_detail_file_has_the_answer_and_the_decision_stays_that_of_the_class(
    model: Model, tmp_path: Path
) -> None:
    table = cleaned(new_products().table)
    answers = model.predict(new_products().table)
    with detail_rows(tmp_path / "detail.tsv", model) as file:
        file.write(table, answers)
    send_some_to_review(tmp_path / "detail.tsv", model)
    with (tmp_path / "detail.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert list(rows[0]) == [*COLUMNS[:-1], "answer", "answer_level", "answer_probability", "decision"]
    expected = detail_of(model, table, answers)
    assert [row["answer"] for row in rows] == expected["answer"].tolist()
    assert [row["decision"] for row in rows] == expected["decision"].tolist()
    assert {row["answer_level"] for row in rows} >= {"2"}
    for row in rows:
        if row["answer_level"] == "2":
            assert row["answer"].split(" > ") == TREE[row["code"]]
            assert row["answer_probability"] == row["probability"]


def test_a_package_without_levels_has_the_columns_that_it_had(tmp_path: Path) -> None:
    answers, table = load_model(KEPT).predict(new_products().table), cleaned(new_products().table)
    assert list(detail_of(load_model(KEPT), table, answers)) == list(COLUMNS)


def test_a_server_gives_the_same_answer(model: Model) -> None:
    pytest.importorskip("aiobotocore")
    from components.serving.answers import Answering
    from components.serving.images import AllowedStores
    from components.serving.products import Product

    table = new_products().table
    expected = detail_of(model, cleaned(table), model.predict(table))
    products = [Product(title, "", None, "") for title in table["title"]]
    expected = detail_of(
        model, cleaned(table.assign(description="")), model.predict(table.assign(description=""))
    )
    documents = Answering(model, AllowedStores([])).answer(products).documents()
    assert [each["answer"] for each in documents] == expected["answer"].tolist()
    numbers = [float(each or 0) for each in expected["answer_probability"]]
    assert [each["answer_probability"] for each in documents] == pytest.approx(numbers)
    assert {type(each["answer_level"]) for each in documents} == {int}
    assert PATHS in model.document
