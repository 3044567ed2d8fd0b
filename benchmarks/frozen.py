"""Pretrained encoders as they are against small classifiers from scratch, out of fold on all of a catalog.

    python benchmarks/frozen.py CATALOG --image-weights FOLDER --text-weights FOLDER

CATALOG is a folder in the challenge's CSV dialect. Every classifier is trained in 5 folds of the labeled
products and predicts the one it has not seen; the ensemble is the mean of logistic regressions on the log
probabilities of every pair of a text and an image classifier, cross-fitted in the same folds. Seconds are
of CPU time on a CPU, from encoded images and texts to the last fold's probabilities, features included, on a
cache that starts empty.
"""

import argparse
import itertools
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import components.image.embedding
import components.text.embedding
from benchmarks.clock import clock, device_name
from components.client.presets import LAPTOP
from components.data.image_store import ImageStore
from components.data.products import Products, read_products, training_task
from components.fusion.config import FUSION_KINDS
from components.fusion.decision_level.fits import fit_logistic
from components.fusion.decision_level.members import FusionData, Member
from components.image.config import IMAGE_KINDS
from components.modeling.cross_fitting import stratified_folds
from components.modeling.metrics import LEAST_CHOOSING, log_loss, macro_f1
from components.modeling.trained import TrainingSetup
from components.preprocess.config import PreprocessConfig, Sources
from components.preprocess.run import run_preprocess
from components.text.config import TEXT_KINDS

FOLDS = 5


def read_catalog(catalog: Path, folder: Path) -> tuple[Products, ImageStore]:
    """All labeled products as a train split in folds, and their images."""
    names = ("X_train_update.csv", "Y_train_CVw08PX.csv", "images_train.zip")
    paths = {name: folder / name for name in ("products", "images", "quarantine", "profile")}
    sources = Sources(*(str(catalog / name) for name in names))
    run_preprocess(sources, PreprocessConfig(), folds=FOLDS, seed=0, earlier_profile="", **paths)
    products = read_products(paths["products"])
    groups = products.table["group"].to_numpy()
    fold = stratified_folds(products.labels, folds=FOLDS, seed=0, groups=groups)
    table = products.table.assign(split="train", fold=pd.array(fold, dtype="Int64"))
    return replace(products, table=table), ImageStore(paths["images"])


def out_of_fold(
    config: dict[str, Any], products: Products, store: ImageStore | None, folder: Path
) -> tuple[np.ndarray, float]:
    """(N, C) probabilities by classifiers that have not seen the product, and the seconds it took.

    Args:
        store: of an image classifier; None for a text classifier.
    """
    registry: Any = TEXT_KINDS if store is None else IMAGE_KINDS
    parsed, start = registry.parse(config), clock()
    fit = registry.of(parsed).load_fit()
    pred_probs = np.zeros((len(products.table), len(products.classes)), np.float32)
    setup = TrainingSetup(0, folder, gpus=torch.cuda.device_count())
    for fold in range(FOLDS):
        task = training_task(products, fold=fold, cleaned=False)
        inputs = (products, task) if store is None else (products, store, task)
        rows = task.predict["out_of_fold"]
        pred_probs[rows] = fit(*inputs, parsed, setup).matrices["final"]["out_of_fold"]
    return pred_probs, clock() - start


def ensemble(texts: list[np.ndarray], images: list[np.ndarray], products: Products) -> np.ndarray:
    """The mean of all pairs' cross-fitted logistic regressions, (N, C)."""
    pred_probs = np.stack([*texts, *images])
    pairs = itertools.product(range(len(texts)), range(len(texts), len(pred_probs)))
    config: Any = FUSION_KINDS.parse({"name": "logistic", "kind": "logistic"})
    members = [Member(f"pair-{number}", pair, config) for number, pair in enumerate(pairs)]
    folds = products.table["fold"].to_numpy(np.int64)
    data = FusionData(pred_probs, products.labels, folds, pred_probs[:, :0], seed=0)
    return np.mean([fused.out_of_fold for fused in fit_logistic(members, data)], axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("catalog", type=Path)
    parser.add_argument("--image-weights", required=True)
    parser.add_argument("--text-weights", required=True)
    options = parser.parse_args()
    frozen_text = {"kind": "frozen", "weights": options.text_weights}
    frozen_image = {"kind": "frozen", "weights": options.image_weights}
    texts = [
        {"name": "tfidf", "kind": "linear", "features": 0},
        {"name": "frozen-text", **frozen_text},
        {"name": "frozen-text-mlp", **frozen_text, "classifier": "mlp"},
    ]
    scratch, colors = LAPTOP["image_configs"]
    images = [
        {"name": "frozen-image", **frozen_image},
        {"name": "frozen-image-mlp", **frozen_image, "classifier": "mlp"},
        scratch,
        colors,
    ]
    with tempfile.TemporaryDirectory() as folder:
        measure(options.catalog, texts, images, Path(folder))


def measure(catalog: Path, texts: list[dict[str, Any]], images: list[dict[str, Any]], folder: Path) -> None:
    """Prints macro-F1, log-loss and seconds of every classifier, and of the first two texts' ensemble."""
    print(f"{device_name()}, {torch.get_num_threads()} threads")
    start = time.perf_counter()
    components.image.embedding.HF_HOME = components.text.embedding.HF_HOME = str(folder / "kept")
    products, store = read_catalog(catalog, folder)
    found = {}
    for config in texts + images:
        needed = store if config in images else None
        found[config["name"]], seconds = out_of_fold(config, products, needed, folder / config["name"])
        report(config["name"], found[config["name"]], products, f"{seconds:7.1f} s")
    members = [found[name] for name in ("tfidf", "frozen-text", "frozen-image", "color-histogram")]
    report("ensemble", ensemble(members[:2], members[2:], products), products)
    print(f"all of it, from the catalog on: {time.perf_counter() - start:.1f} s of wall time")


def report(name: str, pred_probs: np.ndarray, products: Products, seconds: str = "") -> None:
    """Prints a row."""
    labels = products.labels
    f1 = macro_f1(labels, pred_probs.argmax(1), len(products.classes))
    loss = log_loss(labels, pred_probs, least=LEAST_CHOOSING)
    print(
        f"{name:20} macro-F1 {100 * f1:6.2f}   log-loss {loss:.4f} {seconds}",
        flush=True,
    )


if __name__ == "__main__":
    main()
