"""The pipeline's graph; `python pipeline.py COMMAND` starts the command line."""
# The decorators of kfp carry no types: a component called in a pipeline returns a task.
# pyright: reportCallIssue=false, reportAttributeAccessIssue=false, reportArgumentType=false

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import click
from kfp import dsl

from components.client.cluster.settings import REGISTRY_KEYS, ClusterSettings
from components.client.commands.check import check
from components.client.commands.cluster import runs, schedule, submit, upload
from components.client.commands.compile import compile_command
from components.client.commands.fuse import fuse
from components.client.commands.models import models
from components.client.commands.predict import predict as predict_command
from components.client.commands.review import review
from components.client.commands.run import run
from components.client.commands.show import compare, show
from components.client.graph.catalog import labeled_products
from components.client.graph.ending import alerting
from components.client.graph.placement import Placement, catalog_of, set_images
from components.client.graph.trainings import Trainings, collected
from components.client.presets import FOLDS_OF
from components.core.parameters import wants_gpu
from components.core.project import NAME, REGISTRY, TAG, image_name
from components.denoise.component import denoise
from components.ensemble.component import ensemble
from components.evaluate.component import evaluate
from components.fusion.component import fusion
from components.image.component import image
from components.lifecycle.component import alert, monitor, no_models_store, not_trained, predict, promote
from components.preprocess.component import check_parameters, preprocess, preprocess_new
from components.preprocess.shards.component import preprocess_read, preprocess_shard
from components.serving.command import serve
from components.text.component import text

COMPONENTS = {
    each.name: each
    for each in (preprocess, denoise, text, image, fusion, ensemble, monitor, predict, evaluate, promote)
}
# Small tasks beside the stages -> whose image they run in.
BESIDE = {
    "preprocess": (check_parameters, preprocess_read, preprocess_shard, preprocess_new, no_models_store),
    "promote": (not_trained, alert),
}
DESCRIPTION = "Product categorization from text and images by late fusion."


def _connect(
    preset: dict[str, Any], graph: dict[str, Any], settings: ClusterSettings, given: dict[str, Any]
) -> None:
    """Connects the stages' tasks; `given` holds the pipeline's parameters by name."""
    place = Placement(settings, given)
    with alerting(place, given):
        settled = {name: given[name] for name in check_parameters.component_spec.inputs if name in given}
        checked = place(check_parameters(**settled, graph=graph)).set_caching_options(False)
        catalog = labeled_products(place, given, after=[checked])
        labeled = {name: catalog.outputs[name] for name in ("products", "profile")}
        # Before any training, so that what is wrong with the test file stops a run early; none reads it.
        new = place(preprocess_new(**catalog_of(given, preprocess_new), **labeled))
        plan = _monitor(place, given, checked, labeled, new)
        with dsl.If(plan.outputs["training"] == "train"):
            _train(preset, graph, place, given, checked, catalog, new, plan)
        with dsl.Else():
            why = {name: plan.outputs[name] for name in ("training", "why")}
            place(not_trained(**why)).set_caching_options(False)


def _monitor(place: Placement, given: dict[str, Any], checked: Any, labeled: dict[str, Any], new: Any) -> Any:
    """The task that says whether the others follow, as the store is at the time."""
    unlabeled = {name: new.outputs[name] for name in ("new_products", "new_images")}
    asked = {name: given[name] for name in monitor.component_spec.inputs if name in given}
    task = monitor(**labeled, **unlabeled, **asked, settings_digest=checked.outputs["digest"])
    return place(task, accelerator=checked.outputs["monitor"]).set_caching_options(False)


def _train(
    preset: dict[str, Any],
    graph: dict[str, Any],
    place: Placement,
    given: dict[str, Any],
    checked: Any,
    catalog: Any,
    new: Any,
    plan: Any,
) -> None:
    """From the labeled products to a model, its predictions, its scores, and the store."""
    raw, store, profile = (catalog.outputs[name] for name in ("products", "images", "profile"))
    trainings = Trainings(given, checked.outputs, place, store)
    folds = trainings.folds(raw, FOLDS_OF[preset["denoise_on"]])
    kept = {"keep_ids": given["denoise_keep_ids"], "keep_ids_digest": checked.outputs["keep_ids"]}
    issues = place(denoise(products=raw, images=store, config=given["denoise_config"], **kept, **folds))
    cleaned = {"products": issues.outputs["cleaned"], "images": store}
    classifiers = trainings.classifiers(cleaned["products"])
    fused = fusion(
        **cleaned,
        **collected(classifiers, "probabilities"),
        **collected(classifiers, "features", suffix="_features"),
        **collected(classifiers, "model", suffix="_models"),
        configs=given["fusion_configs"],
        folds=given["fusion_folds"],
        seed=given["seed"],
    )
    # Known when compiling alone: a run that asks for it by a parameter trains on what fusion is given.
    jointly = wants_gpu("fusion", preset["fusion_configs"])
    place(fused, accelerator=given["cluster_accelerator_type"] if jointly else None)
    fusions = {name: fused.outputs[name] for name in ("members", "feature_level")}
    models = collected(classifiers, "model", suffix="_models")
    models |= {"fusion_model": fused.outputs["fusion_model"], "profile": profile}
    vote = place(ensemble(**cleaned, **fusions, **models, config=given["ensemble_config"]))
    model = {"ensemble_model": vote.outputs["ensemble_model"]}
    unlabeled = {name: new.outputs[name] for name in ("new_products", "new_images")}
    accelerator, count = checked.outputs["predict"], given["cluster_accelerator_count"]
    beside = {"last_run": plan.outputs["last_run"], "gpu_type": accelerator, "gpu_count": count}
    task = predict(**model, **unlabeled, **beside)
    predicted = place(task, accelerator=accelerator)
    answers = {"predictions": predicted.outputs["predictions"]}
    evaluation = evaluate(
        **cleaned,
        **collected(classifiers, "probabilities"),
        **fusions,
        ensemble=vote.outputs["probabilities"],
        label_issues=issues.outputs["label_issues"],
        new_products=new.outputs["new_products"],
        **answers,
        graph=graph,
        seed=given["seed"],
    )
    # Its results lead to everything else that a run made, so every run has its own.
    evaluated = place(evaluation).set_caching_options(False)
    _keep(place, given, {**model, **answers, **cleaned}, evaluated, plan)


