"""The commands `show` and `compare`: a run's reports, and two runs side by side."""

import webbrowser
from pathlib import Path

import click

from components.client.commands.failure import explained
from components.client.local.finished_run import read_run

run_folder = click.Path(path_type=Path)
browser_option = click.option("--browser/--no-browser", default=True, help="Open the page in a browser.")
TOLD = 8  # classes told on the terminal, each way


@click.command()
@click.argument("folder", type=run_folder)
@browser_option
def show(folder: Path, browser: bool) -> None:
    """List a run's reports and open their index page."""
    # Not at the top: compiling imports this module and needs kfp alone.
    from components.client.local.pages import write_index

    with explained():
        run = read_run(folder)
        index = write_index(run)
        for sentence in run.metrics.get("verdict", []):
            click.echo(sentence)
        click.echo()
        for report in run.reports:
            click.echo(f"{report.question:56} {report.path}")
        click.echo(f"\n{'All of them, on one page:':56} {index}")
        _open(index, browser)


@click.command()
@click.argument("first", type=run_folder)
@click.argument("second", type=run_folder)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the page goes. [SECOND/compare-FIRST.html]",
)
@browser_option
def compare(first: Path, second: Path, output: Path | None, browser: bool) -> None:
    """Put two runs side by side: parameters, Table 1, every class."""
    # Not at the top: compiling imports this module and needs kfp alone.
    from components.client.local.comparison import compare_runs
    from components.client.local.pages import write_comparison
    from components.modeling.metrics import ROWS
    from components.reports.page import signed, words

    with explained():
        compared = compare_runs(read_run(first), read_run(second))
        page = output or compared.second.folder / f"compare-{compared.first.name}.html"
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
    told = changed if len(changed) <= 2 * TOLD else [*changed[:TOLD], *changed[-TOLD:]]
    if told:
        click.echo(f"\n{'F1 of the classes that changed most':44}{'points':>8}")
    for change in told:
        name = f"{change.name} {compared.class_names.get(change.name, '')}"
        click.echo(f"{name[:42]:44}{signed(change.points, 1):>8}")
    click.echo(f"\nThe page: {page}")
    _open(page, browser)


def _open(page: Path, wanted: bool) -> None:
    if wanted and not webbrowser.open(page.resolve().as_uri()):
        click.echo("No browser could be opened here: open the page yourself.")
