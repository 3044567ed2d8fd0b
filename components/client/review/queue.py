"""What people are asked: labels that look wrong, and new products that a run is unsure of."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from components.core.errors import InputError
from components.data.decisions import Decision, decisions_of
from components.data.image_store import ImageStore
from components.data.prediction_files import QUEUE, read_cells
from components.data.products import Products, read_products
from components.reports.page import class_label_of, class_labels, plain, read_issue_rows

TYPICAL = 3  # products shown of a class
TEXT = 600  # characters of a description that are shown


@dataclass(frozen=True)
class Question:
    """One product whose code is in doubt.

    Attributes:
        part: "labeled" or "new": in which table the product stands.
        row: its number there.
        given: its label; "" of a new product.
        suggested: the code that the models suggest.
        why: one line.
    """

    part: str
    row: int
    product_id: str
    given: str
    suggested: str
    why: str

    @property
    def codes(self) -> list[str]:
        """The codes that it is between."""
        return list(filter(None, (self.given, self.suggested)))


@dataclass(frozen=True)
class CatalogPart:
    """Products with their pictures."""

    products: Products
    images: ImageStore

    def picture(self, row: int) -> bytes | None:
        """The JPEG of a product; None where it has none."""
        key = self.products.table["image"].iloc[row]
        return bytes(self.images.encoded(key)) if isinstance(key, str) and key in self.images else None

    def row(self, product: str, where: Path) -> int:
        """The row of a product that a file names; `InputError` where there is none."""
        if product not in self._row_of:
            raise InputError(f"{where}: product {product!r} is none of the run's: was the file changed?")
        return self._row_of[product]

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {product: row for row, product in enumerate(self.products.ids.tolist())}


@dataclass
class Queue:
    """What a run asks, in the order in which a look is worth most.

    Attributes:
        parts: the labeled and the new products.
        decided: what people had decided before the run.
    """

    parts: dict[str, CatalogPart]
    questions: list[Question]
    decided: list[Decision] = field(default_factory=list)

    @property
    def classes(self) -> dict[str, str]:
        """Code -> how the class is called."""
        products = self.parts["labeled"].products
        names = products.metadata.get("class_names", {})
        return {code: class_label_of(code, names) for code in products.classes}

    def shown(self, question: Question) -> dict[str, Any]:
        """A question's product as the page shows it."""
        product = self.parts[question.part].products.table.iloc[question.row]
        return {
            "title": plain(product["title"], 300) or "(no title)",
            "description": plain(product["description"], TEXT),
            "picture": f"/picture/{question.part}/{question.row}",
            "pictured": isinstance(product["image"], str),
        }

    def typical(self, code: str) -> list[dict[str, Any]]:
        """Up to three labeled products with a picture that nobody doubts, of a class: row and title."""
        products = self.parts["labeled"].products
        doubted = [question.row for question in self.questions if question.part == "labeled"]
        usable = products.table["image"].notna().to_numpy() & (products.table["code"] == code).to_numpy()
        usable[doubted] = False
        titles = products.table["title"]
        return [
            {"row": row, "title": plain(titles.iloc[row], 90)}
            for row in np.flatnonzero(usable)[:TYPICAL].tolist()
        ]


def read_queue(folder: Path) -> Queue:
    """What a run's folder asks.

    Raises:
        InputError: it lacks the products or their pictures, or a file is damaged.
    """
    of_labeled = "preprocess/images"
    labeled = _part(folder, "denoise/cleaned", of_labeled) or _part(folder, "preprocess/products", of_labeled)
    if labeled is None:
        raise InputError(f"{folder}: its artifacts lack the products or their pictures: run it again")
    parts = {"labeled": labeled}
    questions = [*_doubted_labels(folder, labeled)]
    if new := _part(folder, "preprocess-new/new_products", "preprocess-new/new_images"):
        parts["new"] = new
        questions += _new_products(folder, new)
    return Queue(parts, questions, decisions_of(labeled.products.metadata))


def _part(folder: Path, products: str, images: str) -> CatalogPart | None:
    found = [next((folder / "artifacts").glob(f"*/{name}"), None) for name in (products, images)]
    if found[0] is None or found[1] is None:
        return None
    return CatalogPart(read_products(found[0]), ImageStore(found[1]))


def _doubted_labels(folder: Path, labeled: CatalogPart) -> Iterator[Question]:
    path = folder / "label_issues.tsv"
    if not path.is_file():  # the run trained nothing
        return
    for issue in read_issue_rows(path).to_dict("records"):
        product, removed = issue["product_id"], "left out of training" if issue["removed"] else "trained on"
        why = f"score {issue['score']:.3f}, {removed}; 0 is surely wrong, 0.5 undecided"
        codes = issue["given_code"], issue["suggested_code"]
        yield Question("labeled", labeled.row(product, path), product, *codes, why)


def _new_products(folder: Path, new: CatalogPart) -> Iterator[Question]:
    path = folder / QUEUE
    if not path.is_file():
        return
    names = class_labels(new.products)
    for row in read_cells(path).to_dict("records"):
        product, sure = row["product_id"], f"{100 * float(row['probability']):.0f} % sure"
        said = {"text": row["text"], "image": row["image"], "next": row["second_code"]}
        why = [sure, *(f"{who}: {names.get(code, code)}" for who, code in said.items() if code), row["flag"]]
        yield Question("new", new.row(product, path), product, "", row["code"], "; ".join(filter(None, why)))
