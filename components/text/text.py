"""The text stage: trains one text classifier and leaves its probabilities, features and model."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.catalog import read_products, training_task
from components.config import parse_config
from components.trained import Trained, write_trained


def run_text(
    products: Path,
    config: dict[str, Any],
    kind: type,
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
        kind: the dataclass that `config` is checked against; it has `voter` and `cleaned`.
        train: `train_transformer` (the paper's) or `train_linear`.
        fold: train on the other folds and judge this one, out of fold; None for the whole training.
        probabilities: folder for the voter's matrices.
        features: file for the pooled features (empty for a fold's training).
        model: folder for the model.

    Returns:
        Metrics for the pipelines UI.

    Raises:
        InputError: the configuration or the table is wrong.
    """
    parsed: Any = parse_config(kind, config, where=f"text configuration {config.get('voter', '')!r}")
    catalog = read_products(products)
    task = training_task(catalog, fold=fold, cleaned=parsed.cleaned)
    trained = train(catalog, task, parsed, seed=seed, model=model)
    return write_trained(
        trained,
        catalog,
        task,
        voter=parsed.voter,
        modality="text",
        facts={"config": dataclasses.asdict(parsed), "seed": seed, "fold": fold},
        probabilities=probabilities,
        features=features,
    )
