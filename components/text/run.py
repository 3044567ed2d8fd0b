"""The text stage: trains one text classifier and leaves its probabilities, features and model."""

from collections.abc import Sequence
from pathlib import Path

from components.core.accelerators import check_accelerators
from components.core.stage import Result
from components.data.folds import fold_folder
from components.data.products import read_products, training_task
from components.modeling.trained import TrainingSetup, write_folds, write_trained
from components.reports.page import safe_report
from components.reports.training import training_report
from components.text.config import TEXT_KINDS, TextConfig


def run_text(
    products: Path,
    config: TextConfig,
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
    """Trains the classifier that `config` describes.

    Args:
        fold: train on the other folds, predict this one and validation; None for the whole training.
        checkpoints: a folder that outlives an attempt, from which a killed training goes on.
        gpu_type, gpu_count: the accelerators that the task asked for; "" and "0" for a CPU.
        probabilities: folder for the classifier's matrices.
        features: file for the pooled features (empty for a fold's training).
        model: folder for the model.

    Returns:
        Metrics, and the report of the training.

    Raises:
        InputError: the table is wrong, or a GPU is missing.
    """
    kind = TEXT_KINDS.of(config)
    gpus = check_accelerators(gpu_type, gpu_count) if kind.wants_gpu(config) else 0
    catalog = read_products(products)
    task = training_task(catalog, fold=fold, cleaned=config.cleaned)
    trained = kind.load_fit()(catalog, task, config, TrainingSetup(seed, model, checkpoints, gpus))
    metadata = {"config": config.model_dump(), "seed": seed, "fold": fold}
    outputs = {"probabilities": probabilities, "features": features}
    classifier = write_trained(
        trained, catalog, task, name=config.name, modality="text", metadata=metadata, **outputs
    )
    report = safe_report(lambda: training_report(classifier, catalog))
    return Result(classifier.metadata["metrics"], report)


def run_text_folds(
    products: Path,
    config: TextConfig,
    *,
    folds: Sequence[int],
    seed: int,
    probabilities: Path,
    features: Path,
    model: Path,
) -> Result:
    """Trains the classifiers of several folds, each as `run_text` would, of a kind that fits them together.

    Args:
        probabilities: folder for a classifier's matrices a fold; `components.data.folds` reads them.
        features: file for features, which a fold's training has none of.
        model: folder for a model a fold.

    Returns:
        Metrics, and one report of all folds.

    Raises:
        InputError: the table is wrong.
    """
    catalog = read_products(products)
    tasks = {fold: training_task(catalog, fold=fold, cleaned=config.cleaned) for fold in folds}
    setups = [TrainingSetup(seed, fold_folder(model, fold)) for fold in folds]
    fit = TEXT_KINDS.of(config).load_fit_folds()
    metadata = {"config": config.model_dump(), "seed": seed}
    classifier = write_folds(
        fit(catalog, [*tasks.values()], config, setups),
        catalog,
        tasks,
        name=config.name,
        modality="text",
        metadata=metadata,
        probabilities=probabilities,
        features=features,
    )
    report = safe_report(lambda: training_report(classifier, catalog))
    return Result(classifier.metadata["metrics"], report)
