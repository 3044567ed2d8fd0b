"""The commands `show` and `compare`: a run's reports, and two runs side by side."""

import functools
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from components.client.cluster.connection import Access, connect
from components.client.cluster.store import Store
from components.client.commands.access import access_options, artifacts_option
from components.client.commands.failure import exit_on_input_error
from components.client.local.finished_run import (
    FinishedRun,
    read_run,
    without_figures,
)
from components.client.local.reports import find_reports, gather_reports, in_lines
from components.client.local.server_run import fetch_products, fetch_run
from components.core.errors import InputError

FETCHED = Path("runs")  # holds the folders of runs that were copied from a server
browser_option = click.option("--browser/--no-browser", default=True, help="Open the page in a browser.")
SHOWN = 8  # classes on the terminal, each way


def run_options(command: Callable) -> Callable:
    """Gives a command the options that lead to runs; it receives how to find one as `find`."""

    @functools.wraps(command)
    def with_find(access: Access | None, artifacts: str | None, **options: Any) -> None:
        command(find=functools.partial(_find, access, artifacts), **options)

    return access_options(required=False)(artifacts_option(browser_option(with_find)))


def _find(access: Access | None, artifacts: str | None, run: str, *, products: bool = False) -> FinishedRun:
    """A run by its folder, or by its id on the server, from where it is copied into a folder first.

    Args:
        products: copy its products and their pictures too.
    """
    folder = Path(run)
    if access is None or folder.is_dir():
        return read_run(folder)
    if artifacts is None:
        raise InputError(
            f"{run}: no folder here; to read it from {access.host} as a run's id, add --artifacts"
        )
    folder = FETCHED / run
    store = Store(artifacts)
    for missing in fetch_run(connect(access), store, run, folder):
        click.echo(f"not found: {missing}", err=True)
    if products:
        fetch_products(store, folder)
    return read_run(folder)


@click.command()
@click.argument("run", metavar="FOLDER_OR_RUN")
@run_options
def show(find: Callable[..., FinishedRun], run: str, browser: bool) -> None:
    """List a run's reports and open their index page.

    The run is a folder, or with --host and --artifacts the id of a server's run, which `runs` lists; what it
    left is copied to runs/ID. Of a run that goes on or failed it shows what is there.
    """
    # Not at the top: compiling imports this module and needs kfp alone.
    from components.client.local.pages import write_index, write_partial_index

    with exit_on_input_error():
        folder = Path(run)
        if why := without_figures(folder):
            gather_reports(folder)
            sentences, index = [why], write_partial_index(folder, why)
        else:
            finished = find(run)
            folder, sentences = finished.folder, finished.metrics.get("verdict", [])
            index = write_index(finished)
        for sentence in sentences:
            click.echo(sentence)
        click.echo()
        for first, *others in in_lines(find_reports(folder)):
            folds = f" (folds {first.fold} to {others[-1].fold})" if others else ""
            click.echo(f"{first.question + folds:66} {first.path}")
        click.echo(f"\n{'All of them, on one page:':66} {index}")
        _open(index, browser)


@click.command()
@click.argument("first", metavar="FOLDER_OR_RUN")
@click.argument("second", metavar="FOLDER_OR_RUN")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the page goes. [compare-FIRST.html in the second's folder]",
)
@run_options
def compare(
    find: Callable[..., FinishedRun], first: str, second: str, output: Path | None, browser: bool
) -> None:
    """Put two runs side by side: parameters, results, every class, products newly right or wrong.

    Each is a folder, or with --host and --artifacts the id of a server's run.
    """
    # Not at the top: compiling imports this module and needs kfp alone.
    from components.client.local.comparison import compare_runs
    from components.client.local.pages import write_comparison
    from components.modeling.metrics import ROWS
    from components.reports.page import signed, words

    with exit_on_input_error():
        compared = compare_runs(find(first), find(second))
        page = output or compared.second.folder / f"compare-{compared.first.folder.name}.html"
        write_comparison(compared, page)
    click.echo(f"{compared.verdict} {compared.fairness}\n")
    click.echo("Parameters that differ:" if compared.parameters else "No parameter differs.")
    for name, one, other in compared.parameters:
        click.echo(f"  {name}: {words(one)} → {words(other)}")
    for split, rows in compared.tables.items():
        click.echo(f"\n{'macro-F1, ' + split:28}{'first':>8}{'second':>8}{'points':>8}")
        for row in rows:
            figures = [f"{100 * side:.2f}" if side is not None else "–" for side in (row.first, row.second)]
            click.echo(f"{ROWS[row.name]:28}{figures[0]:>8}{figures[1]:>8}{signed(row.points):>8}")
    changed = [change for change in compared.classes if abs(change.points) >= 0.05]
    shown = changed if len(changed) <= 2 * SHOWN else [*changed[:SHOWN], *changed[-SHOWN:]]
    if shown:
        click.echo(f"\n{'F1 of the classes that changed most':44}{'points':>8}")
    for change in shown:
        name = f"{change.name} {compared.class_names.get(change.name, '')}"
        click.echo(f"{name[:42]:44}{signed(change.points, 1):>8}")
    if compared.same_products:
        right, wrong = len(compared.newly_right), len(compared.newly_wrong)
        click.echo(f"\nProducts newly right: {right:,}, newly wrong: {wrong:,}; the page lists them.")
    click.echo(f"\nThe page: {page}")
    _open(page, browser)


def _open(page: Path, wanted: bool) -> None:
    if wanted and not webbrowser.open(page.resolve().as_uri()):
        click.echo("No browser could be opened here: open the page yourself.")
