"""A small catalog that a test spoils before it is preprocessed."""

import csv
import io
from pathlib import Path
from typing import Any

from PIL import Image

from components.data.image_store import ImageStore
from components.data.products import Products, read_products
from components.preprocess.config import PreprocessConfig, Sources
from components.preprocess.run import run_preprocess, run_preprocess_new

TINY_IMAGE = {
    "name": "tiny",
    "backbone": "small_resnet",
    "weights": "scratch",
    "cleaned": True,
    "resize": [24, 18],
    "crop": [24, 18],
    "rotation": 0,
    "epochs": 1,
    "batch_size": 32,
    "dcl_epochs": 0,
}
# A run's parameters that end in seconds on a catalog of a few hundred products.
TINY_RUN: dict[str, Any] = {
    "image_configs": [TINY_IMAGE],
    "fusion_folds": 3,
    "ensemble_config": {"name": "ensemble", "vote": "weighted", "folds": 3},
}


def jpeg(color: tuple[int, int, int] = (200, 30, 30), size: tuple[int, int] = (24, 32)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "JPEG")
    return file.getvalue()


class TinyCatalog:
    """A catalog in the TSV dialect that a test can spoil before it is read."""

    header = ("Integer_id", "Title", "Description", "Image_id", "Product_id")

    def __init__(self, folder: Path, *, products: int = 60, test_products: int = 6, classes: int = 3) -> None:
        self.folder = folder
        self.rows = [[str(i), f"Titre {i}", "", str(1000 + i), str(5000 + i)] for i in range(products)]
        self.test_rows = [
            [str(i), f"Autre {i}", "", str(1000 + i), str(5000 + i)]
            for i in range(products, products + test_products)
        ]
        self.codes = [str(10 * (1 + i % classes)) for i in range(products)]
        self.images = {
            self.image_name(row): jpeg((i * 3 % 256, i * 7 % 256, i * 11 % 256))
            for i, row in enumerate(self.rows + self.test_rows)
        }

    @staticmethod
    def image_name(row: list[str]) -> str:
        return f"image_{row[3]}_product_{row[4]}.jpg"

    def write(self) -> Sources:
        for name, rows in (("X_train.tsv", self.rows), ("X_test.tsv", self.test_rows)):
            lines = ["\t".join(self.header), *("\t".join(row) for row in rows)]
            (self.folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        labels = [
            f"{row[0]}\t{row[3]}\t{row[4]}\t{code}" for row, code in zip(self.rows, self.codes, strict=False)
        ]
        header = "Integer_id\tImage_id\tProduct_id\tPrdtypecode"
        (self.folder / "Y_train.tsv").write_text("\n".join([header, *labels]) + "\n", encoding="utf-8")
        images = self.folder / "images"
        images.mkdir(exist_ok=True)
        for name, data in self.images.items():
            (images / name).write_bytes(data)
        return Sources(
            products=str(self.folder / "X_train.tsv"),
            labels=str(self.folder / "Y_train.tsv"),
            images=str(images),
            test_products=str(self.folder / "X_test.tsv"),
        )


def column(products: Products, name: str) -> list:
    return products.table[name].tolist()


OUTPUTS = ("products", "images", "quarantine", "profile")
NEW = ("new_products", "new_images", "new_quarantine")


class Prepared:
    """Both parts of a catalog, preprocessed: the labeled products, and the new ones."""

    def __init__(self, folder: Path, sources: Sources, config: PreprocessConfig) -> None:
        paths = {name: folder / "out" / name for name in (*OUTPUTS, *NEW)}
        labeled, new = {name: paths[name] for name in OUTPUTS}, {name: paths[name] for name in NEW}
        result = run_preprocess(sources, config, folds=4, seed=0, earlier_profile="", **labeled)
        of_labeled = {name: paths[name] for name in ("products", "profile")}
        more = run_preprocess_new(sources, config, **of_labeled, **new)
        self.counts = {
            name: result.metrics.get(name, 0) + more.metrics.get(name, 0)
            for name in {**result.metrics, **more.metrics}
        }
        self.report, self.new_report = result.report, more.report
        self.products, self.store = read_products(paths["products"]), ImageStore(paths["images"])
        self.new, self.new_store = read_products(paths["new_products"]), ImageStore(paths["new_images"])
        self.findings = [*_rows(paths["quarantine"]), *_rows(paths["new_quarantine"])]

    def findings_of(self, reason: str) -> list[dict[str, str]]:
        return [finding for finding in self.findings if finding["reason"] == reason]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def prepare(catalog: TinyCatalog, **config) -> Prepared:
    settings = {"max_quarantined": 0.2, **config}
    return Prepared(catalog.folder, catalog.write(), PreprocessConfig(**settings))
