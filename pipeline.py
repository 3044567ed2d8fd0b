"""The pipeline and its command line: compile it, run it on this machine or on a cluster."""
# The decorators of kfp carry no types: a component called in a pipeline returns a task.
# pyright: reportCallIssue=false, reportAttributeAccessIssue=false, reportArgumentType=false

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from kfp import Client, compiler, dsl, kubernetes, local
from kfp import components as kfp_components
from kfp.compiler.compiler_utils import KubernetesManifestOptions

from components.cluster_commands import COMMANDS, Toolkit, denoise_option, preset_option, settings_options
from components.cluster_settings import TRAININGS, ClusterSettings
from components.container import NAME, REGISTRY, TAG, image_name
from components.denoise.component import denoise
from components.ensemble.component import ensemble
from components.errors import InputError
from components.evaluate.component import evaluate
from components.fuse_command import fuse
from components.fusion.component import fusion
from components.image.component import image
from components.local_run import LocalRun
from components.preprocess.component import preprocess
from components.presets import PRESETS
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
        description="Product categorisation from text and images by late fusion.",
    )
    def product_categorisation(
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
        folds: list = [0, 1, 2, 3],  # noqa: B006
        text_fold_config: dict = preset["text_fold_config"],
        image_fold_config: dict = preset["image_fold_config"],
        denoise_config: dict = preset["denoise_configs"][preset["denoise_on"]],
        text_configs: list = preset["text_configs"],
        image_configs: list = preset["image_configs"],
        fusion_configs: list = preset["fusion_configs"],
        fusion_folds: int = 8,
        ensemble_config: dict = preset["ensemble_config"],
        accelerator_type: str = preset["accelerator_type"],
        accelerator_count: str = preset["accelerator_count"],
        node_selector: dict = {},  # noqa: B006
        tolerations: list = preset["tolerations"],
        checkpoints: str = settings.checkpoints,
        facts: dict = {},  # noqa: B006
        seed: int = 0,
    ):
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
        raw, store = catalog.outputs["products"], catalog.outputs["images"]
        training = {
            "seed": seed,
            "checkpoints": checkpoints,
            "gpu_type": accelerator_type,
            "gpu_count": accelerator_count,
        }

        def place(task: Any, stage: str) -> Any:
            settings.apply(task, stage, kubernetes)
            if stage in TRAININGS:
                task.set_accelerator_type(accelerator_type).set_accelerator_limit(accelerator_count)
                kubernetes.add_node_selector_json(task, node_selector)
                kubernetes.add_toleration_json(task, tolerations)
            return task

        place(catalog, "preprocess")
        found: dict[str, Any] = {}
        if preset["denoise_on"] in ("text", "both"):
            with dsl.ParallelFor(folds) as fold:
                judged = place(text(products=raw, config=text_fold_config, fold=fold, **training), "text")
            found["text_folds"] = dsl.Collected(judged.outputs["probabilities"])
        if preset["denoise_on"] in ("image", "both"):
            with dsl.ParallelFor(folds) as fold:
                judged = place(
                    image(products=raw, images=store, config=image_fold_config, fold=fold, **training),
                    "image",
                )
            found["image_folds"] = dsl.Collected(judged.outputs["probabilities"])
        issues = place(
            denoise(products=raw, images=store, config=denoise_config, keep_ids=keep_ids, **found), "denoise"
        )
        cleaned = issues.outputs["cleaned"]
        with dsl.ParallelFor(text_configs) as config:
            text_voter = place(text(products=cleaned, config=config, fold=-1, **training), "text")
        with dsl.ParallelFor(image_configs) as config:
            image_voter = place(
                image(products=cleaned, images=store, config=config, fold=-1, **training), "image"
            )

        def voters() -> dict[str, Any]:  # afresh for each task: the compiler changes what it is given
            return {
                "text": dsl.Collected(text_voter.outputs["probabilities"]),
                "image": dsl.Collected(image_voter.outputs["probabilities"]),
            }

        fused = fusion(
            products=cleaned,
            text_features=dsl.Collected(text_voter.outputs["features"]),
            image_features=dsl.Collected(image_voter.outputs["features"]),
            configs=fusion_configs,
            folds=fusion_folds,
            seed=seed,
            **voters(),
        )
        place(fused, "fusion")
        members = fused.outputs["members"]
        vote = place(
            ensemble(products=cleaned, images=store, members=members, config=ensemble_config), "ensemble"
        )
        judgement = evaluate(
            products=cleaned,
            images=store,
            members=members,
            feature_level=fused.outputs["feature_level"],
            ensemble=vote.outputs["probabilities"],
            label_issues=issues.outputs["label_issues"],
            facts=facts,
            seed=seed,
            **voters(),
        )
        place(judgement, "evaluate")

    return product_categorisation


