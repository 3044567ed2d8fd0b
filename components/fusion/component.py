"""The fusion stage as a Kubeflow Pipelines component."""

from typing import List

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from components.core.project import image_name


@dsl.component(base_image=image_name("fusion"), install_kfp_package=False)
def fusion(
    products: Input[Dataset],
    images: Input[Dataset],
    text: Input[List[Dataset]],
    image: Input[List[Dataset]],
    text_features: Input[List[Dataset]],
    image_features: Input[List[Dataset]],
    text_models: Input[List[Model]],
    image_models: Input[List[Model]],
    configs: list[dict],
    folds: int,
    seed: int,
    members: Output[Dataset],
    feature_level: Output[Dataset],
    fusion_model: Output[Model],
    fusion_metrics: Output[Metrics],
    fusion_report: Output[HTML],
):
    """Trains every fusion classifier over the product of text and image classifiers, all at once.

    Args:
        products: the product table.
        images: the image store.
        text: probabilities of the text classifiers.
        image: probabilities of the image classifiers.
        text_features: pooled features of the text classifiers.
        image_features: pooled features of the image classifiers.
        text_models: the text classifiers' models.
        image_models: the image classifiers' models.
        configs: the fusion configurations; see docs/configuration.md.
        folds: folds of the validation split.
        seed: seed of every random draw.
        members: one classifier a member of the ensemble.
        feature_level: one classifier a feature-level classifier.
        fusion_model: what each of both predicts by (safetensors and JSON), and the folds of validation.
        fusion_metrics: scores.
        fusion_report: what each modality adds.
    """
    from components.core.stage import Result, paths_of, run_stage
    from components.fusion.config import PARAMETERS
    from components.fusion.run import run_fusion

    pairs = {"text": text, "text_features": text_features, "text_models": text_models}
    pairs |= {"image": image, "image_features": image_features, "image_models": image_models}
    inputs = paths_of(products=products, images=images, **pairs)
    outputs = paths_of(members=members, feature_level=feature_level, fusion_model=fusion_model)
    settings = {"configs": configs, "folds": folds}

    def work() -> Result:
        parsed = {name: PARAMETERS[f"fusion_{name}"](value) for name, value in settings.items()}
        return run_fusion(**parsed, seed=seed, **inputs, **outputs)

    run_stage(
        "fusion",
        work,
        inputs={**inputs, **settings, "seed": seed},
        outputs=outputs,
        metrics=fusion_metrics,
        report=fusion_report,
    )
