"""A tiny consistent run: a catalog, its images, and every artifact that the late stages read."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from components.core.artifacts import write_manifest
from components.data.image_store import write_image_store
from components.data.prediction_files import DETAIL, QUEUE
from components.data.probabilities import Classifier, Probabilities, write_classifier
from components.data.products import SCHEMA, Products, write_products
from components.denoise import issues_file
from components.denoise.issues import LabelIssues

COLORS = ("#b5533c", "#3c6fb5", "#4c9a5a", "#8a5ab0", "#c09a35", "#3f9c9c", "#7a6a5c")
NOUNS = (
    "Chaise pliante",
    "Lampe de bureau",
    "Roman policier",
    "Peluche ours",
    "Console de jeu",
    "Coussin",
    "Piscine",
)
TSV_COLUMNS = [
    ["Integer_id", "row_id"],
    ["Image_id", "image_id"],
    ["Product_id", "product_id"],
    ["Prdtypecode", "code"],
]


@dataclass(frozen=True)
class Run:
    """Paths of a synthetic run's artifacts, as the pipeline would pass them."""

    products: Path
    images: Path
    text: list[Path]
    image: list[Path]
    members: Path
    feature_level: Path
    ensemble: Path
    label_issues: Path
    new_products: Path
    predictions: Path

    @property
    def stages(self) -> dict[str, Any]:
        """The arguments of `run_evaluate` that are artifacts."""
        return dict(vars(self))


