"""The image stage: trains one image classifier and writes what it makes of the products."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from components.data.image_store import ImageStore
from components.data.products import read_products, training_task
from components.image.color_histogram import train_colors
from components.image.config import ColorConfig, ImageConfig, parse_image_config
from components.image.stages import train_image
from components.modeling.image.backbones import check_backbone
from components.modeling.trained import write_trained


def run_image(
    products: Path,
    images: Path,
    config: dict[str, Any],
    *,
    fold: int | None,
    seed: int,
    probabilities: Path,
    features: Path,
    model: Path,
    checkpoints: Path | None,
) -> dict[str, float]:
    """Trains one image configuration and writes its probabilities, pooled features and model.

    Args:
        products: the product table.
        images: the image store.
        config: the keys of `ImageConfig`, or with `kind` "colors" of `ColorConfig`.
        fold: train on the other folds and predict this one, as `out_of_fold`; None trains on train and
            predicts validation and test.
        checkpoints: a folder that outlives an attempt, from which a killed training goes on.

    Returns:
        Scalars for the pipelines UI.

    Raises:
        InputError: the configuration, the products, the images or the weights are wrong, or the loss
            is not a number.
    """
    settings = parse_image_config(config)
    if isinstance(settings, ImageConfig):
        check_backbone(settings.backbone, [stage.crop for stage in settings.stages()])
    catalog = read_products(products)
    task = training_task(catalog, fold=fold, cleaned=settings.cleaned)
    store = ImageStore(images)
    if isinstance(settings, ColorConfig):
        trained = train_colors(catalog, store, task, settings, seed=seed, model=model)
    else:
        trained = train_image(catalog, store, task, settings, seed=seed, model=model, checkpoints=checkpoints)
    metadata = {
        "config": dataclasses.asdict(settings),
        "seed": seed,
        "fold": fold,
        "products_without_image": int(np.count_nonzero(catalog.table["image"].isna())),
        "their_probabilities": "the class frequencies of the products trained on",
    }
    return write_trained(
        trained,
        catalog,
        task,
        name=settings.name,
        modality="image",
        metadata=metadata,
        probabilities=probabilities,
        features=features,
    )
