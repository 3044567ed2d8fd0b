"""The pipeline's graph; `python pipeline.py COMMAND` starts the command line."""
# The decorators of kfp carry no types: a component called in a pipeline returns a task.
# pyright: reportCallIssue=false, reportAttributeAccessIssue=false, reportArgumentType=false

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click
from kfp import dsl, kubernetes

from components.client.cluster.settings import ClusterSettings
from components.client.commands.cluster import runs, schedule, submit, upload
from components.client.commands.compile import compile_command
from components.client.commands.fuse import fuse
from components.client.commands.run import run
from components.client.commands.show import compare, show
from components.core.project import NAME, REGISTRY, TAG, TRAININGS, image_name
from components.denoise.component import denoise
from components.ensemble.component import ensemble
from components.evaluate.component import evaluate
from components.fusion.component import fusion
from components.image.component import image
from components.preprocess.component import preprocess
from components.text.component import text

STAGES = {
    "preprocess": preprocess,
    "denoise": denoise,
    "text": text,
    "image": image,
    "fusion": fusion,
    "ensemble": ensemble,
    "evaluate": evaluate,
}


# Whose out-of-fold probabilities denoising reads, by `denoise_on`.
FOLDS_OF = {"text": ("text",), "image": ("image",), "both": ("text", "image")}


@dataclass(frozen=True)
class _Placement:
    """Says where a task's pod runs. What a run may choose is known only when it starts."""

    settings: ClusterSettings
    accelerator_type: Any
    accelerator_count: Any
    node_selector: Any
    tolerations: Any

    def __call__(self, task: Any, stage: str, *, trains: bool = False) -> Any:
        trains = trains or stage in TRAININGS
        self.settings.apply(task, kubernetes, training=trains)
        if trains:
            task.set_accelerator_type(self.accelerator_type).set_accelerator_limit(self.accelerator_count)
            kubernetes.add_node_selector_json(task, self.node_selector)
            kubernetes.add_toleration_json(task, self.tolerations)
        return task


@dataclass(frozen=True)
class _Classifiers:
    """The text and image tasks, one loop each."""

    text: Any
    image: Any

    def collected(self, output: str, suffix: str = "") -> dict[str, Any]:
        """An output of all of them, afresh for each task: the compiler changes what it is given."""
        return {
            f"text{suffix}": dsl.Collected(self.text.outputs[output]),
            f"image{suffix}": dsl.Collected(self.image.outputs[output]),
        }


