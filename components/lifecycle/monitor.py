"""Monitor: is there anything to train, and does the champion still fit what the catalog holds?"""

import logging
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from components.core.artifacts import write_json, write_manifest
from components.core.reading import read_json
from components.core.stage import Result
from components.data.image_store import ImageStore
from components.data.prediction_files import DETAIL
from components.data.products import Products, read_products
from components.data.top_classes import PredProbs
from components.ensemble.package import PROFILE
from components.lifecycle.champion import read_champion
from components.lifecycle.comparison import read_side
from components.lifecycle.config import DriftConfig, GateConfig
from components.lifecycle.drift import CLASSES, LABELED, NEW, Measure, of_answers, of_catalog, of_scores
from components.lifecycle.last_run import LastRun, read_last_run
from components.lifecycle.monitor_report import monitor_report
from components.lifecycle.plan import SKIP, TRAIN, RunPlan, make_plan, unchanged_since
from components.lifecycle.retention import reading
from components.lifecycle.run_record import leave
from components.lifecycle.store import ModelStore
from components.preprocess.profile.profile import FORMAT, fetch_profile, profile_catalog
from components.preprocess.training_digest import training_digest
from components.reports.page import safe_report

log = logging.getLogger(__name__)

STAGE = "monitor"
CATALOG = {LABELED: "labeled", NEW: "new"}  # parts of the catalog -> as their metric is called
# A package, products, their images, and the folder that gets the predictions -> (N, C) probabilities.
Predict = Callable[[Path, Products, ImageStore, Path], PredProbs]


@dataclass(frozen=True)
class MonitorRequest:
    """What the task was asked for.

    Attributes:
        config: what counts as drift.
        gate: which would decide.
        store, name: of the models; "" for no store.
        settings_digest: of configurations, seed, weights and the images' tag.
        earlier_profile: path or URI of the profile to compare with; "" for the champion's.
        retrain: whether to train whatever is found.
    """

    config: DriftConfig
    gate: GateConfig = field(default_factory=GateConfig)
    store: str = ""
    name: str = ""
    settings_digest: str = ""
    earlier_profile: str = ""
    retrain: bool = False


@dataclass(frozen=True)
class _Champion:
    """What the champion is and answers; nothing where there is none.

    Attributes:
        profile: of the catalog that it was trained on.
        predicted: how many new products it predicted.
        measures: of its answers.
    """

    version: str | None = None
    profile: dict[str, Any] | None = None
    predicted: int = 0
    measures: list[Measure] = field(default_factory=list)

    def cannot_compare(self, asked: MonitorRequest) -> str:
        """Why its catalog is no baseline although there is none other; "" where it is one."""
        if asked.earlier_profile or self.profile is None or self.profile.get("format") == FORMAT:
            return ""
        return (
            f"The profile of the champion {self.version} has format {self.profile.get('format')!r}, this "
            f"release reads {FORMAT!r}: drift of the catalog is not looked for; give catalog_earlier_profile"
        )


def run_monitor(
    products: Path,
    profile: Path,
    new_products: Path,
    new_images: Path,
    *,
    asked: MonitorRequest,
    predict: Predict | None,
    plan: Path,
    predictions: Path,
    last_run: Path,
) -> Result:
    """Decides whether a run trains, and tells how the catalog differs from what the champion was trained on.

    The champion predicts the new products: so there are predictions in a week in which nothing is trained.
    They are kept in the store, to be scored once the codes are known.

    Args:
        products, profile: of the labeled products.
        new_products, new_images: the products to categorize; there may be none.
        predict: how a package predicts; None where no store is named.
        plan: JSON file to write: what was decided and why.
        predictions: folder to write: the champion's codes and detail; a manifest alone where there are none.
        last_run: JSON file to write: what the run before this one predicted, class by class.

    Returns:
        Whether training follows, and the drift; and the report.

    Raises:
        InputError: the store cannot be used, the champion is damaged, or the earlier profile is none.
    """
    labeled, new, images = read_products(products), read_products(new_products), ImageStore(new_images)
    models = ModelStore(asked.store, asked.name) if asked.store else None
    predictions.mkdir(parents=True, exist_ok=True)
    write_json(last_run, asdict(read_last_run(models) if models else LastRun()))
    champion = _ask_champion(models, new, images, predict, predictions, asked.config)
    of_catalogs = _of_catalog(
        labeled, read_json(profile, "a catalog's profile"), new, images, champion, asked
    )
    found = _plan(models, labeled, champion, of_catalogs, asked)
    write_manifest(predictions, model=champion.version)
    write_json(plan, document := found.document)
    if models is not None:
        leave(models.objects, STAGE, document)
    for each in found.drift:
        log.warning("drift: %s", each.text)
    if trouble := champion.cannot_compare(asked):
        log.warning("%s", trouble)
    log.info("%s: %s", found.training, found.why)
    return Result(_scalars(found), safe_report(lambda: monitor_report(found, asked.config, trouble)))


