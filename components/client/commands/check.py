"""The command `check`: what preprocess and the configurations would say of a run, before it."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from components.client.commands.failure import exit_on_input_error
from components.client.commands.run import catalog_options, read_arguments
from components.client.local.run import defaults_of
from components.client.presets import FOLDS_OF, PRESETS
from components.core.errors import InputError


@click.command()
@catalog_options
@click.option("--all-pictures", is_flag=True, help="Decode all pictures; else 200 drawn ones.")
@click.pass_obj
def check(
    build_pipeline: Callable,
    preset: str,
    denoise_on: str | None,
    output: Path | None,
    fresh: bool,
    all_pictures: bool,
    **options: Any,
) -> None:
    """Say what a run with the same arguments would stop at, in seconds and without starting it.

    Reads the tables and joins them, finds every picture and reads its header, and decodes 200 drawn ones.
    What is found is what preprocess finds. --output and --fresh are taken, so that `check` can stand for
    `run`, and nothing is written.
    """
    # Not at the top: compiling imports this module and needs kfp alone.
    from components.client.local.check import DECODED, check_before, check_run

    logging.getLogger("components").setLevel(logging.WARNING)
    with exit_on_input_error():
        arguments = read_arguments(build_pipeline, preset, options)
        every = {**defaults_of(build_pipeline(PRESETS[preset])), **arguments}
        if not every["catalog_products"]:
            raise InputError("--products is missing: name the products file beside its labels and images")
        check_before(every, FOLDS_OF[denoise_on or PRESETS[preset]["denoise_on"]])
        for line in check_run(every, decoded=None if all_pictures else DECODED):
            click.echo(line)
    click.echo("nothing that stops a run was found")
