"""A model package of a few kilobytes, trained in a second or two: TF-IDF of words, and means of it.

`python tests/support/small_package.py` writes the one that every later release must read, once a format.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from image_catalog import write_catalog  # noqa: E402
from text_catalog import WORDS, text_products  # noqa: E402

from components.core.artifacts import read_manifest, write_json, write_manifest  # noqa: E402
from components.core.reading import read_json  # noqa: E402
from components.data.image_store import ImageStore, write_image_store  # noqa: E402
from components.data.products import Products, read_products, write_products  # noqa: E402
from components.ensemble.config import PARAMETERS as ENSEMBLE  # noqa: E402
from components.ensemble.package import FORMAT, MODEL  # noqa: E402
from components.ensemble.run import run_ensemble  # noqa: E402
from components.fusion.config import PARAMETERS as FUSION  # noqa: E402
from components.fusion.run import run_fusion  # noqa: E402
from components.image.config import IMAGE_KINDS  # noqa: E402
from components.image.run import run_image  # noqa: E402
from components.preprocess.config import PreprocessConfig  # noqa: E402
from components.preprocess.profile.profile import profile_catalog  # noqa: E402
from components.text.config import TEXT_KINDS  # noqa: E402
from components.text.run import run_text  # noqa: E402

PACKAGES = ROOT / "tests" / "lifecycle" / "packages"
KEPT = PACKAGES / f"format-{FORMAT}"
LINEAR = {"kind": "linear", "features": 4, "word_ngrams": 1, "char_ngrams": []}
TEXTS = [{"name": "words", **LINEAR, "refit": True}, {"name": "unused", **LINEAR}]
COLOR_HISTOGRAM = {"name": "colors", "kind": "color_histogram", "epochs": 1, "min_steps": 30}
FUSIONS = [{"name": "mean", "kind": "mean"}, {"name": "product", "kind": "product"}]
LEFT = ("probabilities", "features", "model")
CALIBRATION = {"kind": "temperature_and_floor", "temperature": 0.5, "floor": 0.1}
VOTE = {"name": "small", "vote": "soft", "select": "greedy", "folds": 2}


def write_package(folder: Path) -> Path:
    """Writes `folder/model`, trained on the labeled products of `folder/products`; returns its path."""
    write_image_store(folder / "images", [])
    return _train(folder, text_products(), [])


def write_package_of_both(folder: Path) -> Path:
    """`write_package` of a model that reads titles, and the colors of the images in `folder/images`."""
    _, _, products = write_catalog(folder)
    random, words = np.random.default_rng(0), list(WORDS.values())
    titles = [" ".join(random.choice(words[row % 3], 2)) for row in range(len(products.table))]
    products.table["title"] = titles
    return _train(folder, products, [COLOR_HISTOGRAM])


def _train(folder: Path, whole: Products, image_configs: list[dict[str, Any]]) -> Path:
    images = folder / "images"
    form = {"delimiter": "\t", "preprocess": PreprocessConfig().model_dump(), "class_names": {"10": "Livres"}}
    labeled = whole.table.iloc[np.flatnonzero(whole.table["split"] != "test")].reset_index(drop=True)
    write_products(Products(labeled, whole.classes, form), folder / "products")
    profile = profile_catalog(read_products(folder / "products"), ImageStore(images))
    write_json(folder / "profile.json", profile)
    for config in map(TEXT_KINDS.parse, TEXTS):
        outputs: dict[str, Any] = {name: folder / f"{config.name}-{name}" for name in LEFT}
        run_text(folder / "products", config, fold=None, seed=0, **outputs)
    for config in map(IMAGE_KINDS.parse, image_configs):
        outputs = {name: folder / f"{config.name}-{name}" for name in LEFT}
        run_image(folder / "products", images, config, fold=None, seed=0, **outputs)
    text, features, models = ([folder / f"{config['name']}-{name}" for config in TEXTS] for name in LEFT)
    image, image_features, image_models = (
        [folder / f"{config['name']}-{name}" for config in image_configs] for name in LEFT
    )
    given = {"products": folder / "products", "images": images}
    fused = {name: folder / name for name in ("members", "feature_level", "fusion_model")}
    run_fusion(
        **given,
        text=text,
        image=image,
        text_features=features,
        image_features=image_features,
        text_models=models,
        image_models=image_models,
        configs=FUSION["fusion_configs"](FUSIONS),
        folds=3,
        seed=0,
        **fused,
    )
    run_ensemble(
        **given,
        **fused,
        text_models=models,
        image_models=image_models,
        profile=folder / "profile.json",
        config=ENSEMBLE["ensemble_config"](VOTE),
        probabilities=folder / "ensemble",
        ensemble_model=folder / "model",
    )
    return folder / "model"


def with_document(package: Path, **changes: Any) -> Path:
    """The package with other entries in `model.json`, sealed anew."""
    manifest = read_manifest(package)
    write_json(package / MODEL, {**read_json(package / MODEL, "a model's description"), **changes})
    write_manifest(package, **{name: value for name, value in manifest.items() if name != "files"})
    return package


def new_products() -> Products:
    """The products that nothing was trained on."""
    whole = text_products()
    return replace(
        whole, table=whole.table.iloc[np.flatnonzero(whole.table["split"] == "test")].reset_index(drop=True)
    )


def main() -> None:
    from tempfile import TemporaryDirectory

    from components.lifecycle.model import load_model

    with TemporaryDirectory() as folder:
        write_package(Path(folder)).rename(KEPT)
    answers = load_model(KEPT).predict(new_products().table)
    write_json(
        KEPT.with_suffix(".json"),
        {"codes": answers.codes.tolist(), "first": np.round(answers.pred_probs[0], 6).tolist()},
    )


if __name__ == "__main__":
    main()