def _plan(
    models: ModelStore | None,
    labeled: Products,
    champion: _Champion,
    measures: list[Measure],
    asked: MonitorRequest,
) -> RunPlan:
    """What the run does, by what the store knows of the last training and by all measures."""
    digest, unchanged = training_digest(labeled, asked.settings_digest), ""
    measures = [*measures, *champion.measures]
    if models is not None:
        unchanged = unchanged_since(models, read_champion(models), digest, asked.gate)
        measures += of_scores(models.read_json("scores.json"), asked.config)
    return make_plan(
        measures,
        asked.config,
        unchanged=unchanged,
        retrain=asked.retrain,
        digest=digest,
        champion=champion.version,
        predicted=champion.predicted,
    )


def _ask_champion(
    models: ModelStore | None,
    new: Products,
    images: ImageStore,
    predict: Predict | None,
    predictions: Path,
    config: DriftConfig,
) -> _Champion:
    """Has the champion predict the new products, and keeps what it says in the store."""
    version = read_champion(models).version if models else None
    if models is None or version is None:
        return _Champion()
    with reading(models, version) as found, tempfile.TemporaryDirectory() as scratch:
        package = Path(scratch) / "champion"
        if predict is None or not len(new.table):
            models.objects.get(f"{models.folder(version)}/{PROFILE}", package / PROFILE)
            return _Champion(version, read_json(package / PROFILE, "a catalog's profile"))
        models.fetch(found, package)
        profile, side = read_json(package / PROFILE, "a catalog's profile"), read_side(package)
        pred_probs = predict(package, new, images, predictions)
    models.keep_predictions(predictions / DETAIL, version)
    measures = of_answers(pred_probs, side.pred_probs, side.classes, config) if len(side.pred_probs) else []
    return _Champion(version, profile, len(pred_probs), measures)


def _of_catalog(
    labeled: Products,
    profile: dict[str, Any],
    new: Products,
    images: ImageStore,
    champion: _Champion,
    asked: MonitorRequest,
) -> list[Measure]:
    """The catalog beside the profile that was named, else the champion's; nothing where there is neither."""
    earlier = fetch_profile(asked.earlier_profile) if asked.earlier_profile else champion.profile
    if earlier is None or champion.cannot_compare(asked):
        return []
    names = labeled.metadata.get("class_names", {})
    parts = {LABELED: profile}
    if len(new.table):
        parts[NEW] = profile_catalog(new, images)
    return [
        each for part, now in parts.items() for each in of_catalog(part, now, earlier, names, asked.config)
    ]


def _scalars(plan: RunPlan) -> dict[str, float]:
    decided = {"training": float(plan.training == TRAIN), "skipped": float(plan.training == SKIP)}
    decided |= {"drift": float(len(plan.drift)), "products_predicted": float(plan.predicted)}
    own = {each.aspect.replace(" ", "_"): each.distance for each in plan.measures if each.part not in CATALOG}
    for part, name in CATALOG.items():
        distances = [each.distance for each in plan.measures if each.part == part and each.aspect != CLASSES]
        own |= {f"{name}_distance": max(distances)} if distances else {}
    changed = [each.distance for each in plan.measures if each.aspect == CLASSES]
    return {**decided, **own, **({"changed_classes": changed[0]} if changed else {})}
