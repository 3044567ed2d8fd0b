"""The command `run`: the compiled pipeline on this machine."""

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from kfp import components as kfp_components
from kfp import local

from components.client.cluster.settings import ClusterSettings
from components.client.commands.compile import (
    compile_pipeline,
    denoise_option,
    pipeline_arguments,
    preset_option,
)
from components.client.commands.failure import exit_on_input_error
from components.client.local.run import LocalRun, defaults_of
from components.client.presets import FOLDS_OF, PRESETS, pretrained_configs
from components.core.errors import InputError
from components.core.parameters import LARGEST_SEED, check_texts

# Of the options that name a file, those that are not about the catalog.
PARAMETERS = {"keep_ids": "denoise_keep_ids"}
existing = click.Path(exists=True, dir_okay=False, path_type=Path, resolve_path=True)
file_or_folder = click.Path(exists=True, path_type=Path, resolve_path=True)


OPTIONS = (
    preset_option,
    denoise_option,
    click.option("--products", type=existing, help="A table of products with their texts."),
    click.option("--labels", type=existing, help="A table of their codes, joined by id."),
    click.option("--images", type=file_or_folder, help="Their images: a folder or a zip."),
    click.option("--test-products", type=existing, help="A table of products to categorize."),
    click.option("--test-images", type=file_or_folder, help="Images of the products to categorize."),
    click.option(
        "--test-labels", type=existing, help="A table of their codes, if known: scored, never learned from."
    ),
    click.option(
        "--class-names",
        type=existing,
        help='JSON of code to name, {"10": "Books > Novels"}, or a table of code, name and parent.',
    ),
    click.option(
        "--corrections", type=existing, help="A table of product_id and code: labels you put right."
    ),
    click.option("--keep-ids", type=existing, help="Product ids that denoising must not remove, one a line."),
    click.option(
        "--earlier-profile",
        type=existing,
        help="The profile.json of an earlier run, to detect drift against.",
    ),
    click.option(
        "--columns", default="", help="Another catalog's columns: product_id=sku,title=name,...,code=type"
    ),
    click.option(
        "--image-weights", default="", help="Pretrained: a folder, a URI, or a name of timm's. Preset laptop."
    ),
    click.option(
        "--text-weights", default="", help="Pretrained: a folder, a URI, or a name on the hub. Preset laptop."
    ),
    click.option(
        "--output", type=click.Path(path_type=Path), help="Folder for the results. [runs/<catalog>]"
    ),
    click.option("--param", multiple=True, metavar="KEY=JSON", help="Any other parameter of the pipeline."),
    click.option("--seed", type=click.IntRange(0, LARGEST_SEED), default=0, show_default=True),
    click.option("--fresh", is_flag=True, help="Forget what an earlier run into this folder finished."),
)


def catalog_options(command: Callable) -> Callable:
    """Gives a command every option of `run`."""
    return functools.reduce(lambda done, option: option(done), reversed(OPTIONS), command)


def read_arguments(build_pipeline: Callable, preset: str, options: dict[str, Any]) -> dict[str, Any]:
    """The pipeline's parameters that the options of `catalog_options` set, checked.

    Raises:
        InputError: one of them is wrong.
    """
    columns, param = options.pop("columns"), options.pop("param")
    weights = {name: _absolute(options.pop(name)) for name in ("image_weights", "text_weights")}
    arguments: dict[str, Any] = {
        "seed": options.pop("seed"),
        **pretrained_configs(PRESETS[preset], **weights),
    }
    files = {name: value for name, value in options.items() if value is not None}
    arguments |= {PARAMETERS.get(name, f"catalog_{name}"): str(value) for name, value in files.items()}
    arguments |= pipeline_arguments(build_pipeline, preset, param)
    if columns:
        arguments["preprocess_config"] = {**arguments.get("preprocess_config", {}), "columns": columns}
    check_texts(arguments)
    return arguments


@click.command()
@catalog_options
@click.pass_obj
def run(
    build_pipeline: Callable,
    preset: str,
    denoise_on: str | None,
    output: Path | None,
    fresh: bool,
    **options: Any,
) -> None:
    """Run the compiled pipeline on this machine, with no cluster.

    With no catalog named it generates a sample first. A second run into the same folder goes on from
    the finished stages whose inputs and code are unchanged.
    """
    # Not at the top: compiling imports this module and needs kfp alone.
    from components.client.local.check import check_before

    with exit_on_input_error():
        arguments = read_arguments(build_pipeline, preset, options)
        every = {**defaults_of(build_pipeline(PRESETS[preset])), **arguments}
        check_before(every, FOLDS_OF[denoise_on or PRESETS[preset]["denoise_on"]])
        _refuse_interpreters((output or Path()).resolve(), arguments)
        local_run = LocalRun(output, arguments, fresh=fresh)
        compiled = local_run.folder / "pipeline.yaml"
        # A second attempt on this machine would fail as the first did, minutes later.
        once = ClusterSettings(retries=0)
        compile_pipeline(build_pipeline, preset, compiled, denoise_on=denoise_on, settings=once)
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(local_run.artifacts))
        local_run.execute(kfp_components.load_component_from_file(str(compiled)))


def _refuse_interpreters(folder: Path, arguments: dict[str, Any]) -> None:
    # kfp's local runner puts the interpreter's path in place of these letters, wherever they stand.
    if found := re.findall(r'[^"]*python3[^"]*', json.dumps([str(folder), arguments])):
        raise InputError(
            f"{found[0]}: no path or value of a run on this machine may contain 'python3', which the local "
            "runner of Kubeflow Pipelines takes for the interpreter; put it under another one"
        )


def _absolute(weights: str) -> str:
    # The stages run elsewhere. What is no folder here is a name or a URI.
    return str(Path(weights).absolute()) if weights and Path(weights).exists() else weights
