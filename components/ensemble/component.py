"""The ensemble stage as a Kubeflow Pipelines component."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Output

from components.container import image_name


@dsl.component(base_image=image_name("ensemble"), install_kfp_package=False)
def ensemble(
    products: Input[Dataset],
    members: Input[Dataset],
    config: dict,
    probabilities: Output[Dataset],
    metrics: Output[Metrics],
):
    """Lets the fusion members vote.

    Args:
        products: the product table.
        members: the fusion members.
        config: how they vote; see EnsembleConfig.
        probabilities: the vote as class probabilities.
        metrics: scores.
    """
    from pathlib import Path

    from components.ensemble.ensemble import run_ensemble
    from components.stage import run_stage

    paths = {"products": Path(products.path), "members": Path(members.path)}
    outputs = {"probabilities": Path(probabilities.path)}

    def work() -> dict[str, float]:
        return run_ensemble(paths["products"], paths["members"], config, **outputs)

    inputs = {**paths, "config": config}
    for name, value in run_stage("ensemble", work, inputs=inputs, outputs=outputs).items():
        metrics.log_metric(name, value)
