"""Pages of more classes than a table lists: it says how many there are, and stops."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from synthetic import make_products

from components.data.image_store import ImageStore, write_image_store
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


def test_preprocess_lists_the_largest(no_images: ImageStore):
    products = make_products(1_200, CLASSES)
    page = preprocess_report(products, profile_catalog(products, no_images), [])
    assert len(listed(page)) == MOST_CLASSES
    assert "Of 400 classes the largest 300 are listed" in page


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
