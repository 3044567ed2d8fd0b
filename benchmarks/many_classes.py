"""Fusion, ensemble and evaluation where there are many classes: CPU time, memory, and what they gain.

    python benchmarks/many_classes.py                                    85,000 products of 300 classes
    python benchmarks/many_classes.py --rows 20000 --classes 3000
    python benchmarks/many_classes.py --keep FOLDER                      leaves the reports there

Three text and two image classifiers of different quality predict the validation split; the stages run one
after the other as the pipeline runs them, each in a process of its own, with the decision-level kinds of the
laptop's preset. The catalog is made up: classes lie in groups of ten alike, a few are large and most small,
text and image each see a product's place among the classes with noise of their own, and what classifiers of
one modality see is partly the same. Memory is the process's highest, with Python and its libraries.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from components.client.presets import LAPTOP
from components.core.artifacts import write_manifest
from components.core.stage import Result
from components.data.image_store import write_image_store
from components.data.prediction_files import DETAIL, QUEUE
from components.data.probabilities import Classifier, Probabilities, write_classifier
from components.data.products import SCHEMA, Products, write_products
from components.data.top_classes import concatenated, top_classes
from components.denoise import issues_file
from components.denoise.issues import LabelIssues

# Noise of each classifier's own, and of what it shares with the others of its modality.
TEXTS = {"text-a": (0.30, 0.30), "text-b": (0.36, 0.30), "text-c": (0.50, 0.30)}
IMAGES = {"image-a": (0.45, 0.50), "image-b": (0.60, 0.50)}
PLACES, ALIKE, SURE = 24, 10, 22.0  # dimensions; classes of a group; sharpness of what a classifier says
STAGES = ("fusion", "ensemble", "evaluate")
BLOCK = 2048  # rows
FOLDS = 8  # of fusion, the default


def draw_labels(rows: int, classes: int, random: np.random.Generator) -> np.ndarray:
    """Classes by Zipf's law, the smallest of at least two products."""
    shares = 1 / (np.arange(classes) + 10)
    labels = random.choice(classes, rows - 2 * classes, p=shares / shares.sum())
    return random.permutation(np.concatenate([labels, np.repeat(np.arange(classes), 2)]))


