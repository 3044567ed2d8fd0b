"""Scores along a tree of classes, against figures computed by hand and scikit-learn's."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score
from synthetic import make_products, write_run

from components.data.class_tree import PATHS, ClassTree, tree_of
from components.data.products import read_products
from components.evaluate.hierarchy import hierarchical
from components.evaluate.run import run_evaluate
from components.preprocess.catalog.class_file import read_classes
from components.preprocess.config import PreprocessConfig

CATALOGS = Path(os.environ.get("PRODUCT_CATALOGS", "unset"))
# A class with classes below it, uneven depths, one name under two parents.
TREE = ClassTree((("Shoes",), ("Shoes", "Boots"), ("Shoes", "Boots", "Winter"), ("Toys", "Boots")))


def test_scores_by_ancestors_are_those_computed_by_hand() -> None:
    found = hierarchical(TREE, np.array([2, 1, 3, 0]), np.array([1, 1, 0, 0]))
    # Shared nodes 2 + 2 + 0 + 1, predicted ones 2 + 2 + 1 + 1, true ones 3 + 2 + 2 + 1.
    assert (found.precision, found.recall) == (5 / 6, 5 / 8)
    assert found.f1 == pytest.approx(10 / 14)
    nothing = hierarchical(TREE, np.array([3]), np.array([1]))
    assert (nothing.precision, nothing.recall, nothing.f1) == (0, 0, 0)


def test_at_a_level_classes_count_as_their_parent_there() -> None:
    top, middle, deepest = TREE.levels
    assert [top.node_of.tolist(), middle.node_of.tolist()] == [[0, 0, 0, 1], [0, 1, 1, 2]]
    assert sorted(deepest.paths) == sorted(TREE.paths)
    found = hierarchical(TREE, np.array([2, 1, 3, 0]), np.array([1, 1, 0, 0]))
    assert [level["accuracy"] for level in found.levels] == [0.75, 0.75, 0.5]
    assert [level["classes"] for level in found.levels] == [2, 3, 4]
    assert found.levels[0]["macro_f1"] == pytest.approx((6 / 7 + 0) / 2)


def test_a_root_is_no_level_and_a_flat_catalog_below_one_no_tree() -> None:
    paths = {"1": ["All", "Shoes", "Boots"], "2": ["All", "Toys"]}
    tree = tree_of(["1", "2"], {PATHS: paths})
    assert tree is not None
    assert tree.paths == (("Shoes", "Boots"), ("Toys",))
    assert tree_of(["1", "2"], {PATHS: {"1": ["All", "Shoes"], "2": ["All", "Toys"]}}) is None
    assert tree_of(["1", "3"], {PATHS: paths}) is not None


def test_probabilities_of_a_node_are_the_sum_of_its_classes() -> None:
    pred_probs = np.array([[0.1, 0.2, 0.3, 0.4]], np.float32)
    assert TREE.levels[0].summed(pred_probs) == pytest.approx(np.array([[0.6, 0.4]]))
    assert TREE.levels[1].summed(pred_probs) == pytest.approx(np.array([[0.1, 0.5, 0.4]]))


def test_a_run_is_scored_at_every_level_and_its_many_classes_are_drawn_by_the_top(tmp_path: Path) -> None:
    codes = make_products(600, 60).classes
    paths = {code: [f"Top {number % 3}", f"Class {code}"] for number, code in enumerate(codes[:-1])}
    names = {code: " > ".join(path) for code, path in paths.items()} | {codes[0]: "Long > " * 20 + "Last"}
    metadata = {PATHS: paths, "class_names": names}
    run = write_run(tmp_path / "run", make_products(600, 60, metadata=metadata, test_labels=True))
    results = tmp_path / "results"
    run_evaluate(**run.stages, seed=0, metadata={}, results=results)
    metrics = json.loads((results / "metrics.json").read_text(encoding="utf-8"))
    ensemble = metrics["validation"]["rows"]["ensemble"]
    first, second = ensemble["hierarchy"]["levels"]
    assert second["macro_f1"] == ensemble["macro_f1"]
    products = read_products(run.products)
    tree = tree_of(products.classes, products.metadata)
    assert tree is not None
    assert tree.paths[-1] == (codes[-1],)
    top = tree.levels[0].node_of
    rows = products.rows("validation")
    wrong = {each["product"]: each["predicted"] for each in metrics["validation"]["mistakes"]}
    predicted = [codes.index(wrong.get(products.ids[row], codes[products.labels[row]])) for row in rows]
    expected = f1_score(top[products.labels[rows]], top[predicted], average="macro")
    assert first["macro_f1"] == pytest.approx(expected)
    assert "hierarchy" in metrics["test"]["rows"]["ensemble"]
    assert "hierarchy" in metrics["validation"]["classifiers"][0]
    confusion = json.loads((results / "confusion.json").read_text(encoding="utf-8"))
    assert confusion["classes"] == sorted(["Top 0", "Top 1", "Top 2", codes[-1]])
    report = (results / "report.html").read_text(encoding="utf-8")
    assert "Top 1: " in report
    assert f"{codes[0]} … Class {codes[0]}" in report
    assert "Hierarchical F1" in (results / "summary.md").read_text(encoding="utf-8")


@pytest.mark.skipif(not CATALOGS.is_dir(), reason="PRODUCT_CATALOGS names no folder of real catalogs")
def test_fashions_classes_are_articles_and_usages() -> None:
    config = PreprocessConfig(class_separator=" / ")
    names, paths = read_classes(CATALOGS / "fashion" / "classes.json", config)
    tree = tree_of(sorted(names), {"class_names": names, PATHS: paths})
    assert tree is not None
    assert [len(level.paths) for level in tree.levels] == [51, 59]
    shirts = [sorted(names).index(code) for code in ("986", "2162")]
    casual, formal = np.array(shirts)
    found = hierarchical(tree, np.array([casual, formal]), np.array([casual, casual]))
    assert (found.f1, found.levels[0]["accuracy"]) == (0.75, 1.0)
