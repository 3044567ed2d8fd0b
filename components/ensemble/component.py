"""The ensemble stage as a Kubeflow Pipelines component."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Metrics, Output

from components.core.project import image_name


@dsl.component(base_image=image_name("ensemble"), install_kfp_package=False)
def ensemble(
    products: Input[Dataset],
    images: Input[Dataset],
    members: Input[Dataset],
    feature_level: Input[Dataset],
    config: dict,
    probabilities: Output[Dataset],
    ensemble_metrics: Output[Metrics],
    ensemble_report: Output[HTML],
):
    """Lets the fusion members vote.

    Args:
        products: the product table.
        images: the image store, for thumbnails.
        members: the fusion members.
        feature_level: the feature-level classifiers; those vote that the configuration names.
        config: how they vote; see EnsembleConfig.
        probabilities: the vote as class probabilities.
        ensemble_metrics: scores.
        ensemble_report: how the members agree and what each adds.
    """
    from components.core.stage import Result, paths_of, run_stage
    from components.ensemble.config import PARAMETERS
    from components.ensemble.run import run_ensemble

    inputs = paths_of(products=products, images=images, members=members, feature_level=feature_level)
    outputs = paths_of(probabilities=probabilities)

    def work() -> Result:
        return run_ensemble(config=PARAMETERS["ensemble_config"](config), **inputs, **outputs)

    run_stage(
        "ensemble",
        work,
        inputs={**inputs, "config": config},
        outputs=outputs,
        metrics=ensemble_metrics,
        report=ensemble_report,
    )
