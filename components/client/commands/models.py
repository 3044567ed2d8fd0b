"""The commands `models`: what a store of models holds, which version predicts, and what to delete."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from components.client.commands.access import existing
from components.client.commands.failure import exit_on_input_error
from components.core.errors import InputError
from components.core.project import NAME

REGISTRIES = "No registry was given this: `models register` does so, with --mlflow or --model-registry"


@click.group()
def models() -> None:
    """A store of models: list, show, promote, roll back, prune, score. None needs a cluster."""


def of_store(command: Callable) -> Callable:
    """Gives a command the options of a store; it receives the store as `store`."""

    @functools.wraps(command)
    def with_store(store: str, name: str, **options: Any) -> None:
        # Not at the top: compiling a pipeline imports this module too, and reads no store.
        from components.lifecycle.store import ModelStore

        with exit_on_input_error():
            command(ModelStore(store, name), **options)

    options = (
        click.option("--store", required=True, envvar="MODELS_STORE", help="A folder, s3://... or gs://..."),
        click.option(
            "--name", default=NAME, show_default=True, help="The model's, where a store holds several."
        ),
    )
    return functools.reduce(lambda done, option: option(done), reversed(options), with_store)


@models.command("list")
@of_store
def list_command(store: Any) -> None:
    """List the versions, the newest first, and what the gate said of each."""
    from components.lifecycle.champion import read_champion

    champion = read_champion(store)
    versions = store.all_versions()
    if not versions:
        click.echo(f"{store} holds no version yet: a run with the parameter models_store stores each model.")
    for version in versions:
        if version.damage:
            click.echo(f"{version.id}  damaged: {version.damage}")
            continue
        metrics = version.manifest.get("metrics", {})
        figures = " ".join(f"{name} {float(value):.4f}" for name, value in sorted(metrics.items()))
        click.echo(
            f"{version.id}  {version.created[:19]:19}  {version.size / 1e6:8.1f} MB  {figures}  "
            f"{_standing(store, version.id, champion)}".rstrip()
        )


def _standing(store: Any, version: str, champion: Any) -> str:
    if version == champion.version:
        return f"champion since {champion.promotion.since}"
    if champion.predecessor and version == champion.predecessor.version:
        return "predecessor"
    decision = store.read_json(f"decisions/{version}.json")
    if decision is None:
        return ""
    return "passed the gate" if decision.get("promote") else f"refused by the gate on {decision.get('at')}"


@models.command()
@click.argument("version")
@of_store
def show(store: Any, version: str) -> None:
    """Show a version: an id, the beginning of one, or `champion`."""
    from components.lifecycle.champion import read_champion

    champion = read_champion(store)
    if version == "champion" and champion.version is None:
        raise InputError(f"{store}: there is no champion yet; `models promote` makes one")
    found = store.version(champion.version if version == "champion" else version)
    for key, value in found.manifest.items():
        if key != "files":
            click.echo(f"{key}: {value}")
    click.echo(
        f"files: {len(found.manifest['files'])}, {found.size / 1e6:.1f} MB, at {store}/versions/{found.id}"
    )
    for line in _promotions(found.id, champion):
        click.echo(line)
    decision = store.read_json(f"decisions/{found.id}.json")
    if decision:
        click.echo(f"gate, {decision.get('at')}: {decision.get('why')}")


def _promotions(version: str, champion: Any) -> Iterator[str]:
    every = [champion.promotion, *champion.earlier] if champion.promotion else []
    for number, promotion in enumerate(every):
        if promotion.version == version:
            what = "champion" if number == 0 else "was champion"
            yield f"{what} since {promotion.since}, by {promotion.by}: {promotion.why}"


@models.command()
@click.argument("version")
@click.option("--why", required=True, help="For those who look at the store later.")
@of_store
def promote(store: Any, version: str, why: str) -> None:
    """Make a version the champion, whatever the gate says."""
    from components.lifecycle.champion import promote as promote_version
    from components.lifecycle.champion import read_champion
    from components.lifecycle.retention import reading

    champion = read_champion(store)
    with reading(store, version) as found:
        promote_version(store, found, instead_of=champion, why=why)
    click.echo(
        f"{found.id} is the champion" + (f", {champion.version} its predecessor" if champion.version else "")
    )
    click.echo(REGISTRIES)


@models.command()
@click.option("--why", default="", help="For those who look at the store later.")
@of_store
def rollback(store: Any, why: str) -> None:
    """Make the champion's predecessor the champion again."""
    from components.lifecycle.champion import roll_back

    champion: Any = roll_back(store, why=why)
    click.echo(f"{champion.version} is the champion again: {champion.promotion.why}")
    click.echo(REGISTRIES)


@models.command()
@click.option("--mlflow", default="", help="Address of an MLflow server.")
@click.option("--model-registry", default="", help="Address of Kubeflow's Model Registry.")
@of_store
def register(store: Any, mlflow: str, model_registry: str) -> None:
    """Register the champion, as a run's promotion does with the parameter models_registries."""
    from components.lifecycle.config import PARAMETERS
    from components.lifecycle.registries import register_champion

    config = PARAMETERS["models_registries"]({"mlflow": mlflow, "model_registry": model_registry})
    if not mlflow and not model_registry:
        raise InputError("name a registry: --mlflow or --model-registry")
    if failed := register_champion(store, config):
        raise InputError("; ".join(failed))
    click.echo("the champion is registered")


@models.command()
@click.option(
    "--keep", type=click.IntRange(min=1), required=True, help="How many of the newest versions stay."
)
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing.")
@of_store
def prune(store: Any, keep: int, dry_run: bool) -> None:
    """Delete old versions; never the champion, its predecessor, or what is being read."""
    from components.lifecycle.retention import choose
    from components.lifecycle.retention import prune as prune_versions

    found = choose(store, keep) if dry_run else prune_versions(store, keep)
    for each in found:
        gone = "would be deleted" if dry_run else "deleted"
        click.echo(
            f"{each.version.id}  {each.version.created[:19]:19}  {f'kept: {each.why}' if each.why else gone}"
        )
    size = sum(each.version.size for each in found if not each.why)
    click.echo(f"{sum(not each.why for each in found)} of {len(found)} versions, {size / 1e6:.1f} MB")


@models.command()
@click.option("--labels", type=existing, required=True, help="A table of id and code.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Probability from which on a prediction is used without a person's look.",
)
@of_store
def score(store: Any, labels: Path, threshold: float) -> None:
    """Compare kept predictions with codes that came later, week by week."""
    from components.client.local.later_codes import score as score_weeks

    weeks = score_weeks(store, labels, threshold=threshold)
    click.echo(
        f"{'week':10}{'predicted':>10}{'known':>8}{'covered':>9}{'accuracy':>10}"
        f"{'calibration error':>19}  versions"
    )
    for week in weeks:
        figures = [
            f"{value:.4f}" if value is not None else "–" for value in (week.accuracy, week.calibration_error)
        ]
        click.echo(
            f"{week.week:10}{week.predicted:>10,}{week.known:>8,}{week.covered:>9.1%}{figures[0]:>10}{figures[1]:>19}"
            f"  {', '.join(week.versions)}"
        )
    for week in weeks:
        if week.checked_interval and week.promised:
            low, high = week.checked_interval
            click.echo(
                f"{week.week}: of {week.checked:,} accepted products that were checked at random "
                f"{week.checked_accuracy:.1%} were right (95 % interval {low:.1%} to {high:.1%}), "
                f"{100 * week.promised:.6g}% promised{': the promise does not hold' if week.broken else ''}"
            )