def make_products(
    count: int = 240,
    classes: int = 5,
    *,
    seed: int = 0,
    test_labels: bool = False,
    titles: Sequence[str] = (),
    metadata: dict[str, Any] | None = None,
) -> Products:
    """Products in three splits, 6:2:2, half of them with a description; every tenth repeats a group.

    Args:
        titles: take the place of the first products' titles, in every split.
    """
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    random.shuffle(labels)
    codes = sorted(str(10 * (number + 1)) for number in range(classes))
    split = np.array(["train"] * (count * 6 // 10) + ["validation"] * (count * 2 // 10))
    split = np.append(split, ["test"] * (count - len(split)))
    labeled = (split != "test") | test_labels
    table = pd.DataFrame(
        {
            "product_id": [f"p{9000 + number}" for number in range(count)],
            "title": [f"{NOUNS[label % len(NOUNS)]} modèle {number}" for number, label in enumerate(labels)],
            "description": ["Très solide, livrée montée." if number % 2 else "" for number in range(count)],
            "image": [f"image-{number}" if number % 20 else None for number in range(count)],
            "code": [codes[label] if known else None for label, known in zip(labels, labeled, strict=True)],
            "label": pd.array(
                [int(label) if known else None for label, known in zip(labels, labeled, strict=True)],
                dtype="Int64",
            ),
            "split": split,
            "fold": pd.array(
                [number % 4 if name == "train" else None for number, name in enumerate(split)], dtype="Int64"
            ),
            "group": [number - number % 10 if number % 10 == 1 else number for number in range(count)],
            "removed": False,
            "row_id": [str(number) for number in range(count)],
            "image_id": [str(500_000 + number) for number in range(count)],
        }
    )
    for name in dict.fromkeys(split):
        rows = np.flatnonzero(split == name)[: len(titles)]
        table.loc[rows, "title"] = list(titles)[: len(rows)]
    defaults = {"dialect": "tsv", "delimiter": "\t", "labels_columns": TSV_COLUMNS}
    return Products(table.reindex(columns=SCHEMA.names), tuple(codes), {**defaults, **(metadata or {})})


def true_labels(count: int, classes: int, *, seed: int = 0) -> np.ndarray:
    """The labels that `make_products` drew, of unlabeled products too."""
    labels = np.arange(count) % classes
    np.random.default_rng(seed).shuffle(labels)
    return labels


def make_classifier(
    name: str,
    modality: str,
    products: Products,
    truth: np.ndarray,
    skill: float,
    *,
    seed: int,
    **metadata: Any,
) -> Classifier:
    """A classifier whose probabilities lean to the truth; the larger `skill`, the more often it is right."""
    random = np.random.default_rng(seed)
    logits = random.gumbel(size=(len(truth), len(products.classes)))
    logits[np.arange(len(truth)), truth] += skill
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    splits = {
        split: Probabilities(
            products.ids[products.rows(split)],
            products.classes,
            probabilities[products.rows(split)].astype(np.float32),
        )
        for split in ("validation", "test")
        if len(products.rows(split))
    }
    return Classifier(name, modality, {"best": splits}, metadata)


def draw_images(products: Products) -> list[tuple[str, int, int, bytes]]:
    """A plain drawing for every product with an image: (key, width, height, JPEG bytes)."""
    images = []
    for key, label in zip(products.table["image"], products.labels, strict=True):
        if isinstance(key, str):
            picture = Image.new("RGB", (120, 90), "white")
            ImageDraw.Draw(picture).ellipse((20, 10, 100, 80), fill=COLORS[int(label) % len(COLORS)])
            file = io.BytesIO()
            picture.save(file, "JPEG")
            images.append((key, 120, 90, file.getvalue()))
    return images


def write_issues(products: Products, folder: Path, *, count: int = 12) -> None:
    """What denoising leaves: the first labeled products flagged, half of them removed."""
    rows = np.arange(count)
    suggested = (products.labels[rows] + 1) % len(products.classes)
    issues = LabelIssues(rows, suggested, rows / 100, rows % 2 == 1)
    issues_file.write_issues(issues_file.issues_table(products, issues), folder)


def write_run(folder: Path, products: Products | None = None, *, classes: int = 5, seed: int = 0) -> Run:
    """Writes a whole run: two text and two image classifiers, four members, one feature-level classifier."""
    products = products or make_products(classes=classes, seed=seed)
    truth = true_labels(len(products.table), len(products.classes), seed=seed)
    run = Run(
        products=folder / "products.parquet",
        images=folder / "images",
        text=[folder / "text" / name for name in ("camembert", "words")],
        image=[folder / "image" / name for name in ("resnet", "small")],
        members=folder / "members",
        feature_level=folder / "feature_level",
        ensemble=folder / "ensemble",
        label_issues=folder / "label_issues",
        new_products=folder / "new_products",
        predictions=folder / "predictions",
    )
    write_products(part(products, test=False), run.products)
    write_products(part(products, test=True), run.new_products)
    write_image_store(run.images, draw_images(products))
    write_issues(products, run.label_issues)
    classifiers = [(path, path.name, "text", 3.0 - number) for number, path in enumerate(run.text)]
    classifiers += [(path, path.name, "image", 1.6 - number) for number, path in enumerate(run.image)]
    classifiers += [
        (run.members / f"member-{number}", f"member-{number}", "fusion", 3.2 + number / 10)
        for number in range(4)
    ]
    classifiers += [(run.feature_level / "concatenation", "concatenation", "fusion", 2.9)]
    classifiers += [(run.ensemble, "ensemble", "ensemble", 4.0)]
    for number, (path, name, modality, skill) in enumerate(classifiers):
        classifier = make_classifier(
            name, modality, products, truth, skill, seed=100 + number, config={"name": name}
        )
        write_classifier(path, classifier)
        write_predicted(run, path, classifier)
    for several in (run.members, run.feature_level):
        write_manifest(several)
    run.predictions.mkdir(exist_ok=True)
    for name in (DETAIL, QUEUE):
        (run.predictions / name).write_text("product_id\tcode\n", encoding="utf-8")
    write_manifest(run.predictions, counts={}, threshold={})
    return run


def part(products: Products, *, test: bool) -> Products:
    """The products to categorize, or the others."""
    rows = (products.table["split"] == "test") == test
    return replace(products, table=products.table[rows].reset_index(drop=True))


def write_predicted(run: Run, path: Path, classifier: Classifier) -> None:
    """What the predict task leaves of a classifier that the model keeps."""
    if test := classifier.matrices["best"].get("test"):
        where = run.predictions / path.relative_to(run.ensemble.parent)
        write_classifier(where, replace(classifier, matrices={"chosen": {"test": test}}))
