"""The fusion stage as a Kubeflow Pipelines component."""

from typing import List

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from components.container import image_name


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
    configs: list,
    folds: int,
    seed: int,
    members: Output[Dataset],
    feature_level: Output[Dataset],
    metrics: Output[Metrics],
    report: Output[HTML],
):
    """Trains every fusion classifier over the product of text and image voters, all at once.

    Args:
        products: the product table.
        images: the image store.
        text: probabilities of the text voters.
        image: probabilities of the image voters.
        text_features: pooled features of the text voters.
        image_features: pooled features of the image voters.
        text_models: the text voters' models.
        image_models: the image voters' models.
        configs: the fusion configurations; see FusionConfig.
        folds: folds of the validation split.
        seed: seed of every random draw.
        members: one voter a member of the ensemble.
        feature_level: one voter a feature-level classifier.
        metrics: scores.
        report: what each modality adds.
    """
    from pathlib import Path
    from typing import Any

    from components.catalog import read_products
    from components.fusion.fusion import run_fusion
    from components.probabilities import read_voter, read_voters
    from components.report import safe_report
    from components.reports.fusion import fusion_report
    from components.stage import run_stage

    lists: dict[str, Any] = {
        "text": [Path(voter.path) for voter in text],
        "image": [Path(voter.path) for voter in image],
        "text_features": [Path(file.path) for file in text_features],
        "image_features": [Path(file.path) for file in image_features],
        "text_models": [Path(model.path) for model in text_models],
        "image_models": [Path(model.path) for model in image_models],
    }
    settings: dict[str, Any] = {"configs": configs, "folds": folds, "seed": seed}
    outputs = {"members": Path(members.path), "feature_level": Path(feature_level.path)}

    drawn = {**outputs, "report": Path(report.path)}

    def work() -> dict[str, float]:
        folders = {**lists, **settings, **outputs}
        scores = run_fusion(Path(products.path), Path(images.path), **folders)
        safe_report(
            lambda: fusion_report(
                read_products(Path(products.path)),
                [read_voter(folder) for folder in lists["text"]],
                [read_voter(folder) for folder in lists["image"]],
                read_voters(outputs["members"]),
                read_voters(outputs["feature_level"]),
            ),
            drawn["report"],
        )
        return scores

    inputs = {"products": Path(products.path), "images": Path(images.path), **lists, **settings}
    for name, value in run_stage("fusion", work, inputs=inputs, outputs=drawn).items():
        metrics.log_metric(name, value)
