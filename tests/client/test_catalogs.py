"""Real catalogs in the challenge's dialects, where `PRODUCT_CATALOGS` names a folder that holds them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_catalog import Prepared

from components.preprocess.config import PreprocessConfig, Sources
from components.text.config import TEXT_KINDS
from components.text.run import run_text

CATALOGS = Path(os.environ.get("PRODUCT_CATALOGS", "unset"))
ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CATALOGS.is_dir(), reason="PRODUCT_CATALOGS names no folder of real catalogs"),
]

MEASURED = r"""
import json, re, sys
from pathlib import Path
sys.path.append("tests/support")
from tiny_catalog import Prepared
from components.preprocess.config import PreprocessConfig, Sources
folder, output = Path(sys.argv[1]), Path(sys.argv[2])
names = ["X_train.tsv", "Y_train.tsv", "images_train.zip", "X_test.tsv", "images_test.zip"]
sources = Sources(*(str(folder / name) for name in names))
counts = Prepared(output, sources, PreprocessConfig()).counts
# Not ru_maxrss: it starts with the memory of the process that started this one.
peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
print(json.dumps({**counts, "peak": 1024 * int(peak[1])}))
"""


def household() -> Sources:
    names = (
        "X_train_update.csv",
        "Y_train_CVw08PX.csv",
        "images_train.zip",
        "X_test_update.csv",
        "images_test.zip",
    )
    return Sources(*(str(CATALOGS / "household" / name) for name in names))


def test_household_is_read_whole_and_its_text_tells_the_classes_apart(tmp_path: Path):
    prepared = Prepared(tmp_path, household(), PreprocessConfig())
    counts, products = prepared.counts, tmp_path / "out" / "products"
    assert counts["train"] + counts["validation"] == 890
    assert (counts["test"], counts["quarantined"]) == (157, 0)
    assert prepared.products.metadata["dialect"] == "csv"
    config = TEXT_KINDS.parse({"name": "tfidf", "kind": "linear"})
    outputs: dict[str, Any] = {
        name: tmp_path / f"text-{name}" for name in ("probabilities", "features", "model")
    }
    scores = run_text(products, config, fold=None, seed=0, **outputs).metrics
    assert scores["macro_f1"] > 0.88


def test_forty_thousand_products_are_preprocessed_in_bounded_memory(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(CATALOGS / "fashion"), str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured["train"] + measured["validation"] == 34_528
    assert (measured["test"], measured["quarantined"]) == (6_046, 0)
    assert measured["peak"] < 2**30
