"""The text stage: trains one text classifier and leaves its probabilities, features and model."""

import dataclasses
from pathlib import Path
from typing import Any

from components.catalog import read_products, training_task
from components.config import parse_config
from components.errors import InputError
from components.text.linear import LinearConfig, train_linear
from components.text.transformer import train_transformer
from components.text.transformer_config import TransformerConfig
from components.trained import write_trained

KINDS = {"transformer": TransformerConfig, "linear": LinearConfig}


def run_text(
    products: Path,
    config: dict[str, Any],
    *,
    fold: int | None,
    seed: int,
    probabilities: Path,
    features: Path,
    model: Path,
    checkpoints: Path | None,
) -> dict[str, float]:
    """Trains the classifier that `config` describes, `kind` "transformer" (the paper's) or "linear".

    Args:
        products: the product table.
        config: one item of the text configurations.
        fold: train on the other folds and judge this one, out of fold; None for the whole training.
        probabilities: folder for the voter's matrices.
        features: file for the pooled features (empty for a fold's training).
        model: folder for the model.
        checkpoints: folder that outlives the process, for resuming; None for none.

    Returns:
        Metrics for the pipelines UI.

    Raises:
        InputError: the configuration or the table is wrong.
    """
    kind = config.get("kind", "transformer")
    if kind not in KINDS:
        raise InputError(f"text configuration: kind = {kind!r}; expected one of {', '.join(KINDS)}")
    parsed = parse_config(KINDS[kind], config, where=f"text configuration {config.get('voter', '')!r}")
    catalog = read_products(products)
    task = training_task(catalog, fold=fold, cleaned=parsed.cleaned)
    if isinstance(parsed, LinearConfig):
        trained = train_linear(catalog, task, parsed, seed=seed, model=model, whole=fold is None)
    else:
        trained = train_transformer(catalog, task, parsed, seed=seed, model=model, checkpoints=checkpoints)
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
