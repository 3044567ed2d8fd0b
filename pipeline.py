"""The pipeline's graph; `python pipeline.py COMMAND` starts the command line."""
# The decorators of kfp carry no types: a component called in a pipeline returns a task.
# pyright: reportCallIssue=false, reportAttributeAccessIssue=false, reportArgumentType=false

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import click
from kfp import dsl, kubernetes

from components.client.cluster.settings import ClusterSettings
from components.client.commands.check import check
from components.client.commands.cluster import runs, schedule, submit, upload
from components.client.commands.compile import compile_command
from components.client.commands.fuse import fuse
from components.client.commands.models import models
from components.client.commands.predict import predict as predict_command
from components.client.commands.run import run
from components.client.commands.show import compare, show
from components.client.presets import FOLDS_OF
from components.core.parameters import wants_gpu
from components.core.project import NAME, REGISTRY, TAG, image_name
from components.core.stage import RUN_ID_VARIABLE
from components.denoise.component import denoise
from components.ensemble.component import ensemble
from components.evaluate.component import evaluate
from components.fusion.component import fusion
from components.image.component import image
from components.lifecycle.component import no_models_store, predict, promote
from components.preprocess.component import check_parameters, preprocess, preprocess_new
from components.text.component import text

COMPONENTS = {
    each.name: each
    for each in (preprocess, denoise, text, image, fusion, ensemble, predict, evaluate, promote)
}
DESCRIPTION = "Product categorization from text and images by late fusion."


@dataclass(frozen=True)
class _Placement:
    """Says where a task's pod runs. What a run may choose is known only when it starts."""

    settings: ClusterSettings
    given: dict[str, Any]

    def __call__(self, task: Any, *, accelerator: Any = None) -> Any:
        """Places a task; it trains or runs networks, on a GPU if it can, where an accelerator is named."""
        trains = accelerator is not None
        self.settings.apply(task, kubernetes, training=trains)
        kubernetes.use_field_path_as_env(task, RUN_ID_VARIABLE, "metadata.labels['pipeline/runid']")
        if trains:
            task.set_accelerator_type(accelerator)
            task.set_accelerator_limit(self.given["cluster_accelerator_count"])
            kubernetes.add_node_selector_json(task, self.given["cluster_node_selector"])
            kubernetes.add_toleration_json(task, self.given["cluster_tolerations"])
        return task


@dataclass(frozen=True)
class _Trainings:
    """The tasks of the text and the image stage, each in a loop of its own.

    A graph is drawn before a run's parameters are known, and all tasks of a loop ask for the same. So what a
    run was given decides, when it starts: the tasks of a loop ask for `cluster_accelerator_type` where any
    configuration of that loop is of a kind that uses a GPU, and for none otherwise. Folds of TF-IDF ask for
    none; TF-IDF beside a transformer in one list asks for what that one needs.
    """

    given: dict[str, Any]
    accelerators: dict[str, Any]
    place: _Placement
    store: Any
    after: Any

    def folds(self, products: Any, stages: tuple[str, ...]) -> dict[str, Any]:
        """Out-of-fold probabilities of the labeled products, for denoising."""
        found = {}
        for stage in stages:
            with dsl.ParallelFor(self.given["denoise_folds"]) as fold:
                config, accelerator = self.given[f"{stage}_fold_config"], self.accelerators[f"{stage}_fold"]
                task = self._train(stage, products, config, fold, accelerator).after(self.after)
            found[f"{stage}_folds"] = dsl.Collected(task.outputs["probabilities"])
        return found

    def classifiers(self, products: Any) -> dict[str, Any]:
        """One task a stage, inside the loop over its configurations."""
        tasks = {}
        for stage in ("text", "image"):
            with dsl.ParallelFor(self.given[f"{stage}_configs"]) as config:
                tasks[stage] = self._train(stage, products, config, -1, self.accelerators[stage])
        return tasks

    def _train(self, stage: str, products: Any, config: Any, fold: Any, accelerator: Any) -> Any:
        inputs = {"images": self.store} if stage == "image" else {}
        task = COMPONENTS[stage](
            products=products,
            config=config,
            fold=fold,
            seed=self.given["seed"],
            checkpoints=self.given["cluster_checkpoints"],
            gpu_type=accelerator,
            gpu_count=self.given["cluster_accelerator_count"],
            **inputs,
        )
        return self.place(task, accelerator=accelerator)


