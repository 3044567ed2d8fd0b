"""The text stage as a Kubeflow Pipelines component."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from components.core.project import image_name


@dsl.component(base_image=image_name("text"), install_kfp_package=False)
def text(
    products: Input[Dataset],
    config: dict,
    weights_digest: str,
    fold: int,
    seed: int,
    checkpoints: str,
    gpu_type: str,
    gpu_count: str,
    probabilities: Output[Dataset],
    features: Output[Dataset],
    model: Output[Model],
    text_metrics: Output[Metrics],
    text_report: Output[HTML],
):
    """Trains one text classifier and predicts validation, or one fold and validation.

    Args:
        products: the product table.
        config: one text configuration; see docs/configuration.md.
        weights_digest: of their content; for a server's cache, which goes by a task's parameters.
        fold: train on the other folds, predict this one and validation; -1 for the whole training.
        seed: seed of every random draw.
        checkpoints: folder on a volume that outlives the pod, for resuming; "" for none.
        gpu_type: the accelerator that the task asked for, "" for a CPU; checked before training.
        gpu_count: how many.
        probabilities: class probabilities, one matrix a split and checkpoint.
        features: pooled features of every product.
        model: the trained model (safetensors and JSON).
        text_metrics: scores and times.
        text_report: curves, times, worst classes.
    """
    from functools import partial
    from pathlib import Path

    from components.core.stage import Result, paths_of, run_stage
    from components.data.uris import state_of
    from components.text.config import PARAMETERS
    from components.text.run import run_text

    weights = partial(state_of, config.get("weights", ""))
    settings = {"fold": None if fold < 0 else fold, "seed": seed}
    inputs = paths_of(products=products)
    outputs = paths_of(probabilities=probabilities, features=features, model=model)

    def work() -> Result:
        parsed = PARAMETERS["text_fold_config"](config)
        gpus = {"gpu_type": gpu_type, "gpu_count": gpu_count}
        kept = Path(checkpoints) if checkpoints else None
        return run_text(config=parsed, checkpoints=kept, **gpus, **settings, **inputs, **outputs)

    run_stage(
        "text",
        work,
        label=config.get("name", "") + (f" fold {fold}" if fold >= 0 else ""),
        inputs={
            **inputs,
            **settings,
            "config": config,
            "weights": weights,
        },
        outputs=outputs,
        metrics=text_metrics,
        report=text_report,
    )
