"""What a run of the pipeline `predict` will do: which model, which products, in which shards."""

import logging
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from components.core.artifacts import read_manifest, write_json, write_manifest
from components.core.errors import InputError
from components.core.reading import read_json
from components.data.tables.findings import DROPPED, Finding, shown
from components.image.config import IMAGE_KINDS
from components.lifecycle.batch.mark import Mark, folder_of, read_mark
from components.lifecycle.catalog import catalog_records, reading_config
from components.lifecycle.champion import read_champion
from components.lifecycle.config import LAST_RUN, check_since, moment_of, parse_since
from components.lifecycle.model import Model, load_model
from components.lifecycle.objects import Objects
from components.lifecycle.retention import reading
from components.lifecycle.store import MOMENT, ModelStore
from components.modeling.trained import ENCODER
from components.preprocess.catalog.quarantine import write_findings
from components.preprocess.catalog.records import Catalog, Record
from components.preprocess.shards.stored import read_records, write_records
from components.text.config import TEXT_KINDS

log = logging.getLogger(__name__)

PLAN, QUARANTINE = "plan.json", "quarantine.tsv"


@dataclass(frozen=True)
class PredictionRequest:
    """What a run is asked for: the parameters of these names."""

    catalog_products: str
    catalog_columns: str
    catalog_date_column: str
    catalog_since: str
    models_store: str
    models_name: str
    predict_output: str
    predict_shard_size: int

    def __post_init__(self) -> None:
        check_since(self.catalog_since, self.catalog_date_column)


@dataclass(frozen=True)
class PredictionPlan:
    """What was decided once, for all tasks of a run.

    Attributes:
        token: 16 hexadecimal digits, the run's own.
        at: when, UTC.
        folder: of the output, that the predictions go into.
        products: how many there are.
        left_out: how many rows of the catalog cannot be used.
        shards: how many there are, at least one.
        mark: of the output, as it was read, and `tag`, with which alone it is replaced; None where the run
            does not ask what is new since the last one.
        after: the mark once everything is written.
    """

    token: str
    at: str
    folder: str
    products: int
    left_out: int
    shards: int
    mark: Mark | None = None
    tag: str = ""
    after: Mark | None = None

    @property
    def moment(self) -> datetime:
        """When it was made."""
        return moment_of(self.at)


def run_plan(
    asked: PredictionRequest, *, ensemble_model: Path, new_products: Path
) -> tuple[PredictionPlan, bool]:
    """Copies the champion out of its store, and what is to be predicted out of the catalog.

    Whatever becomes of the store then, the run has its model. `new_products` receives the cleaned products, a
    file for each shard, and the plan.

    Returns:
        The plan, and whether the model has networks, which a GPU makes faster.

    Raises:
        InputError: there is no champion, or the catalog cannot be read, or too many of its rows.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    model = _fetch_champion(asked, ensemble_model)
    findings: list[Finding] = []
    news = _News(asked, now)
    with TemporaryDirectory() as scratch:
        config = reading_config(model, asked.catalog_columns, {})
        records, left_out = catalog_records(
            asked.catalog_products,
            config,
            Path(scratch),
            findings,
            news.choose if news.column else None,
            news.column,
        )
    shards = list(_shards(records, asked.predict_shard_size))
    for number, shard in enumerate(shards):
        write_records(new_products / f"{number:06d}.parquet", shard)
    write_findings(findings, new_products / QUARANTINE)
    plan = news.plan(len(records), left_out, len(shards))
    write_json(new_products / PLAN, asdict(plan))
    write_manifest(new_products, model=model.version)
    log.info(
        "%s products to predict in %d shards, %s rows left out", f"{len(records):,}", len(shards), left_out
    )
    return plan, _has_networks(model)


def read_plan(new_products: Path) -> PredictionPlan:
    """Reads the plan of a run.

    Raises:
        InputError: the folder is not what `run_plan` left.
    """
    read_manifest(new_products)
    found = read_json(new_products / PLAN, "the plan of a run")
    marks = {name: Mark(**found[name]) for name in ("mark", "after") if found[name] is not None}
    return PredictionPlan(**{**found, **marks})


def read_shard(new_products: Path, number: int) -> list[Record]:
    """The products of a shard, cleaned."""
    return list(read_records(new_products / f"{number:06d}.parquet"))


class _News:
    """Which products of a catalog are new, and the plan that follows from it."""

    def __init__(self, asked: PredictionRequest, now: datetime) -> None:
        self.column, self._now = asked.catalog_date_column, now
        self._since, self._mark, self._tag = parse_since(asked.catalog_since), None, ""
        if asked.catalog_since == LAST_RUN:
            self._mark, self._tag = read_mark(Objects(asked.predict_output), self.column)
        self._found: dict[str, datetime] = {}

    def choose(self, catalog: Catalog) -> None:
        """Leaves the new products in a catalog; a row without a date that can be read is quarantined."""
        if catalog.products.missing([self.column]):
            raise InputError(
                f"{catalog.products.path}: column {shown(self.column)} of the dates is missing; it has "
                f"{catalog.products.named()}"
            )
        kept = []
        for record, written in zip(catalog.records, catalog.also, strict=True):
            try:
                moment = moment_of(written)
            except ValueError:
                detail = f"{self.column} is {shown(written)}: expected a date as 2026-01-31"
                catalog.findings.append(record.finding("bad_date", DROPPED, detail))
                continue
            if self._is_new(record.product_id, moment):
                self._found[record.product_id] = moment
                kept.append(record)
        catalog.records = kept

    def plan(self, products: int, left_out: int, shards: int) -> PredictionPlan:
        """The plan for so many products."""
        token = secrets.token_hex(8)
        plan = PredictionPlan(
            token=token,
            at=self._now.isoformat(),
            folder=self._now.strftime(MOMENT),
            products=products,
            left_out=left_out,
            shards=shards,
        )
        if self._mark is None:
            return plan
        after = self._mark.after(self._found, self._now) if self._found else self._mark
        return replace(
            plan, folder=folder_of(after.number, token), mark=self._mark, tag=self._tag, after=after
        )

    def _is_new(self, product: str, moment: datetime) -> bool:
        if self._mark is not None:
            return self._mark.is_new(product, moment)
        return self._since is None or moment >= self._since


def _fetch_champion(asked: PredictionRequest, folder: Path) -> Model:
    store = ModelStore(asked.models_store, asked.models_name)
    champion = read_champion(store)
    if champion.version is None:
        raise InputError(
            f"{store}: there is no champion to predict with: a run with the parameter models_store makes "
            "one, or `models promote`"
        )
    with reading(store, champion.version) as version:
        store.fetch(version, folder)
    log.info("the champion %s predicts", champion.version)
    return load_model(folder, device="cpu")


def _has_networks(model: Model) -> bool:
    """Whether any part is a transformer or an image network, alone or within a feature-level classifier."""
    registries = {"text": TEXT_KINDS, "image": IMAGE_KINDS}
    kinds = (
        registries[each["modality"]].kind_in(model.folder / each["folder"], check=False)
        for each in model.classifiers
    )
    end_to_end = ((model.folder / each["folder"] / ENCODER).is_dir() for each in model.members)
    return any(kind.uses_gpu is not False for kind in kinds) or any(end_to_end)


def _shards(records: list[Record], size: int) -> Iterator[list[Record]]:
    for start in range(0, max(len(records), 1), size):
        yield records[start : start + size]
