"""What is done with a trained model, as Kubeflow Pipelines components."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from components.core.project import image_name


@dsl.component(base_image=image_name("predict"), install_kfp_package=False)
def predict(
    ensemble_model: Input[Model],
    new_products: Input[Dataset],
    new_images: Input[Dataset],
    predictions: Output[Dataset],
    predict_metrics: Output[Metrics],
    predict_report: Output[HTML],
):
    """Predicts the products to categorize with a model package.

    Args:
        ensemble_model: the model package.
        new_products: the product table; it may be empty.
        new_images: the image store.
        predictions: codes in the form of the labels file, in detail, and every classifier's probabilities.
        predict_metrics: counts, and how sure the model is.
        predict_report: classes, and the products that it is least sure of.
    """
    from components.core.stage import Result, paths_of, run_stage
    from components.lifecycle.run import run_predict

    inputs = paths_of(ensemble_model=ensemble_model, new_products=new_products, new_images=new_images)
    outputs = paths_of(predictions=predictions)

    def work() -> Result:
        return run_predict(**inputs, **outputs)

    run_stage("predict", work, inputs=inputs, outputs=outputs, metrics=predict_metrics, report=predict_report)


@dsl.component(base_image=image_name("promote"), install_kfp_package=False)
def promote(
    ensemble_model: Input[Model],
    products: Input[Dataset],
    images: Input[Dataset],
    predictions: Input[Dataset],
    models_store: str,
    models_name: str,
    models_gate: dict,
    seed: int,
    decision: Output[Dataset],
    promote_metrics: Output[Metrics],
    promote_report: Output[HTML],
):
    """Stores the model as a version, and makes it the champion if the gate lets it.

    Args:
        ensemble_model: the model package.
        products: the product table that it was trained on.
        images: the image store.
        predictions: what the model says of new products; kept with it if it is promoted.
        models_store: a folder, s3://... or gs://...
        models_name: the model's in the store: each catalog has its own champion.
        models_gate: what the gate asks for; see GateConfig.
        seed: seed of the interval's draws.
        decision: what was decided and why, as JSON.
        promote_metrics: whether it was promoted, and the difference.
        promote_report: champion and challenger side by side.
    """
    from components.core.stage import Result, paths_of, run_stage
    from components.lifecycle.config import PARAMETERS
    from components.lifecycle.promote import run_promote

    artifacts = {"ensemble_model": ensemble_model, "products": products, "images": images}
    inputs = paths_of(**artifacts, predictions=predictions)
    outputs = paths_of(decision=decision)

    def work() -> Result:
        config = PARAMETERS["models_gate"](models_gate)
        given = {"store": models_store, "name": models_name, "config": config, "seed": seed}
        return run_promote(**inputs, **given, **outputs)

    run_stage(
        "promote",
        work,
        inputs=inputs,
        outputs=outputs,
        metrics=promote_metrics,
        report=promote_report,
        reuse=False,
    )


@dsl.component(base_image=image_name("preprocess"), install_kfp_package=False)
def no_models_store():
    """Says why the model is neither stored nor compared: the run names no store."""
    import logging

    from components.core.stage import process_of

    with process_of("promote"):
        logging.getLogger("components").info(
            "the model is not compared with a champion: models_store names no store"
        )
