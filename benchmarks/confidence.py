"""How far a finished run's probabilities can be trusted: calibration, auto-accept, products of no class.

    python benchmarks/confidence.py runs/mine                    calibration and auto-accept, by target
    python benchmarks/confidence.py runs/mine --halves 20        the threshold of one half on the other one
    python benchmarks/confidence.py runs/mine --leave-out 6      products of classes left out, two at a time

The first reads the vote of validation, out of fold, and fits nothing else anew. Halves are drawn by groups;
`--wrong` is the share of labels that is known to be wrong at random: the accuracy on the other half is
corrected by it, not by the estimate. To leave out classes, small classifiers of text and colors are trained
without them; "known" are products of the other classes that nothing was trained on.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from components.core.artifacts import write_json
from components.data.image_store import ImageStore
from components.data.probabilities import read_classifier
from components.data.products import Products, read_products, write_products
from components.ensemble.confidence_report import UNCALIBRATED
from components.ensemble.config import PARAMETERS as ENSEMBLE
from components.ensemble.config import EnsembleConfig
from components.ensemble.run import run_ensemble
from components.fusion.config import PARAMETERS as FUSION
from components.fusion.run import run_fusion
from components.image.config import IMAGE_KINDS
from components.image.run import run_image
from components.lifecycle.model import load_model
from components.modeling.acceptance import (
    UNLIKE,
    acceptance,
    entropy,
)
from components.modeling.calibration import calibrated
from components.modeling.label_noise import LabeledPredictions, rounded, without_noise
from components.modeling.metrics import log_loss
from components.modeling.reliability import calibration_error, chance_band
from components.preprocess.profile.profile import profile_catalog
from components.text.config import TEXT_KINDS
from components.text.run import run_text

TEXT = {"name": "tfidf", "kind": "linear", "features": 0}
IMAGE = {"name": "colors", "kind": "color_histogram"}
FUSIONS = [{"name": name, "kind": name} for name in ("mean", "product", "logistic")]
MAX_NOISE = EnsembleConfig().max_label_noise
KEPT_AWAY = 0.2  # of the known products


def read_vote(run: Path) -> tuple[Products, np.ndarray, np.ndarray, np.ndarray]:
    """A run's products, and of validation the vote before calibration (N, C), labels and groups."""
    [artifacts] = (run / "artifacts").iterdir()
    products = read_products(artifacts / "denoise" / "cleaned")
    vote = read_classifier(artifacts / "ensemble" / "probabilities")
    rows = products.rows("validation")
    splits = vote.matrices.get(UNCALIBRATED) or next(iter(vote.matrices.values()))
    voted = splits["validation"].aligned(products.ids[rows], where=str(run))
    return products, voted, products.labels[rows], products.table["group"].to_numpy()[rows]


