"""One tiny training of every kind on one catalog whose texts and images both tell the class."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from encoder_families import family
from fusion_classifiers import StagePaths, run_fusion_stage
from image_catalog import CONFIG, DCL, write_catalog
from safetensors.torch import save_file
from text_catalog import WORDS, small_config

from components.core.artifacts import read_manifest
from components.data.products import Products, read_products, write_products
from components.fusion.config import FUSION_KINDS
from components.image.config import IMAGE_KINDS
from components.image.run import run_image
from components.modeling.text.encoder import save_encoder
from components.modeling.text.tokens import train_tokenizer
from components.text.config import TEXT_KINDS
from components.text.run import run_text

COUNT, WITHOUT_IMAGE = 60, (3, 40, 55)
COLORS = {"name": "colors", "kind": "color_histogram", "epochs": 1, "min_steps": 30, "refit": True}
WEAK = {**CONFIG, "name": "weak", "epochs": 1, "learning_rate": 1e-6}
FROZEN = {"kind": "frozen", "refit": True}
POOLED = {"epochs": 2, "batch_size": 8}
REGISTRIES = {"text": TEXT_KINDS, "image": IMAGE_KINDS, "fusion": FUSION_KINDS}


def text_configs(weights: Path) -> dict[str, dict[str, Any]]:
    """A small configuration of every kind of text classifier."""
    frozen = {**FROZEN, "name": "frozen-text", "weights": str(weights), "max_tokens": 32}
    return {
        "linear": {"name": "tfidf", "kind": "linear", "features": 8, "refit": True},
        "transformer": small_config(epochs=4, late_checkpoints=3).model_dump(),
        "frozen": frozen,
    }


def image_configs(weights: Path) -> dict[str, dict[str, Any]]:
    """A small configuration of every kind of image classifier."""
    frozen = {**FROZEN, "name": "frozen-image", "weights": str(weights), "size": [32, 32]}
    return {
        "network": {**CONFIG, **DCL, "kind": "network", "late_checkpoints": 1, "keep_stage1": True},
        "color_histogram": COLORS,
        "frozen": {**frozen, "classifier": "mlp"},
        "best_of": {"name": "best", "kind": "best_of", "candidates": [WEAK, COLORS]},
    }


def fusion_configs() -> dict[str, list[dict[str, Any]]]:
    """Small configurations of every kind of fusion."""
    nets = {kind: [{"name": kind, "kind": kind, "epochs": 3}] for kind in ("linear", "mlp")}
    others = {kind: [{"name": kind, "kind": kind}] for kind in ("logistic", "mean", "product")}
    others["mean"].append({"name": "mean-all", "kind": "mean", "inputs": "all"})
    pooled = {
        kind: [
            {"name": f"{kind}-{training}", "kind": kind, "training": training, **POOLED}
            for training in ("step_by_step", "end_to_end")
        ]
        for kind in ("concat", "sum", "attention")
    }
    net = {"name": "joint", "kind": "ngram_color_mlp", "min_train_products": 0, "epochs": 1, "min_steps": 20}
    return {**nets, **others, **pooled, "ngram_color_mlp": [{**net, "refit": True}]}


@dataclass(frozen=True)
class EveryKind:
    """What was trained, under one folder: `text/KIND/`, `image/KIND/`, and the fusion of some of them."""

    folder: Path
    products: Products
    images: Path

    def of(self, stage: str, kind: str, part: str) -> Path:
        """An output of one training of the text or the image stage."""
        return self.folder / stage / kind / part

    def fused(self, kind: str) -> Iterator[tuple[str, str, Path]]:
        """Name, level and model folder of what a kind of fusion made."""
        root = self.folder / "fusion-model"
        manifest = read_manifest(root)
        for level in ("members", "feature_level"):
            for name, place in manifest[level].items():
                if read_manifest(root / place)["kind"] == kind:
                    yield name, level, root / place


def train_every_kind(folder: Path) -> EveryKind:
    """Trains every kind once."""
    products, images, catalog = write_catalog(folder, COUNT, without_image=WITHOUT_IMAGE)
    random, words = np.random.default_rng(0), list(WORDS.values())
    catalog.table["title"] = [" ".join(random.choice(words[row % 3], 3)) for row in range(COUNT)]
    catalog.table["description"] = ["" if row % 4 else "neuf" for row in range(COUNT)]
    write_products(Products(catalog.table, catalog.classes), products)
    text_weights, image_weights = _write_weights(folder, catalog.table["title"].tolist())
    for kind, config in text_configs(text_weights).items():
        run_text(products, TEXT_KINDS.parse(config), fold=None, seed=0, **_outputs(folder / "text" / kind))
    for kind, config in image_configs(image_weights).items():
        outputs = _outputs(folder / "image" / kind)
        run_image(products, images, IMAGE_KINDS.parse(config), fold=None, seed=0, **outputs)
    lists = [
        [folder / stage / kind / part for kind in kinds]
        for part in ("probabilities", "features", "model")
        for stage, kinds in (("text", ("linear", "transformer")), ("image", ("network", "color_histogram")))
    ]
    configs = [config for configs in fusion_configs().values() for config in configs]
    run_fusion_stage(StagePaths(products, images, *lists), folder, configs, folds=2)
    return EveryKind(folder, read_products(products), images)


def _outputs(folder: Path) -> dict[str, Any]:
    return {part: folder / part for part in ("probabilities", "features", "model")}


def _write_weights(folder: Path, titles: list[str]) -> tuple[Path, Path]:
    """Random weights of a text encoder and of a backbone, as a hub has pretrained ones."""
    torch.manual_seed(0)
    text, image = folder / "text-weights", folder / "image-weights"
    tokenizer = train_tokenizer(titles, vocabulary=300, max_tokens=64)
    save_encoder(text, family("camembert"), tokenizer, list("abcde"))
    image.mkdir()
    save_file(timm.create_model("small_resnet").state_dict(), image / "model.safetensors")
    (image / "config.json").write_text(json.dumps({"architecture": "small_resnet"}))
    return text, image
