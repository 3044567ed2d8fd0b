"""What predicting takes where there are many classes: a training's share of it, and a model package's.

    python benchmarks/predicting.py                                100,000 products of 3,000 classes
    python benchmarks/predicting.py --products 20000 --classes 300

A linear text classifier is fitted on 20,000 made-up titles (`growing_catalogs.py`) and predicts the products;
then fusion and vote make a package of it, which predicts them as the task `predict` does. Each runs in a
process of its own on one thread, and once more with 400 products: the difference is the predicting. Memory is
the process's highest, with Python and its libraries.
"""

import argparse
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.alone import print_used, run_alone
from benchmarks.growing_catalogs import write_split_products
from components.client.presets import LAPTOP
from components.core.artifacts import write_json, write_manifest
from components.data.products import Products, read_products, write_products

TRAINED, FEW, FOLDS = 20_000, 400, 4
TEXT = {"name": "text", "kind": "linear", "word_ngrams": 1, "char_ngrams": [], "features": 0}
KINDS = ("mean", "product", "logistic")
OUTPUTS = ("probabilities", "features", "model")


def write(folder: Path, products: int, classes: int) -> None:
    """A product table whose last rows are the products to predict, and these by themselves."""
    write_split_products(folder, TRAINED + products, classes)
    catalog = read_products(folder / "products")
    rows = np.arange(TRAINED + products)
    split = np.where(rows < TRAINED, catalog.table["split"], "test")
    table = catalog.table.assign(split=split, fold=catalog.table["fold"].mask(rows >= TRAINED))
    metadata: dict[str, Any] = {**catalog.metadata, "delimiter": "\t", "class_names": {}, "preprocess": {}}
    write_products(Products(table, catalog.classes, metadata), folder / "products")
    new = table.iloc[TRAINED:].assign(label=pd.NA, code=None).reset_index(drop=True)
    write_products(Products(new, catalog.classes, metadata), folder / "new_products")
    write_manifest(folder / "feature_level")
    write_json(folder / "profile.json", {"languages": {}, "missing": {"picture": 1}, "classes": {}})
    write_json(folder / "last_run.json", {})


def text(folder: Path) -> None:
    """Trains the classifier, which predicts validation and the products."""
    from components.text.config import TEXT_KINDS
    from components.text.run import run_text

    outputs: dict[str, Any] = {name: folder / name for name in OUTPUTS}
    run_text(folder / "products", TEXT_KINDS.parse(TEXT), fold=None, seed=0, **outputs)


def package(folder: Path) -> None:
    """Fuses and votes, of the labeled products alone, as a run does."""
    from components.ensemble.config import PARAMETERS as ENSEMBLE
    from components.ensemble.run import run_ensemble
    from components.fusion.config import PARAMETERS as FUSION
    from components.fusion.run import run_fusion

    catalog = read_products(folder / "products")
    labeled = catalog.table.iloc[:TRAINED]
    write_products(Products(labeled, catalog.classes, catalog.metadata), folder / "labeled")
    given: dict[str, Any] = {"products": folder / "labeled", "images": folder / "images"}
    fused = {name: folder / name for name in ("members", "feature_level", "fusion_model")}
    configs = [each for each in FUSION["fusion_configs"](LAPTOP["fusion_configs"]) if each.kind in KINDS]
    run_fusion(
        **given,
        **fused,
        text=[folder / "probabilities"],
        image=[],
        text_features=[],
        image_features=[],
        text_models=[folder / "model"],
        image_models=[],
        configs=configs,
        folds=FOLDS,
        seed=0,
    )
    run_ensemble(
        **given,
        **fused,
        text_models=[folder / "model"],
        image_models=[],
        profile=folder / "profile.json",
        config=ENSEMBLE["ensemble_config"]({**LAPTOP["ensemble_config"], "feature_level": {}}),
        probabilities=folder / "ensemble",
        ensemble_model=folder / "package",
    )


def predict(folder: Path) -> None:
    """Predicts the products with the package."""
    from components.lifecycle.run import run_predict

    given = (folder / name for name in ("package", "new_products", "images", "last_run.json"))
    run_predict(*given, predictions=folder / "predictions")


STEPS: dict[str, Callable[[Path], None]] = {"text": text, "package": package, "predict": predict}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--products", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=3_000)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        STEPS[options.step](options.folder)
        print_used()
        return
    print(f"{platform.processor() or platform.machine()}, one thread, {options.classes:,} classes")
    print(f"{'products':>10} {'step':8} {'CPU s':>8} {'GiB':>8}")
    for products in (FEW, options.products):
        with tempfile.TemporaryDirectory() as scratch:
            write(Path(scratch), products, options.classes)
            for step in STEPS:
                took = run_alone(__file__, "--step", step, "--folder", scratch)
                print(f"{products:10,} {step:8} {took['seconds']:8.1f} {took['gib']:8.2f}", flush=True)


if __name__ == "__main__":
    main()
