"""The text stage as a Kubeflow Pipelines component."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components.container import image_name


@dsl.component(base_image=image_name("text"), install_kfp_package=False)
def text(
    products: Input[Dataset],
    config: dict,
    fold: int,
    seed: int,
    checkpoints: str,
    probabilities: Output[Dataset],
    features: Output[Dataset],
    model: Output[Model],
    metrics: Output[Metrics],
):
    """Trains one text classifier and judges validation and test, or one fold.

    Args:
        products: the product table.
        config: one text configuration; see TransformerConfig and LinearConfig.
        fold: train on the other folds and judge this one; -1 for the whole training.
        seed: seed of every random draw.
        checkpoints: folder on a volume that outlives the pod, for resuming; "" for none.
        probabilities: class probabilities, one matrix a split and checkpoint.
        features: pooled features of every product.
        model: the trained model (safetensors and JSON).
        metrics: scores and times.
    """
    from pathlib import Path

    from components.stage import run_stage
    from components.text.text import run_text

    def work() -> dict[str, float]:
        return run_text(
            Path(products.path),
            config,
            fold=None if fold < 0 else fold,
            seed=seed,
            checkpoints=Path(checkpoints) if checkpoints else None,
            **outputs,
        )

    outputs = {
        "probabilities": Path(probabilities.path),
        "features": Path(features.path),
        "model": Path(model.path),
    }
    label = config.get("voter", "") + (f" fold {fold}" if fold >= 0 else "")
    inputs = {"products": Path(products.path), "config": config, "fold": fold, "seed": seed}
    for name, value in run_stage("text", work, label=label, inputs=inputs, outputs=outputs).items():
        metrics.log_metric(name, value)
