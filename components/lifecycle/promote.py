"""Promote: a trained model is stored as a version, and becomes the champion if the gate lets it."""

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.core.artifacts import write_json
from components.core.errors import InputError
from components.core.project import NAME
from components.core.stage import Result
from components.data.image_store import ImageStore
from components.data.prediction_files import DETAIL
from components.data.products import read_products
from components.data.top_classes import PredProbs
from components.lifecycle.champion import Champion, promote, read_champion, utc_now
from components.lifecycle.comparison import Pairs, Score, Side, compare, read_side
from components.lifecycle.config import GateConfig
from components.lifecycle.gate import GateDecision, confirm, decide
from components.lifecycle.model import load_model
from components.lifecycle.promote_report import promote_report
from components.lifecycle.retention import reading, registered
from components.lifecycle.run_record import record_name
from components.lifecycle.store import LAST, ModelStore
from components.lifecycle.version import Version, as_json, version_of
from components.reports.page import safe_report

log = logging.getLogger(__name__)

Scorer = Callable[[Path, pd.DataFrame, ImageStore], Score]


def score_by_package(package: Path, products: pd.DataFrame, images: ImageStore) -> Score:
    """How a package scores what it has no out-of-fold probabilities of: by classifiers of train alone.

    Args:
        package: fetched, so that its files have been checked.
        products: cleaned, with all that will be asked for.
    """
    rows = products.set_index("product_id", drop=False)

    def score(ids: np.ndarray, folds: np.ndarray) -> PredProbs:
        table = rows.loc[ids].reset_index(drop=True)
        model = load_model(package, check=False)
        return model.predict_cleaned(table, images, refit=False, folds=folds).pred_probs

    return score


def run_promote(
    ensemble_model: Path,
    products: Path,
    images: Path,
    predictions: Path,
    *,
    store: str,
    config: GateConfig,
    seed: int,
    decision: Path,
    training_digest: str = "",
    name: str = NAME,
    scorer: Scorer = score_by_package,
) -> Result:
    """Stores a model, compares it with the champion, and promotes it if the gate says so.

    Args:
        ensemble_model: its package.
        products, images: what it was trained on.
        predictions: what it says of new products; kept in the store if it is the champion at the end, so that
            they can be scored once their codes are known.
        store: a folder, s3://... or gs://...
        decision: JSON file to write; the store gets the same.
        training_digest: of all that the model follows from; kept in the store, so that a later run knows
            whether it would train the same again.
        name: of the model, where a store holds several.
        scorer: makes of a package what scores products by classifiers that did not see validation.

    Returns:
        Whether it was promoted, the difference, and how many products were compared; and the report.

    Raises:
        InputError: the store cannot be used, or another run promoted a model meanwhile.
    """
    models, table, pictures = ModelStore(store, name), read_products(products), ImageStore(images)
    with registered(models, version_of(ensemble_model)):
        version = models.version(models.add(ensemble_model))
        champion, challenger = read_champion(models), read_side(ensemble_model)
        labels, predicted = _own(challenger)
        if champion.version == version.id:
            pairs, found = None, confirm(labels, predicted, _already(champion))
        else:
            pairs = _pairs(
                models, champion, challenger, lambda package: scorer(package, table.table, pictures)
            )
            found = decide(labels, predicted, pairs, config, seed=seed)
        sides = {"challenger": version.id, "champion": champion.version}
        document = {"format": 1, "at": utc_now(), "training_digest": training_digest, **sides}
        document |= {**found.document(config), **_rows(pairs)}
        write_json(decision, document)
        _carry_out(models, version, champion, document)
        if read_champion(models).version == version.id and (predictions / DETAIL).exists():
            models.keep_predictions(predictions / DETAIL, version.id)
    log.info("%s: %s", "promoted" if found.promote else "not promoted", found.why)
    report = safe_report(lambda: promote_report(table, pictures, found, pairs, **sides, config=config))
    return Result(_scalars(found, pairs), report)


def _pairs(
    models: ModelStore, champion: Champion, challenger: Side, score_of: Callable[[Path], Score]
) -> Pairs | None:
    if champion.version is None:
        return None
    with reading(models, champion.version) as version, tempfile.TemporaryDirectory() as scratch:
        package = models.fetch(version, Path(scratch) / "champion")
        return compare(read_side(package), challenger, score_of(package))


def _own(side: Side) -> tuple[np.ndarray, np.ndarray]:
    """Labels and out-of-fold predictions of a side's validation products, (n,) positions in its classes."""
    position = {code: number for number, code in enumerate(side.classes)}
    labels = np.array([position[code] for code in side.validation["code"]], np.int64)
    return labels, side.pred_probs.argmax(axis=1)


def _already(champion: Champion) -> str:
    """Why a champion is not compared: the first attempt of a run may have ended after it promoted."""
    then: Any = champion.promotion
    return f"Version {then.version} is the champion already, since {then.since}: {then.why}"


def _carry_out(models: ModelStore, version: Version, champion: Champion, document: dict[str, Any]) -> None:
    """Promotes the version if the decision says so, and leaves decision and training in the store."""
    if champion.version == version.id:
        _leave(models, version, document, over=False)
    else:
        _promote(models, version, champion, document)
    last = {name: document[name] for name in ("training_digest", "at", "promote")}
    models.write_json(LAST, {"version": version.id, **last, "gate": document["config"]})


def _promote(models: ModelStore, version: Version, champion: Champion, document: dict[str, Any]) -> None:
    """Promotes as decided. Where that fails the gate refused nothing, so the next run is to train again."""
    try:
        if document["promote"]:
            promote(models, version, instead_of=champion, why=document["why"])
    except InputError as error:
        _leave(models, version, {**document, "promote": False, "why": str(error)})
        raise
    _leave(models, version, document)


def _leave(models: ModelStore, version: Version, document: dict[str, Any], *, over: bool = True) -> None:
    """Writes the decision by its version, and by the run where it has an id.

    Args:
        over: what an earlier attempt has written; else only what is missing is.
    """
    for name in filter(None, (f"{models.root}/decisions/{version.id}.json", record_name("promote"))):
        if over or models.objects.read(name) is None:
            models.objects.write(name, as_json(document))


def _rows(pairs: Pairs | None) -> dict[str, Any]:
    if pairs is None:
        return {"compared": 0, "scored": {}, "left_out": {}}
    return {"compared": len(pairs.ids), "scored": pairs.scored, "left_out": pairs.left_out}


def _scalars(decision: GateDecision, pairs: Pairs | None) -> dict[str, float]:
    found = decision.difference
    scalars = {"promoted": float(decision.promote), "macro_f1": decision.macro_f1}
    if pairs is not None:
        scalars |= {
            "products_compared": float(len(pairs.ids)),
            "products_left_out": float(sum(pairs.left_out.values())),
        }
    if found is not None:
        low, high = found.interval
        scalars |= {"macro_f1_difference": found.gain, "difference_low": low, "difference_high": high}
    return scalars
