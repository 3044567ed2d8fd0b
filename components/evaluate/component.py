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
    metadata: dict,
    seed: int,
    results: Output[Dataset],
    report: Output[HTML],
    summary: Output[Markdown],
    confusion: Output[ClassificationMetrics],
    metrics: Output[Metrics],
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
        metadata: lineage shown in the report: code revision, images, configurations.
        seed: seed of the bootstrap.
        results: predictions, metrics.json, report.html.
        report: the report.
        summary: the verdict in short.
        confusion: the confusion matrix of the ensemble.
        metrics: scores.
    """
    import json
    import shutil
    from pathlib import Path
    from typing import Any

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
        return run_evaluate(**folders, metadata=metadata, seed=seed, output=output)

    inputs = {**folders, "metadata": metadata, "seed": seed}
    scores = run_stage("evaluate", work, inputs=inputs, outputs={"output": output})
    for name, value in scores.items():
        metrics.log_metric(name, value)
    shutil.copyfile(output / "report.html", report.path)
    shutil.copyfile(output / "summary.md", summary.path)
    counts = json.loads((output / "confusion.json").read_text(encoding="utf-8"))
    confusion.log_confusion_matrix(counts["classes"], counts["matrix"])