def _keep(place: Placement, given: dict[str, Any], made: dict[str, Any], evaluated: Any, plan: Any) -> None:
    """The model into the store, and the gate, where the run names one."""
    with dsl.If(given["models_store"] != ""):
        names = ("models_store", "models_name", "models_gate", "models_registries", "seed")
        asked = {name: given[name] for name in names}
        kept = promote(**made, **asked, training_digest=plan.outputs["digest"])
        place(kept.after(evaluated), keys=REGISTRY_KEYS).set_caching_options(False)
    with dsl.Else():
        place(no_models_store().after(evaluated)).set_caching_options(False)


def build_pipeline(
    preset: dict[str, Any],
    *,
    registry: str = REGISTRY,
    tag: str = TAG,
    settings: ClusterSettings = ClusterSettings(),  # noqa: B008
) -> Callable:
    """The pipeline; the defaults of its parameters are a preset's (`components/client/presets.py`).

    Args:
        preset: its `denoise_on` shapes the graph, so no parameter can change it.
        registry, tag: of the images; another tag also renews every cached task.
    """
    beside = [(stage, each) for stage, components in BESIDE.items() for each in components]
    set_images((*COMPONENTS.items(), *beside), registry, tag)
    named = {"preset": preset["name"], "denoise_on": preset["denoise_on"]}
    graph = {**named, "images": image_name("<stage>", registry, tag)}
    connect = partial(_connect, preset, graph, settings)

    @dsl.pipeline(name=NAME, description=DESCRIPTION)
    def product_categorization(
        catalog_products: str = "",
        catalog_labels: str = "",
        catalog_images: str = "",
        catalog_test_products: str = "",
        catalog_test_images: str = "",
        catalog_test_labels: str = "",
        catalog_class_names: str = "",
        catalog_corrections: str = "",
        catalog_earlier_profile: str = "",
        catalog_snapshot: str = "",
        preprocess_config: dict = {},  # noqa: B006
        preprocess_shard_size: int = 100_000,
        denoise_folds: list[int] = [0, 1, 2, 3],  # noqa: B006
        denoise_config: dict = preset["denoise_configs"][preset["denoise_on"]],
        denoise_keep_ids: str = "",
        text_fold_config: dict = preset["text_fold_config"],
        text_configs: list[dict] = preset["text_configs"],
        image_fold_config: dict = preset["image_fold_config"],
        image_configs: list[dict] = preset["image_configs"],
        fusion_configs: list[dict] = preset["fusion_configs"],
        fusion_folds: int = 8,
        ensemble_config: dict = preset["ensemble_config"],
        models_store: str = "",
        models_name: str = NAME,
        models_gate: dict = {},  # noqa: B006
        models_registries: dict = {},  # noqa: B006
        models_retrain: bool = False,
        drift_config: dict = {},  # noqa: B006
        alert_always: bool = False,
        alert_address: str = "",
        cluster_accelerator_type: str = preset["accelerator_type"],
        cluster_accelerator_count: str = preset["accelerator_count"],
        cluster_node_selector: dict = {},  # noqa: B006
        cluster_tolerations: list[dict] = preset["tolerations"],
        cluster_checkpoints: str = settings.checkpoints,
        seed: int = 0,
    ):
        connect(locals())

    return product_categorization


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.pass_context
def main(context: click.Context) -> None:
    """Product categorization from text and images, as a Kubeflow pipeline."""
    context.obj = build_pipeline


HERE = (run, check, predict_command, serve, show, compare, review, fuse, models)
for command in (*HERE, compile_command, upload, submit, schedule, runs):
    main.add_command(command)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    main()
