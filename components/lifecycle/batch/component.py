"""The champion applied to a catalog in shards, as Kubeflow Pipelines components."""

from typing import List, NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from components.core.project import image_name

SHARDS = "Output"  # the one name under which kfp's local runner finds what a loop runs over


@dsl.component(base_image=image_name("predict"), install_kfp_package=False)
def predict_plan(
    catalog_products: str,
    catalog_columns: str,
    catalog_date_column: str,
    catalog_since: str,
    models_store: str,
    models_name: str,
    predict_output: str,
    predict_shard_size: int,
    alert_address: str,
    cluster_accelerator_type: str,
    cluster_accelerator_count: str,
    ensemble_model: Output[Model],
    new_products: Output[Dataset],
) -> NamedTuple("Plan", [("Output", List[dict]), ("accelerator", str)]):  # type: ignore
    """Checks what a run was given, copies the champion, and cuts what is to be predicted into shards.

    Args:
        catalog_products: the products file, a mounted path or a URI.
        catalog_columns: its columns, where they are not called as those of the catalog that was trained on.
        catalog_date_column: the column that tells what is new.
        catalog_since: "" for the whole catalog, a date, or last-run.
        models_store: a folder, s3://... or gs://...
        models_name: the model's in the store.
        predict_output: where predictions go: a folder, s3://... or gs://...
        predict_shard_size: of how many products a shard is.
        alert_address: of the pipelines' pages, "" for none.
        cluster_accelerator_type: the accelerator that networks ask for, "" for a CPU.
        cluster_accelerator_count: how many.
        ensemble_model: the champion's package.
        new_products: the products to predict, a file for each shard.

    Returns:
        The shards, and the accelerator that their tasks ask for: none where nothing is to be predicted, or
        the champion has neither a transformer nor an image network.
    """
    given = dict(locals())

    from dataclasses import fields

    from components.core.parameters import parse_values
    from components.core.stage import paths_of, process_of
    from components.lifecycle.batch.plan import PredictionRequest, run_plan

    with process_of("predict plan"):
        parse_values(given)
        asked = PredictionRequest(**{field.name: given[field.name] for field in fields(PredictionRequest)})
        outputs = paths_of(ensemble_model=ensemble_model, new_products=new_products)
        plan, networks = run_plan(asked, **outputs)
    shards = [{"number": number} for number in range(plan.shards)]
    return shards, cluster_accelerator_type if networks and plan.products else ""  # type: ignore


@dsl.component(base_image=image_name("predict"), install_kfp_package=False)
def predict_shard(
    ensemble_model: Input[Model],
    new_products: Input[Dataset],
    shard: dict,
    catalog_images: str,
    gpu_type: str,
    gpu_count: str,
    shard_predictions: Output[Dataset],
):
    """Predicts one shard of the products.

    Args:
        ensemble_model: the champion's package.
        new_products: the products to predict, a file for each shard.
        shard: its number.
        catalog_images: a folder or a zip of images, a mounted path or a URI; "" for none.
        gpu_type, gpu_count: the accelerators that this task asks for.
        shard_predictions: its codes, their detail, and what was found of its images.
    """
    from components.core.accelerators import check_accelerators
    from components.core.stage import paths_of, process_of
    from components.lifecycle.batch.shard import run_shard

    with process_of(f"predict shard {shard['number']:.0f}"):
        device = "auto" if check_accelerators(gpu_type, gpu_count) else "cpu"
        inputs = paths_of(ensemble_model=ensemble_model, new_products=new_products)
        outputs = paths_of(predictions=shard_predictions)
        number = int(shard["number"])
        run_shard(**inputs, number=number, images=catalog_images, device=device, **outputs)


@dsl.component(base_image=image_name("predict"), install_kfp_package=False)
def predict_collect(
    ensemble_model: Input[Model],
    new_products: Input[Dataset],
    shard_predictions: Input[List[Dataset]],
    models_store: str,
    models_name: str,
    predict_output: str,
    predictions: Output[Dataset],
    predict_metrics: Output[Metrics],
    predict_report: Output[HTML],
):
    """Puts the shards' predictions together, writes them into the output, and keeps them for `models score`.

    Args:
        ensemble_model: the champion's package.
        new_products: the products that were to be predicted.
        shard_predictions: what every shard's task left.
        models_store: the store, which keeps them until their products' codes are known.
        models_name: the model's in the store.
        predict_output: where predictions go: a folder, s3://... or gs://...
        predictions: codes in the form of the labels file, in detail, and the rows that were left out.
        predict_metrics: counts, and how sure the model is.
        predict_report: the classes, beside those of the labeled products.
    """
    from components.core.stage import Result, paths_of, run_stage
    from components.lifecycle.batch.collect import run_collect

    artifacts = {"ensemble_model": ensemble_model, "new_products": new_products}
    inputs = paths_of(**artifacts, shard_predictions=shard_predictions)
    outputs = paths_of(predictions=predictions)

    def work() -> Result:
        given = {"store": models_store, "name": models_name, "output": predict_output}
        return run_collect(**inputs, **given, **outputs)

    run_stage(
        "predict",
        work,
        label="collect",
        inputs=inputs,
        outputs=outputs,
        metrics=predict_metrics,
        report=predict_report,
        reuse=False,
    )
