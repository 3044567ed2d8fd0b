"""The text stage as a Kubeflow Pipelines component."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from components.core.project import image_name


@dsl.component(base_image=image_name("text"), install_kfp_package=False)
def text(
    products: Input[Dataset],
    config: dict,
    weights_digest: str,
    folds: str,
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
    """Trains one text classifier and predicts validation, or one of some folds and validation.

    Args:
        products: the product table.
        config: one text configuration; see docs/configuration.md.
        weights_digest: of their content; for a server's cache, which goes by a task's parameters.
        folds: "0" or "0,1,2,3": for each, train on the other folds, predict it and validation; "" for the
            whole training.
        seed: seed of every random draw.
        checkpoints: folder on a volume that outlives the pod, for resuming; "" for none.
        gpu_type: the accelerator that the task asked for, "" for a CPU; checked before training.
        gpu_count: how many.
        probabilities: class probabilities, one matrix a split and checkpoint; of several folds a folder each.
        features: pooled features of every product.
        model: the trained model (safetensors and JSON).
        text_metrics: scores and times.
        text_report: curves, times, worst classes.
    """
    from functools import partial
    from pathlib import Path

    from components.core.parameters import fold_numbers
    from components.core.stage import Result, paths_of, run_stage
    from components.data.uris import state_of
    from components.text.config import PARAMETERS
    from components.text.run import run_text, run_text_folds

    weights = partial(state_of, config.get("weights", ""))
    numbers = fold_numbers(folds)
    inputs = paths_of(products=products)
    outputs = paths_of(probabilities=probabilities, features=features, model=model)

    def work() -> Result:
        parsed = PARAMETERS["text_fold_config"](config)
        given = {"config": parsed, "seed": seed, **inputs, **outputs}
        if len(numbers) > 1:
            return run_text_folds(folds=numbers, **given)
        gpus = {"gpu_type": gpu_type, "gpu_count": gpu_count}
        kept = Path(checkpoints) if checkpoints else None
        return run_text(fold=next(iter(numbers), None), checkpoints=kept, **gpus, **given)

    run_stage(
        "text",
        work,
        label=config.get("name", "") + (f" fold{'s' * (len(numbers) > 1)} {folds}" if folds else ""),
        inputs={
            **inputs,
            "folds": numbers,
            "seed": seed,
            "config": config,
            "weights": weights,
        },
        outputs=outputs,
        metrics=text_metrics,
        report=text_report,
    )
