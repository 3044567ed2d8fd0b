"""The image stage: trains one image classifier and writes what it makes of the products."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from components.core.accelerators import check_accelerators
from components.data.image_store import ImageStore
from components.data.products import read_products, training_task
from components.image.config import IMAGE_KINDS
from components.modeling.trained import TrainingSetup, write_trained


def run_image(
    products: Path,
    images: Path,
    config: Mapping[str, Any],
    *,
    fold: int | None,
    seed: int,
    probabilities: Path,
    features: Path,
    model: Path,
    checkpoints: Path | None = None,
    gpu_type: str = "",
    gpu_count: str = "0",
) -> dict[str, float]:
    """Trains one image configuration and writes its probabilities, pooled features and model.

    Args:
        products: the product table.
        images: the image store.
        config: one item of the image configurations.
        fold: train on the other folds and predict this one, as `out_of_fold`; None trains on train and
            predicts validation and test.
        checkpoints: a folder that outlives an attempt, from which a killed training goes on.
        gpu_type: the accelerator that the task asked for, "" for a CPU.
        gpu_count: how many.

    Returns:
        Scalars for the pipelines UI.

    Raises:
        InputError: the configuration, the products, the images or the weights are wrong, a GPU is missing, or
            the loss is not a number.
    """
    parsed = IMAGE_KINDS.parse(config)
    kind = IMAGE_KINDS.of(parsed)
    gpus = check_accelerators(gpu_type, gpu_count) if kind.wants_gpu(parsed) else 0
    catalog = read_products(products)
    task = training_task(catalog, fold=fold, cleaned=parsed.cleaned)
    setup = TrainingSetup(seed, model, checkpoints, gpus)
    trained = kind.load_fit()(catalog, ImageStore(images), task, parsed, setup)
    metadata = {
        "config": parsed.model_dump(),
        "seed": seed,
        "fold": fold,
        "products_without_image": int(np.count_nonzero(catalog.table["image"].isna())),
        "their_probabilities": "the class frequencies of the products trained on",
    }
    return write_trained(
        trained,
        catalog,
        task,
        name=parsed.name,
        modality="image",
        metadata=metadata,
        probabilities=probabilities,
        features=features,
    )