def _catalog(given: dict[str, Any], component: Any) -> dict[str, Any]:
    """What a component reads of the parameters about the catalog."""
    wanted = [name for name in component.component_spec.inputs if name.startswith("catalog_")]
    return {"config": given["preprocess_config"], **{name: given[name] for name in wanted}}


def _collected(classifiers: dict[str, Any], output: str, suffix: str = "") -> dict[str, Any]:
    # Afresh for each task: the compiler changes what it is given.
    return {f"{stage}{suffix}": dsl.Collected(task.outputs[output]) for stage, task in classifiers.items()}


def _connect(preset: dict[str, Any], images: str, settings: ClusterSettings, given: dict[str, Any]) -> None:
    """Connects the stages' tasks; `given` holds the pipeline's parameters by name."""
    place = _Placement(settings, given)
    settled = {name: given[name] for name in check_parameters.component_spec.inputs}
    checked = place(check_parameters(**settled)).set_caching_options(False)
    dealt = {"folds": given["denoise_folds"], "seed": given["seed"]}
    catalog = place(preprocess(**_catalog(given, preprocess), **dealt).after(checked))
    raw, store, profile = (catalog.outputs[name] for name in ("products", "images", "profile"))
    # Before any training, so that what is wrong with the test file stops a run early; no training reads it.
    new = place(preprocess_new(**_catalog(given, preprocess_new), products=raw, profile=profile))
    trainings = _Trainings(given, checked.outputs, place, store, new)
    folds = trainings.folds(raw, FOLDS_OF[preset["denoise_on"]])
    config, keep_ids = given["denoise_config"], given["denoise_keep_ids"]
    issues = place(denoise(products=raw, images=store, config=config, keep_ids=keep_ids, **folds))
    cleaned = {"products": issues.outputs["cleaned"], "images": store}
    classifiers = trainings.classifiers(cleaned["products"])
    fused = fusion(
        **cleaned,
        **_collected(classifiers, "probabilities"),
        **_collected(classifiers, "features", suffix="_features"),
        **_collected(classifiers, "model", suffix="_models"),
        configs=given["fusion_configs"],
        folds=given["fusion_folds"],
        seed=given["seed"],
    )
    # Known when compiling alone: a run that asks for it by a parameter trains on what fusion is given.
    jointly = wants_gpu("fusion", preset["fusion_configs"])
    place(fused, accelerator=given["cluster_accelerator_type"] if jointly else None)
    fusions = {name: fused.outputs[name] for name in ("members", "feature_level")}
    models = _collected(classifiers, "model", suffix="_models")
    models |= {"fusion_model": fused.outputs["fusion_model"], "profile": profile}
    vote = place(ensemble(**cleaned, **fusions, **models, config=given["ensemble_config"]))
    model = {"ensemble_model": vote.outputs["ensemble_model"]}
    unlabeled = {name: new.outputs[name] for name in ("new_products", "new_images")}
    predicted = place(predict(**model, **unlabeled), accelerator=checked.outputs["predict"])
    answers = {"predictions": predicted.outputs["predictions"]}
    evaluation = evaluate(
        **cleaned,
        **_collected(classifiers, "probabilities"),
        **fusions,
        ensemble=vote.outputs["probabilities"],
        label_issues=issues.outputs["label_issues"],
        new_products=new.outputs["new_products"],
        **answers,
        graph={"preset": preset["name"], "denoise_on": preset["denoise_on"], "images": images},
        seed=given["seed"],
    )
    # Its results lead to everything else that a run made, so every run has its own.
    evaluated = place(evaluation).set_caching_options(False)
    with dsl.If(given["models_store"] != ""):
        names = ("models_store", "models_name", "models_gate", "seed")
        last = promote(**model, **answers, **cleaned, **{name: given[name] for name in names})
        place(last.after(evaluated)).set_caching_options(False)
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
    beside = [("preprocess", each) for each in (check_parameters, preprocess_new, no_models_store)]
    for stage, component in (*COMPONENTS.items(), *beside):
        component.component_spec.implementation.container.image = image_name(stage, registry, tag)
    connect = partial(_connect, preset, image_name("<stage>", registry, tag), settings)

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


HERE = (run, check, predict_command, show, compare, fuse, models)
for command in (*HERE, compile_command, upload, submit, schedule, runs):
    main.add_command(command)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main()
