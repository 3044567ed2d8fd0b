"""Whether any figure of a run flatters itself: all classifiers and all chosen rows on labels at random.

    python benchmarks/chosen_rows.py               20 draws of 600 products of 7 classes

Nothing can predict such labels, so what is right of validation should be chance's share, within three
standard errors of the mean over draws of guesses. A run of tiny models goes through denoising, text and image
classifiers (one with its epoch, one with its kind chosen on validation), fusion at both levels and the
ensemble. "as it stands" is what a row of the best of several would have on the products that chose it.
"""

import argparse
import io
import logging
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.label_leak import CLASSES, FAMILY, random_labels, without_flagged
from components.core.artifacts import write_json
from components.data.image_store import write_image_store
from components.data.products import Products, write_products
from components.ensemble.config import EnsembleConfig
from components.ensemble.run import run_ensemble
from components.evaluate.evaluation import Evaluation, evaluate_split, read_all_classifiers
from components.fusion.config import parse_fusion_configs
from components.fusion.run import run_fusion
from components.image.config import IMAGE_KINDS
from components.image.run import run_image
from components.text.config import TEXT_KINDS
from components.text.run import run_text

SIDE = 24  # pixels
TINY = {"weights": "scratch", "epochs": 6, "batch_size": 32, "learning_rate": 3e-3, "max_tokens": 16}
TEXTS: list[dict[str, Any]] = [
    {"name": "tfidf", "kind": "linear", "features": 16},
    {"name": "tfidf-cleaned", "kind": "linear", "features": 16, "cleaned": True},
    {"name": "transformer", **TINY, "layers": 1, "hidden": 32, "heads": 2, "vocabulary": 400},
]
NETWORK = {"backbone": "small_resnet", "weights": "scratch", "resize": [SIDE, SIDE], "crop": [SIDE, SIDE]}
NETWORK |= {"padding": 2, "rotation": 0.0, "epochs": 2, "batch_size": 32, "learning_rate": 0.02}
NETWORK |= {"dcl_epochs": 0}
COLORS = {"name": "colors", "kind": "color_histogram", "epochs": 2, "min_steps": 30}
IMAGES: list[dict[str, Any]] = [
    {**NETWORK, "name": "network"},
    {**COLORS, "cleaned": True},
    {"name": "best-of", "kind": "best_of", "candidates": [{**NETWORK, "name": "net"}, COLORS]},
]
FUSIONS: list[dict[str, Any]] = [
    *({"name": kind, "kind": kind, "epochs": 10} for kind in ("linear", "mlp")),
    *({"name": kind, "kind": kind} for kind in ("logistic", "mean", "product")),
    *({"name": kind, "kind": kind, "epochs": 3} for kind in ("concat", "sum", "attention")),
    {"name": "joint", "kind": "ngram_color_mlp", "min_train_products": 0, "epochs": 1, "min_steps": 20},
]
ENSEMBLES = {"vote": {"vote": "soft"}, "greedy": {"vote": "weighted", "select": "greedy"}}


def with_pictures(products: Products, folder: Path, seed: int) -> Products:
    """The same, each family of products with a color of its own."""
    random = np.random.default_rng(seed)
    count = len(products.table)
    colors = random.integers(256, size=(count // FAMILY + 1, 3))
    packed = []
    for row in range(count):
        noise = random.integers(-20, 20, (SIDE, SIDE, 3))
        pixels = np.clip(colors[row // FAMILY] + noise, 0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG")
        packed.append((f"image{row}", SIDE, SIDE, file.getvalue()))
    write_image_store(folder, packed)
    keys = [key for key, *_ in packed]
    return Products(products.table.assign(image=keys, image_id=keys), products.classes)


def run(count: int, seed: int, folder: Path) -> list[Evaluation]:
    """A whole run on one permutation of labels, evaluated with each of the ensembles."""
    images, table = folder / "images", folder / "products.parquet"
    products = without_flagged(with_pictures(random_labels(count, seed), images, seed), leak=False)
    write_products(products, table)
    parts = ("probabilities", "features", "model")
    made: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for config in TEXTS:
        made["text"].append({part: folder / "text" / config["name"] / part for part in parts})
        run_text(table, TEXT_KINDS.parse(config), fold=None, seed=seed, **made["text"][-1])
    for config in IMAGES:
        made["image"].append({part: folder / "image" / config["name"] / part for part in parts})
        run_image(table, images, IMAGE_KINDS.parse(config), fold=None, seed=seed, **made["image"][-1])
    texts, pictures = (
        {part: [outputs[part] for outputs in made[stage]] for part in parts} for stage in ("text", "image")
    )
    members, feature_level = folder / "members", folder / "feature_level"
    run_fusion(
        table,
        images,
        texts["probabilities"],
        pictures["probabilities"],
        texts["features"],
        pictures["features"],
        texts["model"],
        pictures["model"],
        parse_fusion_configs(FUSIONS),
        folds=4,
        seed=seed,
        members=members,
        feature_level=feature_level,
        fusion_model=folder / "fusion-model",
    )
    write_json(folder / "profile.json", {})  # which nothing here reads
    singles = texts["probabilities"], pictures["probabilities"]
    evaluations = []
    for name, config in ENSEMBLES.items():
        ensemble = EnsembleConfig.model_validate({"name": name, **config})
        run_ensemble(
            table,
            images,
            members,
            feature_level,
            text_models=texts["model"],
            image_models=pictures["model"],
            fusion_model=folder / "fusion-model",
            profile=folder / "profile.json",
            config=ensemble,
            probabilities=folder / name,
            ensemble_model=folder / f"{name}-model",
        )
        fused = members, feature_level, folder / name
        classifiers = read_all_classifiers(*singles, *fused, classes=products.classes)
        evaluation = evaluate_split(products, classifiers, "validation", seed=seed)
        assert evaluation is not None
        evaluations.append(evaluation)
    return evaluations


def shares_right(evaluations: list[Evaluation]) -> dict[str, float]:
    """Accuracy of every classifier, of every chosen row, and of these as they would stand uncorrected."""
    found = {}
    for evaluation in evaluations:
        for scored in evaluation.classifiers:
            found[f"{scored.row}: {scored.classifier.name}"] = scored.score.accuracy
        for row, scored in evaluation.best.items():
            if row != "ensemble":
                found[f"chosen {row}"] = scored.score.accuracy
                own = [each for each in evaluation.classifiers if each.classifier is scored.classifier]
                found[f"as it stands: {row}"] = own[0].score.accuracy
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--products", type=int, default=600)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    draws = []
    for seed in range(options.draws):
        with tempfile.TemporaryDirectory() as folder:
            draws.append(shares_right(run(options.products, seed, Path(folder))))
        print(f"draw {seed + 1} of {options.draws}", file=sys.stderr, flush=True)
    chance, validation = 1 / CLASSES, 3 * options.products // 10
    error = np.sqrt(chance * (1 - chance) / (validation * options.draws))
    print(f"{options.draws} draws, {options.products} products, chance {chance:.1%}\n")
    print(f"{'':48}{'validation':>12}{'errors above':>14}")
    for name in draws[0]:
        mean = float(np.mean([draw[name] for draw in draws]))
        print(f"{name:48}{mean:12.1%}{(mean - chance) / error:14.1f}")


if __name__ == "__main__":
    main()
