"""The evaluate stage as a Kubeflow Pipelines component."""

from typing import List

from kfp import dsl
from kfp.dsl import HTML, ClassificationMetrics, Dataset, Input, Markdown, Metrics, Output

from components.core.project import image_name


@dsl.component(base_image=image_name("evaluate"), install_kfp_package=False)
def evaluate(
    products: Input[Dataset],
    images: Input[Dataset],
    text: Input[List[Dataset]],
    image: Input[List[Dataset]],
    members: Input[Dataset],
    feature_level: Input[Dataset],
    ensemble: Input[Dataset],
    label_issues: Input[Dataset],
    new_products: Input[Dataset],
    predictions: Input[Dataset],
    graph: dict,
    seed: int,
    results: Output[Dataset],
    evaluate_report: Output[HTML],
    evaluate_summary: Output[Markdown],
    evaluate_confusion: Output[ClassificationMetrics],
    evaluate_metrics: Output[Metrics],
):
    """Scores every row of the paper's Table 1 on validation and writes the predictions and the report.

    Args:
        products: the product table.
        images: the image store, for thumbnails.
        text: probabilities of the text classifiers.
        image: probabilities of the image classifiers.
        members: the fusion members.
        feature_level: the feature-level classifiers.
        ensemble: the vote.
        label_issues: what denoising flagged.
        new_products: the products to categorize.
        predictions: what the model says of them.
        graph: what the run was compiled from: preset and images; shown in the report.
        seed: seed of the intervals' draws.
        results: predictions, metrics.json, report.html, lineage.json.
        evaluate_report: the report.
        evaluate_summary: the verdict in short.
        evaluate_confusion: the confusion matrix of the ensemble.
        evaluate_metrics: scores.
    """
    import json
    import shutil

    from components.core.project import code_revision
    from components.core.stage import Result, paths_of, run_stage
    from components.evaluate.lineage import write_lineage
    from components.evaluate.run import run_evaluate

    classifiers = {"text": text, "image": image, "members": members, "feature_level": feature_level}
    artifacts = {"products": products, "images": images, "label_issues": label_issues, "ensemble": ensemble}
    artifacts |= {**classifiers, "new_products": new_products, "predictions": predictions}
    inputs, outputs = paths_of(**artifacts), paths_of(results=results)

    def work() -> Result:
        return run_evaluate(**inputs, seed=seed, metadata={**graph, "code": code_revision()}, **outputs)

    run_stage(
        "evaluate",
        work,
        inputs={**inputs, "graph": graph, "seed": seed},
        outputs=outputs,
        metrics=evaluate_metrics,
        report=evaluate_report,
    )
    write_lineage(outputs["results"], artifacts)
    shutil.copyfile(outputs["results"] / "summary.md", evaluate_summary.path)
    counts = json.loads((outputs["results"] / "confusion.json").read_text(encoding="utf-8"))
    evaluate_confusion.log_confusion_matrix(counts["classes"], counts["matrix"])
