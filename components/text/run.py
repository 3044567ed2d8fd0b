"""The text stage: trains one text classifier and leaves its probabilities, features and model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.core.accelerators import check_accelerators
from components.data.products import read_products, training_task
from components.modeling.trained import TrainingSetup, write_trained
from components.text.config import TEXT_KINDS


def run_text(
    products: Path,
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
    """Trains the classifier that `config` describes.

    Args:
        products: the product table.
        config: one item of the text configurations.
        fold: train on the other folds and predict this one, out of fold; None for the whole training.
        checkpoints: a folder that outlives an attempt, from which a killed training goes on.
        gpu_type: the accelerator that the task asked for, "" for a CPU.
        gpu_count: how many.
        probabilities: folder for the classifier's matrices.
        features: file for the pooled features (empty for a fold's training).
        model: folder for the model.

    Returns:
        Metrics for the pipelines UI.

    Raises:
        InputError: the configuration or the table is wrong, or a GPU is missing.
    """
    parsed = TEXT_KINDS.parse(config)
    kind = TEXT_KINDS.of(parsed)
    gpus = check_accelerators(gpu_type, gpu_count) if kind.wants_gpu(parsed) else 0
    catalog = read_products(products)
    task = training_task(catalog, fold=fold, cleaned=parsed.cleaned)
    trained = kind.load_fit()(catalog, task, parsed, TrainingSetup(seed, model, checkpoints, gpus))
    return write_trained(
        trained,
        catalog,
        task,
        name=parsed.name,
        modality="text",
        metadata={"config": parsed.model_dump(), "seed": seed, "fold": fold},
        probabilities=probabilities,
        features=features,
    )
