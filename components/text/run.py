"""The text stage: trains one text classifier and leaves its probabilities, features and model."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from components.data.products import read_products, training_task
from components.modeling.trained import Trained, write_trained
from components.text.config import LinearConfig, TransformerConfig


def run_text(
    products: Path,
    config: TransformerConfig | LinearConfig,
    train: Callable[..., Trained],
    *,
    fold: int | None,
    seed: int,
    probabilities: Path,
    features: Path,
    model: Path,
) -> dict[str, float]:
    """Trains the classifier that `config` describes.

    Args:
        products: the product table.
        config: one item of the text configurations.
        train: `train_transformer` (the paper's) or `train_linear`.
        fold: train on the other folds and predict this one, out of fold; None for the whole training.
        probabilities: folder for the classifier's matrices.
        features: file for the pooled features (empty for a fold's training).
        model: folder for the model.

    Returns:
        Metrics for the pipelines UI.

    Raises:
        InputError: the configuration or the table is wrong.
    """
    catalog = read_products(products)
    task = training_task(catalog, fold=fold, cleaned=config.cleaned)
    trained = train(catalog, task, config, seed=seed, model=model)
    return write_trained(
        trained,
        catalog,
        task,
        name=config.name,
        modality="text",
        metadata={"config": dataclasses.asdict(config), "seed": seed, "fold": fold},
        probabilities=probabilities,
        features=features,
    )
