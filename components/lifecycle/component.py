"""What is done with a trained model, as Kubeflow Pipelines components."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output, PipelineTaskFinalStatus

from components.core.project import image_name


@dsl.component(base_image=image_name("predict"), install_kfp_package=False)
def predict(
    ensemble_model: Input[Model],
    new_products: Input[Dataset],
    new_images: Input[Dataset],
    last_run: Input[Dataset],
    gpu_type: str,
    gpu_count: str,
    predictions: Output[Dataset],
    predict_metrics: Output[Metrics],
    predict_report: Output[HTML],
):
    """Predicts the products to categorize with a model package.

    Args:
        ensemble_model: the model package.
        new_products: the product table; it may be empty.
        new_images: the image store.
        last_run: what the last run predicted, class by class; for the report.
        gpu_type: the accelerator that the task asked for, "" for a CPU.
        gpu_count: how many.
        predictions: codes in the form of the labels file, in detail, and every classifier's probabilities.
        predict_metrics: counts, and how sure the model is.
        predict_report: classes, and the products that it is least sure of.
    """
    from components.core.accelerators import check_accelerators
    from components.core.stage import Result, paths_of, run_stage
    from components.lifecycle.run import run_predict

    artifacts = {"ensemble_model": ensemble_model, "new_products": new_products, "new_images": new_images}
    inputs = paths_of(**artifacts, last_run=last_run)
    outputs = paths_of(predictions=predictions)

    def work() -> Result:
        check_accelerators(gpu_type, gpu_count)
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
    models_registries: dict,
    training_digest: str,
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
        models_registries: who hears of a promotion; see RegistriesConfig.
        training_digest: of all that the model follows from.
        seed: seed of the interval's draws.
        decision: what was decided and why, as JSON.
        promote_metrics: whether it was promoted, and the difference.
        promote_report: champion and challenger side by side.
    """
    from components.core.stage import Result, paths_of, run_stage
    from components.lifecycle.config import PARAMETERS
    from components.lifecycle.promote import run_promote
    from components.lifecycle.registries import register_champion
    from components.lifecycle.store import ModelStore

    artifacts = {"ensemble_model": ensemble_model, "products": products, "images": images}
    inputs = paths_of(**artifacts, predictions=predictions)
    outputs = paths_of(decision=decision)

    def work() -> Result:
        config = PARAMETERS["models_gate"](models_gate)
        given = {"store": models_store, "name": models_name, "config": config, "seed": seed}
        result = run_promote(**inputs, **given, training_digest=training_digest, **outputs)
        registries = PARAMETERS["models_registries"](models_registries)
        register_champion(ModelStore(models_store, models_name), registries, inputs["ensemble_model"])
        return result

    shown = {"metrics": promote_metrics, "report": promote_report}
    run_stage("promote", work, inputs=inputs, outputs=outputs, **shown, reuse=False)


@dsl.component(base_image=image_name("monitor"), install_kfp_package=False)
def monitor(
    products: Input[Dataset],
    profile: Input[Dataset],
    new_products: Input[Dataset],
    new_images: Input[Dataset],
    models_store: str,
    models_name: str,
    models_gate: dict,
    models_retrain: bool,
    drift_config: dict,
    catalog_earlier_profile: str,
    settings_digest: str,
    predictions: Output[Dataset],
    plan: Output[Dataset],
    last_run: Output[Dataset],
    monitor_metrics: Output[Metrics],
    monitor_report: Output[HTML],
) -> NamedTuple("Plan", [("training", str), ("why", str), ("digest", str)]):  # type: ignore
    """Decides whether a run trains, and tells how the catalog differs from what the champion was trained on.

    Args:
        products: the labeled products.
        profile: theirs.
        new_products: the products to categorize; there may be none.
        new_images: their images.
        models_store: a folder, s3://... or gs://..., "" for none.
        models_name: the model's in the store.
        models_gate: what the gate asks for; a model that another gate refused is made again.
        models_retrain: trains whatever is found.
        drift_config: what counts as drift; see DriftConfig.
        catalog_earlier_profile: the profile to compare with, "" for the champion's.
        settings_digest: of configurations, seed, weights and the images' tag.
        predictions: what the champion says of the new products.
        plan: what was decided and why, as JSON.
        last_run: what the last run predicted, class by class, as JSON.
        monitor_metrics: whether training follows, and the drift.
        monitor_report: the same, aspect by aspect.

    Returns:
        "train", "skip" or "stop"; why; and the digest of all that a model of this run follows from.
    """
    import json

    from components.core.stage import Result, paths_of, run_stage
    from components.lifecycle.config import PARAMETERS
    from components.lifecycle.monitor import MonitorRequest, run_monitor

    artifacts = {"products": products, "profile": profile, "new_products": new_products}
    inputs = paths_of(**artifacts, new_images=new_images)
    outputs = paths_of(predictions=predictions, plan=plan, last_run=last_run)

    def work() -> Result:
        predict = None
        if models_store:  # else nothing is predicted, and torch not needed
            from components.lifecycle.run import predict_by_package as predict
        asked = MonitorRequest(
            PARAMETERS["drift_config"](drift_config),
            gate=PARAMETERS["models_gate"](models_gate),
            store=models_store,
            name=models_name,
            settings_digest=settings_digest,
            earlier_profile=catalog_earlier_profile,
            retrain=models_retrain,
        )
        return run_monitor(**inputs, asked=asked, predict=predict, **outputs)

    shown = {"metrics": monitor_metrics, "report": monitor_report}
    run_stage("monitor", work, inputs=inputs, outputs=outputs, **shown, reuse=False)
    found = json.loads(outputs["plan"].read_text(encoding="utf-8"))
    return found["training"], found["why"], found["digest"]


@dsl.component(base_image=image_name("promote"), install_kfp_package=False)
def not_trained(training: str, why: str):
    """Says why a run trains nothing; ends as failed where drift is to stop it.

    Args:
        training: "skip" or "stop".
        why: in words.
    """
    import logging

    from components.core.errors import InputError
    from components.core.stage import process_of

    with process_of("monitor"):
        if training == "stop":
            raise InputError(why)
        logging.getLogger("components").info("nothing is trained: %s", why)


@dsl.component(base_image=image_name("promote"), install_kfp_package=False)
def alert(
    status: PipelineTaskFinalStatus,
    run_name: str,
    models_store: str,
    alert_always: bool,
    alert_address: str,
):
    """Posts one message where a run failed, was refused by the gate, drifted or promoted a model.

    Args:
        status: how all other tasks ended.
        run_name: what the run is called.
        models_store: where the deciding tasks left what they decided, "" for nowhere.
        alert_always: whether a quiet run is reported too.
        alert_address: of the pipelines' pages, for a link to the run; "" for none.
    """
    from components.core.stage import process_of
    from components.lifecycle.alert import run_alert
    from components.lifecycle.webhook import webhook

    with process_of("alert"):
        run_alert(
            status.state,
            name=run_name,
            store=models_store,
            always=alert_always,
            address=alert_address,
            post=webhook(),
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
