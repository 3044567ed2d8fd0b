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
    keep_ids_digest: str,
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
        keep_ids_digest: of its content; for a server's cache, which goes by a task's parameters.
        cleaned: the product table with its removed column set.
        label_issues: a folder with label_issues.tsv and .xlsx: every flagged product, worst first.
        denoise_metrics: counts.
        denoise_report: the worst label issues with their pictures.
        text_folds: out-of-fold probabilities of the text classifier, one a task of the loop.
        image_folds: out-of-fold probabilities of the image classifier, one a task of the loop.
    """
    from functools import partial

    from components.core.stage import Result, paths_of, run_stage
    from components.data.uris import state_of
    from components.denoise.config import PARAMETERS
    from components.denoise.run import run_denoise

    folds = [*(text_folds or []), *(image_folds or [])]
    inputs = paths_of(products=products, out_of_fold=folds, images=images)
    outputs = paths_of(cleaned=cleaned, label_issues=label_issues)

    def work() -> Result:
        parsed = PARAMETERS["denoise_config"](config)
        return run_denoise(config=parsed, keep_ids=keep_ids, **inputs, **outputs)

    kept = [keep_ids, partial(state_of, keep_ids)]
    run_stage(
        "denoise",
        work,
        inputs={**inputs, "config": config, "keep_ids": kept},
        outputs=outputs,
        metrics=denoise_metrics,
        report=denoise_report,
    )
