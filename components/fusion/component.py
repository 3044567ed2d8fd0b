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
        fusion_metrics: scores.
        fusion_report: what each modality adds.
    """
    from pathlib import Path
    from typing import Any

    from components.core.stage import Result, run_stage
    from components.data.probabilities import read_classifier, read_classifiers
    from components.data.products import read_products
    from components.fusion.report import fusion_report as draw_report
    from components.fusion.run import run_fusion
    from components.reports.page import safe_report

    lists: dict[str, Any] = {
        "text": [Path(classifier.path) for classifier in text],
        "image": [Path(classifier.path) for classifier in image],
        "text_features": [Path(file.path) for file in text_features],
        "image_features": [Path(file.path) for file in image_features],
        "text_models": [Path(model.path) for model in text_models],
        "image_models": [Path(model.path) for model in image_models],
    }
    settings: dict[str, Any] = {"configs": configs, "folds": folds, "seed": seed}
    outputs = {"members": Path(members.path), "feature_level": Path(feature_level.path)}

    def work() -> Result:
        folders = {**lists, **settings, **outputs}
        scores = run_fusion(Path(products.path), Path(images.path), **folders)
        report = safe_report(
            lambda: draw_report(
                read_products(Path(products.path)),
                [read_classifier(folder) for folder in lists["text"]],
                [read_classifier(folder) for folder in lists["image"]],
                read_classifiers(outputs["members"]),
                read_classifiers(outputs["feature_level"]),
            )
        )
        return Result(scores, report)

    inputs = {"products": Path(products.path), "images": Path(images.path), **lists, **settings}
    run_stage("fusion", work, inputs=inputs, outputs=outputs, metrics=fusion_metrics, report=fusion_report)
