"""Made-up catalogs of any size, and the stages that `growth.py` measures on them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks import many_classes
from benchmarks.catalog_texts import SYLLABLES, catalog_texts
from benchmarks.made_up_classifiers import (
    class_codes,
    draw_labels,
    draw_matrices,
    product_ids,
    products_table,
    write_inputs,
)
from components.client.presets import LAPTOP
from components.data.image_store import write_image_store
from components.data.probabilities import Classifier, Probabilities, write_classifier
from components.data.products import Products, read_products, write_products

FOLDS, PICTURE = 4, "one.jpg"
WRONG = 0.03  # labels, for denoising to find


def texts_of(labels: np.ndarray) -> tuple[list[str], list[str]]:
    """Titles, in which a class has two words of its own, and descriptions."""
    titles, descriptions = catalog_texts(len(labels))
    one, two = (np.array(SYLLABLES)[labels // len(SYLLABLES) ** power % len(SYLLABLES)] for power in (0, 1))
    named = zip(one.tolist(), two.tolist(), titles, strict=True)
    return [f"{first * 3} {second * 4} {title}" for first, second, title in named], descriptions


def draw(products: int, classes: int) -> np.ndarray:
    """Labels, the same for the same numbers."""
    return draw_labels(products, classes, np.random.default_rng(0))


def write_tables(folder: Path, products: int, classes: int) -> None:
    """A shop's file, which preprocess reads."""
    labels = draw(products, classes)
    titles, descriptions = texts_of(labels)
    columns = {"sku": product_ids(products), "name": titles, "text": descriptions}
    columns |= {"category": np.array(class_codes(classes))[labels]}
    picture = [PICTURE] + (products - 1) * [""]  # of one product, as a catalog without any is refused
    pd.DataFrame({**columns, "picture": picture}).to_csv(folder / "shop.csv", index=False)
    (folder / "pictures").mkdir()
    Image.new("RGB", (32, 32)).save(folder / "pictures" / PICTURE)


def write_split_products(folder: Path, products: int, classes: int) -> None:
    """A product table, split, as text and denoise read it."""
    labels = draw(products, classes)
    titles, descriptions = texts_of(labels)
    random, codes = np.random.default_rng(1), class_codes(classes)
    split = np.where(random.random(products) < 0.1, "validation", "train")
    folds = np.where(split == "train", random.integers(0, FOLDS, products), -1)
    placed = {"descriptions": descriptions, "split": split, "folds": folds}
    table = products_table(titles, labels, codes, **placed)
    write_products(Products(table, codes, {"dialect": "columns"}), folder / "products")
    write_image_store(folder / "images", [])


def write_out_of_fold(folder: Path, products: int, classes: int) -> None:
    """A product table with wrong labels, and what each fold predicted of it and of validation."""
    write_split_products(folder, products, classes)
    catalog = read_products(folder / "products")
    random = np.random.default_rng(2)
    said = draw_matrices(catalog.labels, classes, random)["text-a"].pred_probs
    codes = np.array(catalog.classes)
    wrong = np.where(random.random(products) < WRONG, random.permutation(catalog.labels), catalog.labels)
    table = catalog.table.assign(label=pd.array(wrong, dtype="Int64"), code=codes[wrong])
    write_products(replace(catalog, table=table), folder / "products")
    fold = catalog.table["fold"].fillna(-1).to_numpy(dtype=np.int64)
    for number in range(FOLDS):
        rows = {"out_of_fold": np.flatnonzero(fold == number), "validation": catalog.rows("validation")}
        matrices = {
            split: Probabilities(catalog.ids[at], catalog.classes, said[at]) for split, at in rows.items()
        }
        write_classifier(folder / f"fold-{number}", Classifier("text", "text", {"final": matrices}))


def preprocess(folder: Path) -> None:
    """Reads, cleans and splits the table."""
    from components.preprocess.config import PreprocessConfig, Sources
    from components.preprocess.run import run_preprocess

    columns = "product_id=sku,title=name,description=text,code=category,image=picture"
    run_preprocess(
        Sources(products=str(folder / "shop.csv"), images=str(folder / "pictures")),
        PreprocessConfig(columns=columns, on_bad_image="keep"),
        folds=FOLDS,
        seed=0,
        earlier_profile="",
        products=folder / "products",
        images=folder / "images",
        quarantine=folder / "quarantine",
        profile=folder / "profile",
    )


def text(folder: Path) -> None:
    """Trains the laptop preset's linear text classifier, and again on validation too."""
    from components.text.config import TEXT_KINDS
    from components.text.run import run_text

    run_text(
        folder / "products",
        TEXT_KINDS.parse(LAPTOP["text_configs"][0]),
        fold=None,
        seed=0,
        probabilities=folder / "probabilities",
        features=folder / "features",
        model=folder / "model",
    )


def denoise(folder: Path) -> None:
    """Finds label issues by what the folds predicted."""
    from components.denoise.config import DenoiseConfig
    from components.denoise.run import run_denoise

    run_denoise(
        folder / "products",
        [folder / f"fold-{number}" for number in range(FOLDS)],
        DenoiseConfig(**LAPTOP["denoise_configs"]["text"]),
        images=folder / "images",
        keep_ids="",
        cleaned=folder / "cleaned",
        label_issues=folder / "label_issues",
    )


def write_members(folder: Path, products: int, classes: int) -> None:
    """What five classifiers say of validation, and their twelve members by the kinds that fit nothing."""
    write_inputs(folder, products, classes)
    many_classes.fusion(folder, kinds=("mean", "product"))


# What a folder holds before, and the stages that are measured in it, one after the other.
CHAINS: list[tuple[Callable[[Path, int, int], None], dict[str, Callable[[Path], object]]]] = [
    (write_tables, {"preprocess": preprocess}),
    (write_split_products, {"text": text}),
    (write_out_of_fold, {"denoise": denoise}),
    (write_inputs, {"fusion": many_classes.fusion}),
    (write_members, {"ensemble": many_classes.ensemble, "evaluate": many_classes.evaluate}),
]
