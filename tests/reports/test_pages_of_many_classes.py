"""Pages of more classes than a table lists: it says how many there are, and stops."""

import html
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from synthetic import make_products, write_run

from components.data.class_tree import PATHS
from components.data.image_store import ImageStore, write_image_store
from components.data.probabilities import read_classifier, read_classifiers
from components.evaluate.run import run_evaluate
from components.fusion.report import fusion_report
from components.lifecycle.comparison import Pairs
from components.lifecycle.config import GateConfig
from components.lifecycle.gate import ClassChange, Difference, GateDecision
from components.lifecycle.last_run import LastRun
from components.lifecycle.promote_report import promote_report
from components.lifecycle.report import batch_report
from components.preprocess.profile.profile import profile_catalog
from components.preprocess.report import preprocess_report
from components.reports.page import MOST_CLASSES

CLASSES = 400
NO_ROWS = np.array([], np.int64)


@pytest.fixture
def no_images(tmp_path: Path) -> ImageStore:
    write_image_store(tmp_path, [])
    return ImageStore(tmp_path)


def listed(page: str) -> list[str]:
    """The classes that the page's tables name."""
    return re.findall(r'<th scope="row" class="name">(\d+) ?<', page)


def rows_of(page: str, first_column: str) -> list[str]:
    """The names in the first column of all the page's tables whose first column is called so."""
    tables = re.findall(rf'<th scope="col">{first_column}</th>.*?</table>', page, re.DOTALL)
    return [html.unescape(name) for name in re.findall(r'class="name">([^<]*)</th>', "".join(tables))]


def test_preprocess_lists_the_largest(no_images: ImageStore):
    products = make_products(1_200, CLASSES)
    page = preprocess_report(products, profile_catalog(products, no_images), [])
    assert len(listed(page)) == MOST_CLASSES
    assert "Of 400 classes the largest 300 are listed" in page
    few = r"400 classes with fewer than 20 labeled products to train on: (“\d+” \(0\)(, )?){5} and 395 more"
    assert re.search(few, page)


def test_promote_lists_those_that_lost_most(no_images: ImageStore):
    changes = tuple(ClassChange(f"{number}", 3, 0.9, number / CLASSES) for number in range(CLASSES))
    decision = GateDecision((), 0.5, 0.5, Difference(0.9, 0.5, (-0.5, -0.3), changes))
    pairs = Pairs(NO_ROWS, NO_ROWS, NO_ROWS, NO_ROWS, NO_ROWS, (), {}, {})
    versions = {"challenger": "a", "champion": "b"}
    page = promote_report(make_products(), no_images, decision, pairs, **versions, config=GateConfig())
    assert listed(page) == [f"{number}" for number in range(MOST_CLASSES)]
    assert "The other 285 classes" in page
    assert "Of 400 classes the first 300 are listed" in page


def test_predict_lists_those_that_most_products_are_of():
    counts, codes = np.arange(CLASSES, 0, -1), [f"{number}" for number in range(CLASSES)]
    described = {"profile": {"classes": {}}, "document": {"class_names": {}}, "version": "v"}
    model = SimpleNamespace(classes=codes, **described)
    page = batch_report(model, counts, 0.9, 0, LastRun())  # type: ignore[arg-type]
    assert listed(page) == codes[:MOST_CLASSES]
    assert "Of 400 classes the first 300 are listed" in page


def test_fusion_lists_those_that_gain_and_those_that_lose_most(tmp_path: Path):
    run = write_run(tmp_path, products := make_products(6_000, CLASSES))
    text, image = ([read_classifier(path) for path in paths] for paths in (run.text, run.image))
    page = fusion_report(products, text, image, read_classifiers(run.members), [])
    found = re.findall(r'<td class="n">([+−]?[\d.]+)</td><td class="n soft apart">', page)
    gains = [float(gain.replace("−", "-")) for gain in found]
    assert len(listed(page)) == MOST_CLASSES
    assert re.search(r"Of 3\d\d classes the 300 that gain or lose most are listed", page)
    assert len(gains) == MOST_CLASSES
    assert gains[0] > 0 > gains[-1]


@pytest.mark.parametrize("top", [50, 120, 350])
def test_evaluate_lists_the_weakest_of_a_tree_however_wide(tmp_path: Path, top: int):
    codes = make_products(6_000, CLASSES).classes
    paths = {code: [f"Top {number % top}", f"Class {code}"] for number, code in enumerate(codes)}
    run = write_run(tmp_path / "run", make_products(6_000, CLASSES, metadata={PATHS: paths}))
    run_evaluate(**run.stages, seed=0, metadata={}, results=tmp_path / "results")
    page = (tmp_path / "results" / "report.html").read_text(encoding="utf-8")
    nodes, classes = rows_of(page, "top level"), rows_of(page, "class")
    assert len(nodes) == len(set(nodes)) == min(top, MOST_CLASSES)
    assert ("the weakest 300 are listed." in page) == (top > MOST_CLASSES)
    assert len(classes) <= MOST_CLASSES + 15  # the weakest of all stand before those of each group
    assert ("<summary>Top 7: " in page) == (top == 50)
