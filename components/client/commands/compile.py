"""The command `compile`, and the options of every command that compiles the pipeline."""

import ast
import dataclasses
import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from kfp import compiler
from kfp.compiler.compiler_utils import KubernetesManifestOptions

from components.client.cluster.server import content_digest
from components.client.cluster.settings import ClusterSettings
from components.client.commands.failure import exit_on_input_error
from components.client.graph.pipelines import PIPELINES, TRAIN, Pipeline, choose_pipeline
from components.client.parameters import parse_parameters
from components.client.presets import DENOISE_ON, PRESETS
from components.core.errors import InputError
from components.core.project import REGISTRY, TAG, check_image, image_name

pipeline_option = click.option(
    "--pipeline",
    type=click.Choice(PIPELINES),
    default=TRAIN,
    show_default=True,
    help="train: from a catalog to a model; predict: the champion of a store predicts a catalog.",
)
preset_option = click.option(
    "--preset",
    type=click.Choice(sorted(PRESETS)),
    default="laptop",
    show_default=True,
    help="paper: the paper's models, for GPUs; laptop: small models, no GPU, no download.",
)
denoise_option = click.option(
    "--denoise-on",
    type=click.Choice(DENOISE_ON),
    help="Whose folds find label issues; it shapes the graph, so no parameter can change it. [the preset's]",
)
registry_option = click.option(
    "--registry", default=REGISTRY, show_default=True, help="Where the stages' images lie."
)
tag_option = click.option("--tag", default=TAG, show_default=True, help="The images' tag.")


def settings_options(command: Callable) -> Callable:
    """Gives a command the fields of ClusterSettings as options; it receives them as `settings`."""
    fields = dataclasses.fields(ClusterSettings)

    @functools.wraps(command)
    def with_settings(*arguments: Any, **options: Any) -> Any:
        with exit_on_input_error():
            settings = ClusterSettings(**{field.name: options.pop(field.name) for field in fields})
        return command(*arguments, settings=settings, **options)

    for field in reversed(fields):
        dashed = field.name.replace("_", "-")
        flag = f"--{dashed}/--no-{dashed}" if field.name == "cache" else f"--{dashed}"
        text = field.metadata["help"]
        option = click.option(flag, default=field.default, show_default=True, help=text)
        with_settings = option(with_settings)
    return with_settings


def compile_options(command: Callable) -> Callable:
    """Gives a command every option that shapes the compiled pipeline; it receives that one as `pipeline`."""

    @functools.wraps(command)
    def with_pipeline(*arguments: Any, pipeline: str, denoise_on: str | None, **options: Any) -> Any:
        build_pipeline = click.get_current_context().obj
        with exit_on_input_error():
            chosen = choose_pipeline(pipeline, build_pipeline, denoise_on=denoise_on)
        return command(*arguments, pipeline=chosen, denoise_on=denoise_on, **options)

    every = (settings_options, tag_option, registry_option, denoise_option, preset_option, pipeline_option)
    return functools.reduce(lambda done, option: option(done), every, with_pipeline)


@click.command("compile")
@click.option("--output", type=click.Path(path_type=Path), default=Path("pipeline.yaml"), show_default=True)
@click.option("--manifest", is_flag=True, help="As Kubernetes resources, for `kubectl apply`.")
@click.option("--namespace", help="That of the resources; goes with --manifest. [kubeflow]")
@compile_options
def compile_command(
    pipeline: Pipeline,
    preset: str,
    output: Path,
    registry: str,
    tag: str,
    manifest: bool,
    namespace: str | None,
    **options: Any,
) -> None:
    """Compile a pipeline into one YAML file, for any cluster; `run` compiles its own."""
    with exit_on_input_error():
        if namespace and not manifest:
            raise InputError("--namespace: only resources have one, add --manifest")
        options["namespace"] = (namespace or "kubeflow") if manifest else ""
        compile_pipeline(pipeline.build, preset, output, registry=registry, tag=tag, **options)
    click.echo(f"wrote {output}: preset {preset}, images {image_name('<stage>', registry, tag)}")


def compile_pipeline(
    build_pipeline: Callable,
    preset: str,
    output: Path,
    *,
    denoise_on: str | None = None,
    namespace: str = "",
    **options: Any,
) -> None:
    """Compiles the pipeline with a preset's defaults into `output`.

    Args:
        build_pipeline: see `Pipeline`.
        denoise_on: another choice than the preset's; see `build_pipeline`.
        namespace: makes it Pipeline and PipelineVersion resources in this namespace, for clusters that store
            pipelines in Kubernetes. A version never changes there, so its name follows from its content.
        options: registry, tag and settings; see `build_pipeline`.

    Raises:
        InputError: `output` does not end with .yaml, or no node could pull the images.
    """
    if output.suffix not in (".yaml", ".yml"):
        raise InputError(f"--output {output}: expected a name that ends with .yaml")
    check_image(options.get("registry", REGISTRY), options.get("tag", TAG))
    output.parent.mkdir(parents=True, exist_ok=True)
    chosen = {"denoise_on": denoise_on} if denoise_on else {}
    graph = build_pipeline({**PRESETS[preset], **chosen}, **options)
    compiler.Compiler().compile(graph, str(output))
    _sort_header(output)
    if namespace:
        digest = content_digest(output)[:12]
        named = KubernetesManifestOptions(
            pipeline_name=graph.name,
            pipeline_display_name=graph.name,
            pipeline_version_name=f"{graph.name}-{digest}",
            pipeline_version_display_name=f"{options.get('tag', TAG)}-{digest}",
            namespace=namespace,
            include_pipeline_manifest=True,
        )
        compiler.Compiler().compile(
            graph, str(output), kubernetes_manifest_format=True, kubernetes_manifest_options=named
        )


def _sort_header(package: Path) -> None:
    # The compiler writes the defaults of mappings into its comments in another order each time.
    def in_order(line: re.Match[str]) -> str:
        return f"{line[1]}{json.dumps(ast.literal_eval(line[2]), sort_keys=True)}]"

    text = package.read_text(encoding="utf-8")
    sorted_text = re.sub(r"(?m)^(#.*\[Default: )([\[{].*)\]$", in_order, text)
    package.write_text(sorted_text, encoding="utf-8")


def pipeline_arguments(build_pipeline: Callable, preset: str, items: tuple[str, ...]) -> dict[str, Any]:
    """The values of `--param KEY=JSON`, checked against the pipeline's parameters."""
    inputs = build_pipeline(PRESETS[preset]).component_spec.inputs
    return parse_parameters(items, {name: one.type for name, one in inputs.items()})