def draw_matrices(labels: np.ndarray, classes: int, random: np.random.Generator) -> dict[str, Probabilities]:
    """What each classifier says, by name."""
    groups = random.normal(0, 1, (-(-classes // ALIKE), PLACES))
    places = groups[np.arange(classes) // ALIKE] + random.normal(0, 0.5, (classes, PLACES))
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    found = {}
    ids, codes = product_ids(len(labels)), class_codes(classes)
    for classifiers in (TEXTS, IMAGES):
        shared = random.normal(0, 1, (len(labels), PLACES))
        for name, (own, together) in classifiers.items():
            noise = own * random.normal(0, 1, shared.shape) + together * shared
            seen = places[labels] + noise / np.sqrt(PLACES / 4)
            sharpness = SURE * random.uniform(0.7, 1.3)
            parts = []
            for start in range(0, len(labels), BLOCK):
                logits = sharpness * seen[start : start + BLOCK] @ places.T
                powers = np.exp(logits - logits.max(axis=1, keepdims=True))
                parts.append(top_classes((powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)))
            found[name] = Probabilities(ids, codes, concatenated(parts))
    return found


def product_ids(rows: int) -> np.ndarray:
    """(N,) ids of the validation products."""
    return np.array([f"p{row}" for row in range(rows)], dtype=object)


def class_codes(classes: int) -> tuple[str, ...]:
    """The codes of so many classes."""
    return tuple(f"{number:05d}" for number in range(classes))


def write_catalog(folder: Path, labels: np.ndarray, classes: int) -> None:
    """The products, all of validation, an empty image store, and what the stages ask for beside."""
    codes = class_codes(classes)
    table = pd.DataFrame(
        {
            "product_id": product_ids(len(labels)),
            "title": [f"product of class {codes[label]}" for label in labels],
            "description": "",
            "image": None,
            "code": [codes[label] for label in labels],
            "label": pd.array(labels, dtype="Int64"),
            "split": "validation",
            "fold": pd.array([None] * len(labels), dtype="Int64"),
            "group": np.arange(len(labels)),
            "removed": False,
            "row_id": "",
            "image_id": "",
        }
    ).reindex(columns=SCHEMA.names)
    names = {code: f"Department {int(code) // 100} > Shelf {int(code) // ALIKE}" for code in codes}
    products = Products(table, codes, {"class_names": names, "dialect": "columns"})
    write_products(products, folder / "products")
    write_products(Products(table.iloc[:0], codes, products.metadata), folder / "new_products")
    write_image_store(folder / "images", [])
    nothing = LabelIssues(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0, bool))
    issues_file.write_issues(issues_file.issues_table(products, nothing), folder / "label_issues")
    (folder / "predictions").mkdir()
    for name in (DETAIL, QUEUE):
        (folder / "predictions" / name).write_text("product_id\tcode\n", encoding="utf-8")
    write_manifest(folder / "predictions", counts={}, threshold={})
    (folder / "profile.json").write_text("{}")


def write_inputs(folder: Path, rows: int, classes: int, seed: int) -> None:
    """All that fusion reads."""
    random = np.random.default_rng(seed)
    labels = draw_labels(rows, classes, random)
    write_catalog(folder, labels, classes)
    for name, matrix in draw_matrices(labels, classes, random).items():
        modality = name.split("-")[0]
        write_classifier(folder / name, Classifier(name, modality, {"best": {"validation": matrix}}))
        (folder / "models" / name).mkdir(parents=True)
        write_manifest(folder / "models" / name, name=name)


def fusion(folder: Path) -> Result:
    """Runs the fusion stage."""
    from components.fusion.config import PARAMETERS, DecisionLevelConfig
    from components.fusion.run import run_fusion

    configs = PARAMETERS["fusion_configs"](LAPTOP["fusion_configs"])
    return run_fusion(
        folder / "products",
        folder / "images",
        text=[folder / name for name in TEXTS],
        image=[folder / name for name in IMAGES],
        text_features=[],
        image_features=[],
        text_models=[],
        image_models=[],
        configs=[config for config in configs if isinstance(config, DecisionLevelConfig)],
        folds=FOLDS,
        seed=0,
        members=folder / "members",
        feature_level=folder / "feature_level",
        fusion_model=folder / "fusion_model",
    )


def ensemble(folder: Path) -> Result:
    """Runs the ensemble stage, without the feature-level classifiers, which are not made here."""
    from components.ensemble.config import PARAMETERS
    from components.ensemble.run import run_ensemble

    return run_ensemble(
        folder / "products",
        folder / "images",
        folder / "members",
        folder / "feature_level",
        text_models=[folder / "models" / name for name in TEXTS],
        image_models=[folder / "models" / name for name in IMAGES],
        fusion_model=folder / "fusion_model",
        profile=folder / "profile.json",
        config=PARAMETERS["ensemble_config"]({**LAPTOP["ensemble_config"], "feature_level": {}}),
        probabilities=folder / "ensemble",
        ensemble_model=folder / "model",
    )


def evaluate(folder: Path) -> Result:
    """Runs the evaluate stage."""
    from components.evaluate.run import run_evaluate

    return run_evaluate(
        folder / "products",
        folder / "images",
        text=[folder / name for name in TEXTS],
        image=[folder / name for name in IMAGES],
        members=folder / "members",
        feature_level=folder / "feature_level",
        ensemble=folder / "ensemble",
        label_issues=folder / "label_issues",
        new_products=folder / "new_products",
        predictions=folder / "predictions",
        seed=0,
        metadata={},
        results=folder / "results",
    )


def run_here(stage: str, folder: Path) -> None:
    """Runs one stage and prints what it took, as one line of JSON."""
    work: Callable[[Path], Result] = {"fusion": fusion, "ensemble": ensemble, "evaluate": evaluate}[stage]
    result = work(folder)
    (folder / f"{stage}.html").write_text(result.report, encoding="utf-8")
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "cpu_seconds": used.ru_utime + used.ru_stime,
                "gib": used.ru_maxrss / 2**20,
                "report_kib": len(result.report.encode()) / 2**10,
                "metrics": dict(result.metrics),
            }
        )
    )


def run_apart(stage: str, folder: Path) -> Mapping[str, float]:
    """Runs one stage in a process of its own and prints its row; returns the stage's metrics."""
    command = [sys.executable, __file__, "--stage", stage, "--keep", str(folder)]
    found = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    row = json.loads(found.stdout.splitlines()[-1])
    print(f"{stage:10} {row['cpu_seconds']:8.1f} {row['gib']:8.2f} {row['report_kib']:8.0f}", flush=True)
    return row["metrics"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=85_000)
    parser.add_argument("--classes", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        run_here(options.stage, options.keep)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        write_inputs(folder, options.rows, options.classes, options.seed)
        print(f"{platform.processor() or platform.machine()}, {options.rows:,} x {options.classes:,}")
        print(f"{'stage':10} {'CPU s':>8} {'GiB':>8} {'page KiB':>8}")
        metrics = [run_apart(stage, folder) for stage in STAGES]
    single, member = (metrics[0][f"best_{one}_macro_f1"] for one in ("single", "member"))
    voted = metrics[1]["macro_f1"]
    print(f"macro-F1: best single {single:.4f}, best member {member:.4f}, ensemble {voted:.4f}")


if __name__ == "__main__":
    main()
