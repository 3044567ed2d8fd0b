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
    from pathlib import Path

    from components.core.stage import run_stage
    from components.data.image_store import ImageStore
    from components.data.probabilities import read_classifier, read_classifiers
    from components.data.products import read_products
    from components.ensemble.report import ensemble_report as draw_report
    from components.ensemble.run import run_ensemble
    from components.reports.page import safe_report

    paths = {
        "products": Path(products.path),
        "members": Path(members.path),
        "feature_level": Path(feature_level.path),
    }
    outputs = {"probabilities": Path(probabilities.path)}
    drawn = {**outputs, "report": Path(ensemble_report.path)}

    def work() -> dict[str, float]:
        scores = run_ensemble(**paths, config=config, **outputs)
        safe_report(
            lambda: draw_report(
                read_products(paths["products"]),
                ImageStore(Path(images.path)),
                [*read_classifiers(paths["members"]), *read_classifiers(paths["feature_level"])],
                read_classifier(outputs["probabilities"]),
            ),
            drawn["report"],
        )
        return scores

    inputs = {**paths, "config": config}
    for name, value in run_stage("ensemble", work, inputs=inputs, outputs=drawn).items():
        ensemble_metrics.log_metric(name, value)
