"""A shop whose catalog is looked at week after week: what the monitor says, and what was trained."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from sides import probabilities
from synthetic import draw_images, make_products, part

from components.core.artifacts import write_json, write_manifest
from components.core.stage import Result
from components.data.image_store import ImageStore, write_image_store
from components.data.prediction_files import DETAIL
from components.data.products import Products, write_products
from components.ensemble.package import MODEL, PRODUCTS, PROFILE, VALIDATION, content_digests
from components.lifecycle.champion import promote, read_champion
from components.lifecycle.config import DriftConfig
from components.lifecycle.monitor import MonitorRequest, run_monitor
from components.lifecycle.store import LAST, ModelStore
from components.preprocess.profile.profile import profile_catalog


def usual() -> Products:
    """The catalog of a usual week: labeled products and new ones."""
    return make_products(400, 4)


def write_images(folder: Path) -> Path:
    """Writes the image store of a usual week."""
    write_image_store(folder, draw_images(usual()))
    return folder


@dataclass(frozen=True)
class Week:
    """What the monitor made of a week."""

    plan: dict[str, Any]
    result: Result


class Shop:
    """A folder with a store of models, and the artifacts that the monitor reads and writes.

    Args:
        images: the image store of all products; see `write_images`.
    """

    def __init__(self, folder: Path, images: Path) -> None:
        self.folder, self.images, self.store = folder, images, str(folder / "store")
        self.models = ModelStore(self.store)
        self.said: np.ndarray | None = None  # probabilities of the champion for the next week's new products

    def week(self, products: Products | None = None, config: DriftConfig | None = None, **asked: Any) -> Week:
        """Looks at a catalog."""
        products = products or usual()
        labeled, new = part(products, test=False), part(products, test=True)
        paths = {name: self.folder / name for name in ("products", "new_products", "profile")}
        write_products(labeled, paths["products"])
        write_products(new, paths["new_products"])
        write_json(paths["profile"], profile_catalog(labeled, ImageStore(self.images, check=False)))
        given = {"store": self.store, "name": self.models.name, "settings_digest": "settings", **asked}
        out = {name: self.folder / name for name in ("plan", "predictions", "last_run")}
        asked_for = MonitorRequest(config or DriftConfig(), **given)
        predict = self._predict if given["store"] else None
        result = run_monitor(**paths, new_images=self.images, asked=asked_for, predict=predict, **out)
        return Week(json.loads(out["plan"].read_text(encoding="utf-8")), result)

    def train(
        self, week: Week, products: Products | None = None, *, promoted: bool = True, day: int = 1
    ) -> str:
        """Stores a model of a week's catalog, and what the gate said of it; returns its version."""
        labeled = part(products or usual(), test=False)
        package, classes = self.folder / f"package-{day}", list(labeled.classes)
        table: Any = labeled.table[["product_id", "code", "split", "group"]]
        table.assign(fold=0, content=content_digests(labeled.table)).to_parquet(_made(package) / PRODUCTS)
        write_json(package / MODEL, {"classes": classes})
        (package / PROFILE).write_bytes((self.folder / "profile").read_bytes())
        labels = labeled.labels[labeled.rows("validation")]
        save_file({"pred_probs": probabilities(labels, len(classes))}, package / VALIDATION)
        at = f"2026-01-{day:02d}T03:00:00+00:00"
        write_manifest(package, format=1, created=at)
        version = self.models.add(package)
        last = {"version": version, "training_digest": week.plan["digest"], "promote": promoted, "at": at}
        self.models.write_json(LAST, last)
        if promoted:
            champion = read_champion(self.models)
            promote(self.models, self.models.version(version), instead_of=champion, why="better")
        return version

    def _predict(self, package: Path, new: Products, images: ImageStore, folder: Path) -> np.ndarray:
        (folder / DETAIL).write_text("product_id\tcode\tprobability\np1\t10\t0.9\n")
        usual_answers = probabilities(np.arange(len(new.table)) % 4, 4)
        return usual_answers if self.said is None else self.said[: len(new.table)]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
