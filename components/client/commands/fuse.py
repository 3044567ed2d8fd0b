"""`pipeline.py fuse`: the fusion alone, on probability matrices from elsewhere."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from components.client.commands.access import existing
from components.client.commands.failure import exit_on_input_error

MANY = ("--text", "--image")


class DecisionLevelKind(click.ParamType):
    """The name of a kind that fuses probabilities."""

    name = "kind"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuses what is none, with those that there are."""
        return self._choice().convert(value, param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        """Those that there are, for `--help`."""
        return self._choice().get_metavar(param, ctx)

    def _choice(self) -> click.Choice:
        # Not at the top: the help of all commands need not wait for what checks configurations.
        from components.fusion.config import decision_level_kinds

        return click.Choice(decision_level_kinds())


class ManyValues(click.Command):
    """Lets `--text A B` stand for `--text A --text B`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeats the option's name before each of its further values."""
        return super().parse_args(ctx, list(_repeated(args)))


def _repeated(args: list[str]) -> Iterator[str]:
    option, values = "", 0
    for argument in args:
        if argument.startswith("-"):
            option, values = argument, 0
        elif option in MANY:
            values += 1
            if values > 1:
                yield option
        yield argument


@click.command(cls=ManyValues)
@click.option(
    "--text", multiple=True, type=existing, metavar="T1.npz [T2.npz ...]", help="Text classifiers' matrices."
)
@click.option(
    "--image", multiple=True, type=existing, metavar="I1.npz [...]", help="Image classifiers' matrices."
)
@click.option("--labels", required=True, type=existing, help="A table of id and code.")
@click.option("--kind", required=True, type=DecisionLevelKind(), help="How they are fused.")
@click.option("--encoding", default="", help="Of the labels, where they are not UTF-8: cp1252, cp1251, ...")
@click.option(
    "--quotes",
    type=click.Choice(["", "none", "doubled"]),
    default="",
    help="In the labels: none where quotes are text, doubled where they enclose fields. [as the file has it]",
)
@click.option("--folds", type=click.IntRange(min=2), default=8, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--output", required=True, type=click.Path(path_type=Path), help="Folder for oof.npz and metrics.json."
)
def fuse(
    text: tuple[Path, ...],
    image: tuple[Path, ...],
    labels: Path,
    kind: str,
    folds: int,
    seed: int,
    output: Path,
    **reading: Any,
) -> None:
    """Fuse probability matrices from elsewhere, every row predicted by what never saw it.

    A matrix is an .npz file with `ids`, `classes` and `pred_probs`, or the .parquet file that a run leaves of
    more than 100 classes; rows are joined by id.
    """
    # Compiling a pipeline imports this module too, and needs neither torch nor scikit-learn.
    from components.fusion.standalone import fuse as fuse_matrices

    with exit_on_input_error():
        table = fuse_matrices(
            list(text), list(image), labels, kind=kind, folds=folds, seed=seed, output=output, **reading
        )
    width = max(map(len, table))
    click.echo(f"{'':{width}}  macro-F1  accuracy")
    for name, scores in table.items():
        click.echo(f"{name:{width}}  {scores['macro_f1']:8.4f}  {scores['accuracy']:8.4f}")
    click.echo(f"wrote {output / 'oof.npz'} and {output / 'metrics.json'}")