def _classifiers_of_folds(
    raw: Any, store: Any, configs: dict[str, Any], folds: Any, training: dict[str, Any], place: _Placement
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "text" in configs:
        with dsl.ParallelFor(folds) as fold:
            task = place(text(products=raw, config=configs["text"], fold=fold, **training), "text")
        found["text_folds"] = dsl.Collected(task.outputs["probabilities"])
    if "image" in configs:
        with dsl.ParallelFor(folds) as fold:
            task = image(products=raw, images=store, config=configs["image"], fold=fold, **training)
            place(task, "image")
        found["image_folds"] = dsl.Collected(task.outputs["probabilities"])
    return found


def _train_classifiers(
    products: Any,
    store: Any,
    text_configs: Any,
    image_configs: Any,
    training: dict[str, Any],
    place: _Placement,
) -> _Classifiers:
    with dsl.ParallelFor(text_configs) as config:
        of_text = place(text(products=products, config=config, fold=-1, **training), "text")
    with dsl.ParallelFor(image_configs) as config:
        of_image = place(image(products=products, images=store, config=config, fold=-1, **training), "image")
    return _Classifiers(of_text, of_image)


def build_pipeline(
    preset: dict[str, Any],
    *,
    registry: str = REGISTRY,
    tag: str = TAG,
    settings: ClusterSettings = ClusterSettings(),  # noqa: B008
) -> Callable:
    """The pipeline with a preset's values as the defaults of its parameters.

    Args:
        preset: see `components/presets.py`. Its `denoise_on` ("image", "text" or "both") says which
            classifier's folds denoising reads; it shapes the graph and is fixed when compiling, as a
            loop over an empty list does not run everywhere.
        registry: where the images lie.
        tag: the images' tag; another one also renews every cached step.
        settings: what the pods ask of a cluster; a local run ignores it.
    """
    for stage, component in STAGES.items():
        component.component_spec.implementation.container.image = image_name(stage, registry, tag)

    @dsl.pipeline(
        name=NAME,
        description="Product categorization from text and images by late fusion.",
    )
    def product_categorization(
        products: str = "",
        labels: str = "",
        images: str = "",
        test_products: str = "",
        test_images: str = "",
        test_labels: str = "",
        class_names: str = "",
        corrections: str = "",
        keep_ids: str = "",
        earlier_profile: str = "",
        snapshot: str = "",
        preprocess_config: dict = {},  # noqa: B006
        folds: list[int] = [0, 1, 2, 3],  # noqa: B006
        text_fold_config: dict = preset["text_fold_config"],
        image_fold_config: dict = preset["image_fold_config"],
        denoise_config: dict = preset["denoise_configs"][preset["denoise_on"]],
        text_configs: list[dict] = preset["text_configs"],
        image_configs: list[dict] = preset["image_configs"],
        fusion_configs: list[dict] = preset["fusion_configs"],
        fusion_folds: int = 8,
        ensemble_config: dict = preset["ensemble_config"],
        accelerator_type: str = preset["accelerator_type"],
        accelerator_count: str = preset["accelerator_count"],
        node_selector: dict = {},  # noqa: B006
        tolerations: list[dict] = preset["tolerations"],
        checkpoints: str = settings.checkpoints,
        metadata: dict = {"images": image_name("<stage>", registry, tag)},  # noqa: B006, B008
        seed: int = 0,
    ):
        place = _Placement(settings, accelerator_type, accelerator_count, node_selector, tolerations)
        training = {
            "seed": seed,
            "checkpoints": checkpoints,
            "gpu_type": accelerator_type,
            "gpu_count": accelerator_count,
        }
        catalog = preprocess(
            products_uri=products,
            labels_uri=labels,
            images_uri=images,
            test_products_uri=test_products,
            test_images_uri=test_images,
            test_labels_uri=test_labels,
            class_names_uri=class_names,
            corrections_uri=corrections,
            earlier_profile_uri=earlier_profile,
            config=preprocess_config,
            folds=folds,
            seed=seed,
            snapshot=snapshot,
        )
        place(catalog, "preprocess")
        raw, store = catalog.outputs["products"], catalog.outputs["images"]
        configs = {"text": text_fold_config, "image": image_fold_config}
        predicted = {name: configs[name] for name in FOLDS_OF[preset["denoise_on"]]}
        classifiers = _classifiers_of_folds(raw, store, predicted, folds, training, place)
        issues = denoise(products=raw, images=store, config=denoise_config, keep_ids=keep_ids, **classifiers)
        place(issues, "denoise")
        cleaned = issues.outputs["cleaned"]
        classifiers = _train_classifiers(cleaned, store, text_configs, image_configs, training, place)
        fused = fusion(
            products=cleaned,
            images=store,
            configs=fusion_configs,
            folds=fusion_folds,
            seed=seed,
            **classifiers.collected("probabilities"),
            **classifiers.collected("features", suffix="_features"),
            **classifiers.collected("model", suffix="_models"),
        )
        # Known when compiling alone: a run that asks for it by a parameter trains on what fusion is given.
        jointly = any(config.get("training") == "end_to_end" for config in preset["fusion_configs"])
        place(fused, "fusion", trains=jointly)
        fusions = {name: fused.outputs[name] for name in ("members", "feature_level")}
        vote = ensemble(products=cleaned, images=store, config=ensemble_config, **fusions)
        place(vote, "ensemble")
        evaluation = evaluate(
            products=cleaned,
            images=store,
            **fusions,
            ensemble=vote.outputs["probabilities"],
            label_issues=issues.outputs["label_issues"],
            metadata=metadata,
            seed=seed,
            **classifiers.collected("probabilities"),
        )
        place(evaluation, "evaluate")

    return product_categorization


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.pass_context
def main(context: click.Context) -> None:
    """Product categorization from text and images, as a Kubeflow pipeline."""
    context.obj = build_pipeline


for command in (run, show, compare, fuse, compile_command, upload, submit, schedule, runs):
    main.add_command(command)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main()
