"""What five classifiers say of a made-up catalog of many classes, and what else evaluation reads.

Classes lie in groups of ten alike, a few are large and most small; text and image each see a product's place
among the classes with noise of their own, and what classifiers of one modality see is partly the same.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from components.core.artifacts import write_manifest
from components.data.class_tree import PATHS
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
BLOCK = 2048  # rows


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
    """(N,) ids of so many products."""
    return np.array([f"p{row}" for row in range(rows)], dtype=object)


def class_codes(classes: int) -> tuple[str, ...]:
    """The codes of so many classes."""
    return tuple(f"{number:05d}" for number in range(classes))


def products_table(
    titles: Sequence[str],
    labels: np.ndarray,
    codes: Sequence[str],
    *,
    descriptions: Sequence[str] | str = "",
    split: np.ndarray | str = "validation",
    folds: np.ndarray | None = None,
) -> pd.DataFrame:
    """A product table of (N,) labels without images; `folds` are -1 where a product has none."""
    folds = np.full(len(labels), -1) if folds is None else folds
    columns = {
        "product_id": product_ids(len(labels)),
        "title": titles,
        "description": descriptions,
        "image": None,
        "code": np.array(codes)[labels],
        "label": pd.array(labels, dtype="Int64"),
        "split": split,
        "fold": pd.arrays.IntegerArray(folds, folds < 0),
        "group": np.arange(len(labels)),
        "removed": False,
        "row_id": "",
        "image_id": "",
    }
    return pd.DataFrame(columns).reindex(columns=SCHEMA.names)


def write_catalog(folder: Path, labels: np.ndarray, classes: int) -> None:
    """The products, all of validation, an empty image store, and what the stages ask for beside."""
    codes = class_codes(classes)
    titles = [f"product of class {codes[label]}" for label in labels]
    table = products_table(titles, labels, codes)
    parents = {code: (f"Department {int(code) // 100}", f"Shelf {int(code) // ALIKE}") for code in codes}
    paths = {code: [*parents[code], f"Class {code}"] for code in codes}
    names = {code: path[-1] for code, path in paths.items()}
    products = Products(table, codes, {"class_names": names, PATHS: paths, "dialect": "columns"})
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


def write_inputs(folder: Path, rows: int, classes: int, seed: int = 0) -> None:
    """All that fusion reads."""
    random = np.random.default_rng(seed)
    labels = draw_labels(rows, classes, random)
    write_catalog(folder, labels, classes)
    for name, matrix in draw_matrices(labels, classes, random).items():
        modality = name.split("-")[0]
        write_classifier(folder / name, Classifier(name, modality, {"best": {"validation": matrix}}))
        (folder / "models" / name).mkdir(parents=True)
        write_manifest(folder / "models" / name, name=name)
