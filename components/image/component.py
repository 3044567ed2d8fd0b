"""The image stage as a Kubeflow Pipelines component."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from components.core.project import image_name


@dsl.component(base_image=image_name("image"), install_kfp_package=False)
def image(
    products: Input[Dataset],
    images: Input[Dataset],
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
    image_metrics: Output[Metrics],
    image_report: Output[HTML],
):
    """Trains one image classifier and predicts validation, or one fold and validation.

    Args:
        products: the product table.
        images: the image store.
        config: one image configuration; see docs/configuration.md.
        weights_digest: of their content; for a server's cache, which goes by a task's parameters.
        fold: train on the other folds, predict this one and validation; -1 for the whole training.
        seed: seed of every random draw.
        checkpoints: folder on a volume that outlives the pod, for resuming; "" for none.
        gpu_type: the accelerator that the task asked for, "" for a CPU; checked before training.
        gpu_count: how many.
        probabilities: class probabilities, one matrix a split and checkpoint.
        features: pooled features of every product.
        model: the trained model (safetensors and JSON).
        image_metrics: scores and times.
        image_report: curves, times, worst classes.
    """
    from functools import partial
    from pathlib import Path

    from components.core.stage import Result, paths_of, run_stage
    from components.data.uris import state_of
    from components.image.config import IMAGE_KINDS
    from components.image.run import run_image

    places = [each.get("weights", "") for each in (config, *config.get("candidates", []))]
    weights = [partial(state_of, place) for place in places]
    settings = {"fold": None if fold < 0 else fold, "seed": seed}
    inputs = paths_of(products=products, images=images)
    outputs = paths_of(probabilities=probabilities, features=features, model=model)

    def work() -> Result:
        parsed = IMAGE_KINDS.parse(config)
        gpus = {"gpu_type": gpu_type, "gpu_count": gpu_count}
        kept = Path(checkpoints) if checkpoints else None
        return run_image(config=parsed, checkpoints=kept, **gpus, **settings, **inputs, **outputs)

    run_stage(
        "image",
        work,
        label=config.get("name", "") + (f" fold {fold}" if fold >= 0 else ""),
        inputs={
            **inputs,
            **settings,
            "config": config,
            "weights": weights,
        },
        outputs=outputs,
        metrics=image_metrics,
        report=image_report,
    )