def print_calibration(voted: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> None:
    found = calibrated(voted, labels, groups)
    band = chance_band(found.pred_probs.max(axis=1), groups)
    print(f"calibration: {found.calibrator.kind}; log-loss out of fold {found.log_loss}")
    for name, pred_probs in (("before", voted), ("after", found.pred_probs)):
        error, loss = calibration_error(labels, pred_probs), log_loss(labels, pred_probs)
        print(f"{name:7} error {100 * error:5.2f} points, log-loss {loss:.4f}")
    print(f"95 % of calibrated classifiers stay under {100 * band.error:.2f} points")


def print_acceptance(voted: np.ndarray, labels: np.ndarray, groups: np.ndarray, target: float) -> None:
    pred_probs = calibrated(voted, labels, groups).pred_probs
    known = LabeledPredictions.of(voted, pred_probs, labels, groups, max_noise=MAX_NOISE)
    found = acceptance(known, labels, target=target)
    print(f"label noise {found.estimated:.1%}, {found.noise:.1%} of it taken away")
    print(f"highest supported {found.highest.corrected_low:.1%}")
    rows = {f"{each:.0%}": accepted for each, accepted in found.by_target.items()}
    rows[f"{target:.0%}, out of fold"] = found.out_of_fold
    for name, row in rows.items():
        said = "not supported"
        if row:
            said = f"coverage {row.coverage:6.1%}, as labeled {row.accuracy:.1%}, right {row.corrected:.1%} "
            said += f"({row.corrected_low:.1%} to {row.corrected_high:.1%})"
        print(f"target {name:18} {said}")


def print_halves(
    voted: np.ndarray, labels: np.ndarray, groups: np.ndarray, target: float, halves: int, wrong: float
) -> None:
    covered, right = [], []
    for seed in range(halves):
        side = np.random.default_rng(seed).random(int(groups.max()) + 1)[groups] < 0.5
        given = voted[side], labels[side], groups[side]
        found = calibrated(*given)
        known = LabeledPredictions.of(voted[side], found.pred_probs, *given[1:], max_noise=MAX_NOISE)
        chosen = acceptance(known, labels[side], target=target).chosen
        if chosen is None:
            covered.append(0.0)
            continue
        other = found.calibrator(voted[~side])
        accepted = rounded(other) >= chosen.probability
        agrees = (other.argmax(axis=1) == labels[~side])[accepted].mean()
        covered.append(float(accepted.mean()))
        right.append(float(without_noise(agrees, wrong)))
    print(f"{halves} halves: coverage {np.mean(covered):.1%}; {covered.count(0.0)} support none")
    if right:
        kept = np.mean(np.array(right) >= target)
        print(
            f"right on the other half: mean {np.mean(right):.1%}, least {min(right):.1%}; "
            f"{kept:.0%} at target"
        )


def leave_out(
    products: Products, images: ImageStore, out: np.ndarray, seed: int
) -> tuple[float, float, float, int]:
    """Shares flagged, and how many were left out.

    Returns:
        Of known products that nothing was trained on and of left-out ones, by the model's own limit; of the
        latter by the limit that flags `UNLIKE` of these known products; and the number of left-out ones.
    """
    labeled = np.flatnonzero(products.labels >= 0)
    left_out = np.isin(products.labels, out)
    groups = products.table["group"].to_numpy()
    away = np.random.default_rng(seed).random(int(groups.max()) + 1)[groups] < KEPT_AWAY
    known = np.setdiff1d(labeled, np.flatnonzero(left_out | away))
    classes = tuple(code for label, code in enumerate(products.classes) if label not in out)
    table = products.table.iloc[known].reset_index(drop=True)
    table["label"] = table["code"].map({code: label for label, code in enumerate(classes)}).astype("Int64")
    with tempfile.TemporaryDirectory() as scratch:
        model = load_model(train(Products(table, classes, products.metadata), images, Path(scratch)))
        limit, found = model.threshold["unlike_above"], []
        for rows in (np.flatnonzero(away & ~left_out), np.flatnonzero(left_out)):
            answers = model.predict_cleaned(products.table.iloc[rows].reset_index(drop=True), images)
            found.append(entropy(answers.pred_probs))
    of_known, of_left_out = found
    even = float((of_left_out > np.quantile(of_known, 1 - UNLIKE)).mean())
    return float((of_known > limit).mean()), float((of_left_out > limit).mean()), even, len(of_left_out)


def train(products: Products, images: ImageStore, folder: Path) -> Path:
    """Trains small classifiers of text and colors, and lets their fusions vote; returns the package."""
    given: dict[str, Any] = {"products": folder / "products", "images": images.folder}
    write_products(products, given["products"])
    write_json(folder / "profile.json", profile_catalog(products, images))
    left: dict[str, dict[str, Any]] = {
        which: {name: folder / f"{which}-{name}" for name in ("probabilities", "features", "model")}
        for which in ("text", "image")
    }
    run_text(given["products"], TEXT_KINDS.parse(TEXT), fold=None, seed=0, **left["text"])
    run_image(**given, config=IMAGE_KINDS.parse(IMAGE), fold=None, seed=0, **left["image"])
    fused = {name: folder / name for name in ("members", "feature_level", "fusion_model")}
    run_fusion(
        **given,
        text=[left["text"]["probabilities"]],
        image=[left["image"]["probabilities"]],
        text_features=[left["text"]["features"]],
        image_features=[left["image"]["features"]],
        text_models=[left["text"]["model"]],
        image_models=[left["image"]["model"]],
        configs=FUSION["fusion_configs"](FUSIONS),
        folds=4,
        seed=0,
        **fused,
    )
    run_ensemble(
        **given,
        **fused,
        text_models=[left["text"]["model"]],
        image_models=[left["image"]["model"]],
        profile=folder / "profile.json",
        config=ENSEMBLE["ensemble_config"]({"vote": "soft"}),
        probabilities=folder / "ensemble",
        ensemble_model=folder / "package",
    )
    return folder / "package"


def print_left_out(run: Path, products: Products, pairs: int) -> None:
    [artifacts] = (run / "artifacts").iterdir()
    images = ImageStore(artifacts / "preprocess" / "images")
    support = np.bincount(products.labels[products.labels >= 0], minlength=len(products.classes))
    frequent = np.flatnonzero(support >= 100 if len(support) > 10 else support > 0)
    names, flagged = products.metadata.get("class_names", {}), []
    for seed in range(pairs):
        out = np.random.default_rng(seed).choice(frequent, 2, replace=False)
        known, left_out, even, count = leave_out(products, images, out, seed)
        flagged.append((left_out, even))
        called = " and ".join(names.get(products.classes[label], products.classes[label]) for label in out)
        print(
            f"known {known:6.1%}, left out {left_out:6.1%}, {even:6.1%} where {UNLIKE:.0%} of known are, "
            f"of {count:5,}: {called}",
            flush=True,
        )
    print("mean of the left-out: {:.1%}, {:.1%}".format(*np.mean(flagged, axis=0)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--target", type=float, default=0.97)
    parser.add_argument("--halves", type=int, default=0)
    parser.add_argument("--wrong", type=float, default=0.0)
    parser.add_argument("--leave-out", type=int, default=0)
    options = parser.parse_args()
    products, voted, labels, groups = read_vote(options.run)
    if options.leave_out:
        print_left_out(options.run, products, options.leave_out)
    elif options.halves:
        print_halves(voted, labels, groups, options.target, options.halves, options.wrong)
    else:
        print_calibration(voted, labels, groups)
        print_acceptance(voted, labels, groups, options.target)


if __name__ == "__main__":
    main()
