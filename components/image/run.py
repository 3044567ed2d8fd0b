"""The image stage: trains one image classifier and writes what it makes of the products."""

from pathlib import Path

import numpy as np

from components.core.accelerators import check_accelerators
from components.core.stage import Result
from components.data.image_store import ImageStore
from components.data.products import read_products, training_task
from components.image.config import IMAGE_KINDS, ImageConfig
from components.modeling.trained import TrainingSetup, write_trained
from components.reports.page import safe_report
from components.reports.training import training_report


def run_image(
    products: Path,
    images: Path,
    config: ImageConfig,
    *,
    fold: int | None,
    seed: int,
    probabilities: Path,
    features: Path,
    model: Path,
    checkpoints: Path | None = None,
    gpu_type: str = "",
    gpu_count: str = "0",
) -> Result:
    """Trains one image configuration and writes its probabilities, pooled features and model.

    Args:
        fold: train on the other folds, predict this one and validation; None for the whole training.
        checkpoints: a folder that outlives an attempt, from which a killed training goes on.
        gpu_type, gpu_count: the accelerators that the task asked for; "" and "0" for a CPU.

    Returns:
        Metrics, and the report of the training.

    Raises:
        InputError: products, images or weights are wrong, a GPU is missing, or the loss is not a number.
    """
    kind = IMAGE_KINDS.of(config)
    gpus = check_accelerators(gpu_type, gpu_count) if kind.wants_gpu(config) else 0
    catalog = read_products(products)
    task = training_task(catalog, fold=fold, cleaned=config.cleaned)
    setup = TrainingSetup(seed, model, checkpoints, gpus)
    trained = kind.load_fit()(catalog, ImageStore(images), task, config, setup)
    metadata = {
        "config": config.model_dump(),
        "seed": seed,
        "fold": fold,
        "products_without_image": int(np.count_nonzero(catalog.table["image"].isna())),
        "their_probabilities": "the class frequencies of the products trained on",
    }
    outputs = {"probabilities": probabilities, "features": features}
    classifier = write_trained(
        trained, catalog, task, name=config.name, modality="image", metadata=metadata, **outputs
    )
    report = safe_report(lambda: training_report(classifier, catalog))
    return Result(classifier.metadata["metrics"], report)
