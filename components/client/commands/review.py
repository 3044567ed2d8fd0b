"""The command `review`: a local page on which people decide of labels, picture by picture."""

import tempfile
import webbrowser
from collections.abc import Callable
from pathlib import Path

import click

from components.client.commands.failure import exit_on_input_error
from components.client.commands.show import run_options
from components.client.local.finished_run import FinishedRun, without_figures

DECISIONS = "review/decisions.tsv"  # in a run's folder


@click.command()
@click.argument("run", metavar="FOLDER_OR_RUN")
@click.option(
    "--decisions",
    help="Where decisions go: a .tsv, by path or URI. [review/decisions.tsv in the run's folder]",
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of the page. [any that is free]")
@run_options
def review(
    find: Callable[..., FinishedRun], run: str, decisions: str | None, port: int, browser: bool
) -> None:
    """Decide of suspected labels on a local page, by keyboard.

    Each decision is written at once, into a table that the next run takes as --corrections. The page is
    served to this machine alone. With --host and --artifacts it takes a server's run.
    """
    # Not at the top: compiling imports this module and needs kfp alone.
    try:
        import uvicorn

        from components.client.review.decisions import DecisionsFile
        from components.client.review.queue import read_queue
        from components.client.review.server import LOOPBACK, Session, review_app
        from components.serving.listener import listening
    except ImportError as error:
        raise click.ClickException(
            f"{error}: install what the page needs: pip install -e '.[run]'"
        ) from error

    with exit_on_input_error(), tempfile.TemporaryDirectory() as scratch:
        # A run that trained nothing has new products to look at.
        folder = Path(run) if without_figures(Path(run)) else find(run, products=True).folder
        queue = read_queue(folder)
        place = decisions or str(folder / DECISIONS)
        file = DecisionsFile(place, seed=queue.decided, scratch=Path(scratch))
        command = f"python pipeline.py run ... --corrections {place}"
        app, socket = review_app(Session(queue, file), command=command), listening(LOOPBACK[0], port)
        address = f"http://{LOOPBACK[0]}:{socket.getsockname()[1]}/"
        click.echo(
            f"{len(queue.questions)} questions, on the page {address}\n"
            f"Every decision is written at once, to {place}; Ctrl-C ends the page."
        )
        if browser and not webbrowser.open(address):
            click.echo("No browser could be opened here: open the page yourself.")
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[socket])
        click.echo(f"\n{len(file.made)} decisions are in {place}. For the next run: {command}")
