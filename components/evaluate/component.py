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
        graph: what the run was compiled from: preset and images; shown in the report.
        seed: seed of the bootstrap.
        results: predictions, metrics.json, report.html.
        evaluate_report: the report.
        evaluate_summary: the verdict in short.
        evaluate_confusion: the confusion matrix of the ensemble.
        evaluate_metrics: scores.
    """
    import json
    import shutil
    from pathlib import Path
    from typing import Any

    from components.core.project import code_revision
    from components.core.stage import run_stage
    from components.evaluate.run import run_evaluate

    folders: dict[str, Any] = {
        "products": Path(products.path),
        "images": Path(images.path),
        "text": [Path(classifier.path) for classifier in text],
        "image": [Path(classifier.path) for classifier in image],
        "members": Path(members.path),
        "feature_level": Path(feature_level.path),
        "ensemble": Path(ensemble.path),
        "label_issues": Path(label_issues.path),
    }
    output = Path(results.path)

    def work() -> dict[str, float]:
        metadata = {**graph, "code": code_revision()}
        return run_evaluate(**folders, metadata=metadata, seed=seed, output=output)

    inputs = {**folders, "graph": graph, "seed": seed}
    scores = run_stage("evaluate", work, inputs=inputs, outputs={"output": output})
    for name, value in scores.items():
        evaluate_metrics.log_metric(name, value)
    shutil.copyfile(output / "report.html", evaluate_report.path)
    shutil.copyfile(output / "summary.md", evaluate_summary.path)
    counts = json.loads((output / "confusion.json").read_text(encoding="utf-8"))
    evaluate_confusion.log_confusion_matrix(counts["classes"], counts["matrix"])
