"""The ensemble stage as a Kubeflow Pipelines component."""

from typing import List

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from components.core.project import image_name


@dsl.component(base_image=image_name("ensemble"), install_kfp_package=False)
def ensemble(
    products: Input[Dataset],
    images: Input[Dataset],
    members: Input[Dataset],
    feature_level: Input[Dataset],
    text_models: Input[List[Model]],
    image_models: Input[List[Model]],
    fusion_model: Input[Model],
    profile: Input[Dataset],
    config: dict,
    probabilities: Output[Dataset],
    ensemble_model: Output[Model],
    ensemble_metrics: Output[Metrics],
    ensemble_report: Output[HTML],
):
    """Lets the fusion members vote, and packs what the vote needs into one model.

    Args:
        products: the product table.
        images: the image store, for thumbnails.
        members: the fusion members.
        feature_level: the feature-level classifiers; those vote that the configuration names.
        text_models: the text classifiers' models.
        image_models: the image classifiers' models.
        fusion_model: the models of members and feature-level classifiers.
        profile: the catalog's profile.
        config: how they vote; see EnsembleConfig.
        probabilities: the vote as class probabilities.
        ensemble_model: the model package: all that predicting needs.
        ensemble_metrics: scores.
        ensemble_report: how the members agree and what each adds.
    """
    from components.core.stage import Result, paths_of, run_stage
    from components.ensemble.config import PARAMETERS
    from components.ensemble.run import run_ensemble

    votes = {"products": products, "images": images, "members": members, "feature_level": feature_level}
    models = {"text_models": text_models, "image_models": image_models, "fusion_model": fusion_model}
    inputs = paths_of(**votes, **models, profile=profile)
    outputs = paths_of(probabilities=probabilities, ensemble_model=ensemble_model)

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
