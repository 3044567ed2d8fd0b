"""A run's predictions, put together from its shards and written where they are wanted, once."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.core.artifacts import MANIFEST, read_manifest, whole_file, write_manifest
from components.core.errors import InputError
from components.core.reading import read_json
from components.core.stage import Result
from components.data.prediction_files import DETAIL, file_name
from components.lifecycle.batch.mark import folder_of, read_mark, write_mark
from components.lifecycle.batch.plan import QUARANTINE, PredictionPlan, read_plan
from components.lifecycle.batch.shard import CODES, COUNTS
from components.lifecycle.detail import send_some_to_review
from components.lifecycle.last_run import read_last_run
from components.lifecycle.model import Model, load_model
from components.lifecycle.objects import Objects
from components.lifecycle.report import batch_report
from components.lifecycle.store import ModelStore
from components.reports.page import safe_report

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shard:
    """What a task of the loop left: its folder, and what it counted (see `run_shard`)."""

    folder: Path
    counts: dict[str, Any]


def run_collect(
    ensemble_model: Path,
    new_products: Path,
    shard_predictions: Sequence[Path],
    *,
    store: str,
    name: str,
    output: str,
    predictions: Path,
) -> Result:
    """Puts the shards together, writes them into the output, and keeps them in the store of models.

    `predictions` receives the codes in the form of the labels file, their detail, and the rows that were not
    taken as they came. The output receives the same in a folder of the run's own, its manifest last, and then
    the mark of what was predicted, where the run asked what is new since the last one.

    Returns:
        How many products, how many without an image, and how sure the model is; and the report.

    Raises:
        InputError: a shard is missing or damaged, the output or the store cannot be written, or another run
            has predicted what is new meanwhile.
    """
    plan, model = read_plan(new_products), load_model(ensemble_model, device="cpu")
    shards = _read_shards(plan, shard_predictions)
    predictions.mkdir(parents=True, exist_ok=True)
    for file in (file_name(model.document, CODES), DETAIL):
        _join([shard.folder / file for shard in shards], predictions / file)
    send_some_to_review(predictions / DETAIL, model)
    quarantines = [folder / QUARANTINE for folder in (new_products, *(shard.folder for shard in shards))]
    _join(quarantines, predictions / QUARANTINE)
    counts = {"products": plan.products, "left_out": plan.left_out}
    write_manifest(predictions, model=model.version, at=plan.at, **counts)
    if plan.products:
        _publish(plan, model, predictions, Objects(output), ModelStore(store, name))
    else:
        log.info("nothing is new: nothing is written")
    classes = np.sum([shard.counts["classes"] for shard in shards], axis=0)
    sure = sum(shard.counts["sure"] for shard in shards) / max(plan.products, 1)
    blind = sum(shard.counts["without_image"] for shard in shards)
    last = read_last_run(ModelStore(store, name), before=plan.moment)
    report = safe_report(lambda: batch_report(model, classes, sure, blind, last))
    metrics = {**counts, "without_image": blind, "mean_probability": sure, "shards": plan.shards}
    return Result({name: float(value) for name, value in metrics.items()}, report)


def _read_shards(plan: PredictionPlan, folders: Sequence[Path]) -> list[Shard]:
    shards = []
    for folder in folders:
        read_manifest(folder)
        shards.append(Shard(folder, read_json(folder / COUNTS, "what a shard counted")))
    shards.sort(key=lambda shard: shard.counts["number"])
    numbers = [shard.counts["number"] for shard in shards if shard.counts["plan"] == plan.token]
    if numbers != list(range(plan.shards)) or len(shards) != len(numbers):
        raise InputError(f"the shards {numbers} are not the {plan.shards} of this run: start it again")
    products = sum(shard.counts["products"] for shard in shards)
    if products != plan.products:
        raise RuntimeError(f"{plan.products} products were to be predicted, {products} were")
    return shards


def _join(files: Sequence[Path], target: Path) -> None:
    """Writes tables of the same columns below each other."""
    with whole_file(target) as temporary, temporary.open("wb") as joined:
        for number, path in enumerate(files):
            with path.open("rb") as file:
                header = file.readline()
                if number == 0:
                    joined.write(header)
                shutil.copyfileobj(file, joined)


def _publish(
    plan: PredictionPlan, model: Model, predictions: Path, output: Objects, models: ModelStore
) -> None:
    """Writes a run's files and keeps its predictions; a second attempt writes them over the first one's.

    Raises:
        InputError: another run has begun to write what is new, or has written it.
    """
    tag = _claim(plan, output, models)
    if tag is None:
        log.info("everything was written by an earlier attempt")
        return
    output.remove(f"{plan.folder}/{MANIFEST}")
    files = [path.name for path in predictions.iterdir() if path.name != MANIFEST]
    for file in (*sorted(files), MANIFEST):
        output.put(predictions / file, f"{plan.folder}/{file}")
    models.keep_predictions(predictions / DETAIL, model.version, when=plan.moment, token=plan.token)
    if plan.after is not None:
        try:
            write_mark(output, plan.after.finished(plan.token), tag)
        except InputError:
            found, _ = read_mark(output, plan.after.column)
            if plan.token not in (found.last, *found.writing[-1:]):  # a later run took this one for cut off
                _put_away([plan.token], plan.after.number, output, models)
            raise
    log.info("wrote %s/%s", output.place, plan.folder)


def _claim(plan: PredictionPlan, output: Objects, models: ModelStore) -> str | None:
    """The tag of the mark that says that this run writes; None where it has written everything.

    What runs that were cut off wrote is put away: this run predicts it again.
    """
    if plan.mark is None or plan.after is None:
        return ""
    found, tag = read_mark(output, plan.mark.column)
    if found.last == plan.token:
        return None
    if found.writing[-1:] != [plan.token]:
        found = plan.mark.claimed(plan.token)
        tag = write_mark(output, found, plan.tag)
    _put_away(found.writing[:-1], plan.after.number, output, models)
    return tag


def _put_away(tokens: Sequence[str], number: int, output: Objects, models: ModelStore) -> None:
    """Deletes what runs of these tokens wrote into the output and kept in the store of models."""
    for folder in (folder_of(number, token) for token in tokens):
        for file in (MANIFEST, *output.names(folder)):
            output.remove(f"{folder}/{file}")
        output.remove_folders(folder)
    kept = tuple(f"-{token}.tsv" for token in tokens)
    for name, _, _ in models.predictions() if kept else ():
        if name.endswith(kept):
            models.objects.remove(f"{models.root}/predictions/{name}")
