"""Whether a run trains: not what was trained before, nor on a drifted catalog where that is to stop it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from components.lifecycle.champion import Champion, utc_now
from components.lifecycle.config import DriftConfig, GateConfig
from components.lifecycle.drift import LABELED, Measure
from components.lifecycle.store import LAST, ModelStore
from components.reports.page import many

TRAIN, SKIP, STOP = "train", "skip", "stop"


@dataclass(frozen=True)
class RunPlan:
    """What a run does, and what was found before.

    Attributes:
        training: "train", "skip" or "stop".
        why: in words; nothing of the catalog's texts.
        digest: of all that a model of this run would follow from.
        champion: its version; None where there is none.
        predicted: new products that the champion predicted.
        measures: every aspect that was compared.
    """

    training: str
    why: str
    digest: str
    champion: str | None = None
    predicted: int = 0
    measures: Sequence[Measure] = field(default_factory=list)

    @property
    def drift(self) -> list[Measure]:
        """The measures that are drift."""
        return [each for each in self.measures if each.beyond]

    @property
    def document(self) -> dict[str, Any]:
        """The plan as JSON."""
        named = {name: getattr(self, name) for name in ("training", "why", "digest", "champion", "predicted")}
        return {"format": 1, "at": utc_now(), **named, "drift": [each.document for each in self.drift]}


def make_plan(
    measures: Sequence[Measure], config: DriftConfig, *, unchanged: str, retrain: bool, **found: Any
) -> RunPlan:
    """Decides whether a run trains.

    Args:
        unchanged: why nothing new would come of it; "" where something changed.
        retrain: trains in any case.
        found: the other attributes of a plan.
    """
    if unchanged and not retrain:
        # How its labeled products had drifted was said by the run that trained on them.
        others = [each for each in measures if each.part != LABELED]
        return RunPlan(SKIP, f"{unchanged}. {_predicted(**found)}", measures=others, **found)
    drift = [each for each in measures if each.beyond]
    if drift and config.on_drift == STOP and not retrain:
        aspects = ", ".join(f"{each.aspect} of {each.part}" for each in drift)
        why = (
            f"the catalog has drifted ({aspects}) and drift_config says stop: look at the report of monitor, "
            "mend the catalog, or train once with models_retrain"
        )
        return RunPlan(STOP, why, measures=measures, **found)
    why = (
        "models_retrain asks for it"
        if retrain
        else "no stored model was trained on just these products and settings"
    )
    return RunPlan(TRAIN, why, measures=measures, **found)


def unchanged_since(models: ModelStore, champion: Champion, digest: str, gate: GateConfig) -> str:
    """Why a training would only repeat the last one; "" where it would not, or its model is gone.

    Nor where another gate refused that model.
    """
    last = models.read_json(LAST) or {}
    version = str(last.get("version"))
    if last.get("training_digest") != digest or version not in models.versions():
        return ""
    asks = gate.model_dump()
    if version == champion.version and champion.promotion:
        stands = f"the champion since {champion.promotion.since[:10]}"
    elif last.get("promote"):
        stands = "which is not the champion any more"
    elif last.get("gate", asks) != asks:
        return ""
    else:
        stands = f"and refused by the gate on {str(last.get('at'))[:10]}"
    return f"unchanged since version {version}, {stands}"


def _predicted(*, champion: str | None, predicted: int, **_: Any) -> str:
    if champion is None:
        return (
            "There is no champion that could predict new products: `pipeline.py models promote` makes one of "
            "a stored version"
        )
    products = many(predicted, "new product")
    return (
        f"The champion, version {champion}, predicted {products}"
        if predicted
        else "There are no new products"
    )
