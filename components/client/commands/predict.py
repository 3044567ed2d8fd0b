"""The command `predict`: a model package applied to a catalog, with no cluster and no training."""

import logging
from pathlib import Path

import click

from components.client.commands.access import existing
from components.client.commands.failure import exit_on_input_error
from components.client.parameters import parse_parameters
from components.core.configuration import Accelerator
from components.serving.command import device_option, model_option


@click.command()
@model_option
@click.option(
    "--products", required=True, type=existing, help="Products to categorize, in any form that `run` reads."
)
@click.option(
    "--images",
    type=click.Path(exists=True, path_type=Path),
    help="Their images: a folder or a zip. [texts alone]",
)
@click.option("--columns", default="", help="The catalog's columns, where they are not those trained on.")
@click.option(
    "--param",
    multiple=True,
    metavar="preprocess_config=JSON",
    help='How the catalog is read, where not as the one trained on: {"quotes": "none"}.',
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("predictions.csv"),
    show_default=True,
    help="NAME.csv or NAME.tsv; NAME_detail.tsv goes beside it.",
)
@device_option
def predict(
    model: Path,
    products: Path,
    images: Path | None,
    columns: str,
    param: tuple[str, ...],
    output: Path,
    device: Accelerator,
) -> None:
    """Predict a catalog's products with a trained model.

    The codes are written in the form of the labels file that the model was trained on, and in detail: how
    sure the model is, what each classifier says alone, which products have no usable image.
    """
    # Not at the top: compiling imports this module and needs kfp alone.
    from components.lifecycle.catalog import predict_catalog
    from components.lifecycle.model import load_model

    logging.basicConfig(level=logging.WARNING, format="%(message)s", force=True)
    logging.getLogger("components.lifecycle").setLevel(logging.INFO)
    with exit_on_input_error():
        settings = parse_parameters(param, {"preprocess_config": "Dict"}).get("preprocess_config", {})
        loaded = load_model(model, device=device)
        where = str(images or "")
        done = predict_catalog(loaded, str(products), where, output, columns=columns, settings=settings)
    click.echo(
        f"model {loaded.version}: {done.products:,} products predicted, {done.left_out:,} rows left out"
    )
    if done.without_image:
        click.echo(
            f"{done.without_image:,} without an image that can be used: their text alone speaks for them"
        )
    click.echo(f"wrote {', '.join(map(str, done.files))}")
