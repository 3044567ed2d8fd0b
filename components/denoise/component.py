"""The denoise stage as a Kubeflow Pipelines component."""

from typing import List

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Metrics, Output

from components.core.project import image_name


@dsl.component(base_image=image_name("denoise"), install_kfp_package=False)
def denoise(
    products: Input[Dataset],
    images: Input[Dataset],
    config: dict,
    keep_ids: str,
    cleaned: Output[Dataset],
    label_issues: Output[Dataset],
    denoise_metrics: Output[Metrics],
    denoise_report: Output[HTML],
    text_folds: Input[List[Dataset]] = None,  # type: ignore[assignment]
    image_folds: Input[List[Dataset]] = None,  # type: ignore[assignment]
):
    """Finds label issues by the folds' probabilities and marks the worst as removed from train.

    Args:
        products: the product table.
        images: the image store, for thumbnails.
        config: how many are removed; see DenoiseConfig.
        keep_ids: a file of product ids that are never removed; "" for none.
        cleaned: the product table with its removed column set.
        label_issues: every flagged product, worst first (TSV).
        denoise_metrics: counts.
        denoise_report: the worst label issues with their pictures.
        text_folds: out-of-fold probabilities of the text classifier, one a fold.
        image_folds: out-of-fold probabilities of the image classifier, one a fold.
    """
    from pathlib import Path

    from components.core.configuration import parse_config
    from components.core.stage import run_stage
    from components.data.image_store import ImageStore
    from components.data.products import read_products
    from components.denoise.config import DenoiseConfig
    from components.denoise.report import denoise_report as draw_report
    from components.denoise.run import run_denoise
    from components.reports.page import read_issues, safe_report

    folds = [Path(fold.path) for fold in [*(text_folds or []), *(image_folds or [])]]

    def work() -> dict[str, float]:
        parsed = parse_config(DenoiseConfig, config, where="denoise configuration")
        counts = run_denoise(Path(products.path), folds, parsed, keep_ids=keep_ids, **outputs)
        safe_report(
            lambda: draw_report(
                read_products(outputs["cleaned"]),
                ImageStore(Path(images.path)),
                read_issues(outputs["label_issues"]),
            ),
            drawn["report"],
        )
        return counts

    outputs = {"cleaned": Path(cleaned.path), "label_issues": Path(label_issues.path)}
    drawn = {**outputs, "report": Path(denoise_report.path)}
    kept = Path(keep_ids) if keep_ids and Path(keep_ids).exists() else keep_ids
    inputs = {"products": Path(products.path), "folds": folds, "config": config, "keep_ids": kept}
    for name, value in run_stage("denoise", work, inputs=inputs, outputs=drawn).items():
        denoise_metrics.log_metric(name, value)