def compile_pipeline(
    preset: str,
    output: Path,
    *,
    denoise_on: str | None = None,
    manifest: bool = False,
    **options: Any,
) -> None:
    """Compiles the pipeline with a preset's defaults into `output`.

    Args:
        denoise_on: another choice than the preset's; see `build_pipeline`.
        manifest: as Pipeline and PipelineVersion resources, for clusters that store pipelines in Kubernetes.
        options: registry, tag and settings; see `build_pipeline`.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    chosen = {"denoise_on": denoise_on} if denoise_on else {}
    graph = build_pipeline({**PRESETS[preset], **chosen}, **options)
    named = KubernetesManifestOptions(
        pipeline_name=NAME,
        pipeline_display_name=NAME,
        pipeline_version_name=f"{NAME}-{options.get('tag', TAG)}",
        pipeline_version_display_name=options.get("tag", TAG),
        namespace=NAME,
        include_pipeline_manifest=True,
    )
    compiler.Compiler().compile(
        graph,
        str(output),
        kubernetes_manifest_format=manifest,
        kubernetes_manifest_options=named if manifest else None,
    )


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.pass_context
def main(context: click.Context) -> None:
    """Product categorisation from text and images, as a Kubeflow pipeline."""
    context.obj = Toolkit(compile_pipeline, _parse_parameters, Client)


for other_command in (*COMMANDS, fuse):
    main.add_command(other_command)


@main.command("compile")
@preset_option
@denoise_option
@click.option("--output", type=click.Path(path_type=Path), default=Path("pipeline.yaml"), show_default=True)
@click.option("--registry", default=REGISTRY, show_default=True, help="Where the stages' images lie.")
@click.option("--tag", default=TAG, show_default=True, help="The images' tag.")
@click.option("--manifest", is_flag=True, help="As Kubernetes resources, for `kubectl apply`.")
@settings_options
def compile_command(preset: str, output: Path, registry: str, tag: str, **options: Any) -> None:
    """Compile the pipeline into one YAML file, for any cluster and for `run`."""
    compile_pipeline(preset, output, registry=registry, tag=tag, **options)
    click.echo(f"wrote {output}: preset {preset}, images {image_name('<stage>', registry, tag)}")


existing = click.Path(exists=True, path_type=Path, resolve_path=True)


@main.command()
@preset_option
@denoise_option
@click.option("--products", type=existing, help="Products with their texts: TSV or CSV.")
@click.option("--labels", type=existing, help="Their codes, joined by id.")
@click.option("--images", type=existing, help="Their images: a folder or a zip.")
@click.option("--test-products", type=existing, help="Products to categorise.")
@click.option("--test-images", type=existing, help="Images of the products to categorise.")
@click.option("--test-labels", type=existing, help="Their codes, if known: scored too, never learnt from.")
@click.option("--class-names", type=existing, help='JSON of code to name: {"10": "Books"}.')
@click.option("--corrections", type=existing, help="TSV of product_id and code: labels you put right.")
@click.option("--keep-ids", type=existing, help="Product ids that denoising must not remove, one a line.")
@click.option(
    "--earlier-profile", type=existing, help="The profile.json of an earlier run: drift is told by it."
)
@click.option(
    "--columns", default="", help="Another catalog's columns: product_id=sku,title=name,...,code=type"
)
@click.option("--output", type=click.Path(path_type=Path), help="Folder for the results. [runs/<catalog>]")
@click.option("--param", multiple=True, metavar="KEY=JSON", help="Any other parameter of the pipeline.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--fresh", is_flag=True, help="Forget what an earlier run into this folder finished.")
def run(
    preset: str,
    denoise_on: str | None,
    columns: str,
    output: Path | None,
    param: tuple[str, ...],
    fresh: bool,
    **options: Any,
) -> None:
    """Run the compiled pipeline on this machine, with no cluster.

    With no catalog named it generates a sample first. A second run into the same folder goes on from
    the finished stages whose inputs and code are unchanged.
    """
    arguments: dict[str, Any] = {name: str(value) for name, value in options.items() if value is not None}
    arguments |= {"seed": options["seed"], "facts": {"preset": preset, "images": image_name("<stage>")}}
    if columns:
        arguments["preprocess_config"] = {"columns": columns}
    try:
        arguments |= _parse_parameters(param, PRESETS[preset])
        local_run = LocalRun(output, arguments, fresh=fresh)
        compiled = local_run.folder / "pipeline.yaml"
        # A second attempt on this machine would fail as the first did, minutes later.
        compile_pipeline(preset, compiled, denoise_on=denoise_on, settings=ClusterSettings(retries=0))
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(local_run.artifacts))
        local_run.execute(kfp_components.load_component_from_file(str(compiled)))
    except InputError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)


def _parse_parameters(items: tuple[str, ...], preset: dict[str, Any]) -> dict[str, Any]:
    inputs = build_pipeline(preset).component_spec.inputs
    parsed = {}
    for item in items:
        key, separator, value = item.partition("=")
        if not separator or key not in inputs:
            raise InputError(
                f"--param {item!r}: expected KEY=JSON with KEY one of {', '.join(sorted(inputs))}"
            )
        try:
            parsed[key] = value if inputs[key].type == "String" else json.loads(value)
        except ValueError as error:
            raise InputError(f"--param {key}: not JSON: {error}") from error
    return parsed


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main()
