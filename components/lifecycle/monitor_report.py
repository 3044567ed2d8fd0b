"""The report of the monitor: what the run does and why, and what changed since the champion was trained."""

from typing import Any

from components.lifecycle.config import DriftConfig
from components.lifecycle.drift import ANSWERS, LABELED, NEW, SCORES, Measure
from components.lifecycle.plan import SKIP, STOP, TRAIN, RunPlan
from components.reports.charts import bar
from components.reports.page import check, figure, many, render, words

TITLES = {TRAIN: "A model is trained", SKIP: "Nothing is trained", STOP: "Stopped before training"}
HEADINGS = {
    LABELED: "The labeled products",
    NEW: "The new products",
    ANSWERS: "What the champion says of the new products",
    SCORES: "How often it was right",
}
FULL = 0.5  # the distance whose bar is as long as can be


def monitor_report(plan: RunPlan, config: DriftConfig, trouble: str = "") -> str:
    """Draws the report of a plan; `trouble` says why the catalog was not compared, "" where it was."""
    return render(
        "monitor",
        title=TITLES[plan.training],
        lead=f"{plan.why[:1].upper()}{plan.why[1:]}.",
        champion=plan.champion,
        figures=_figures(plan) if plan.champion or plan.measures else [],
        checks=[check(False, trouble)] if trouble else _checks(plan),
        parts_of=[
            {"heading": heading, "rows": [_row(each) for each in plan.measures if each.part == part]}
            for part, heading in HEADINGS.items()
        ],
        config={name: words(value) for name, value in config.model_dump().items()},
    )


def _figures(plan: RunPlan) -> list[dict[str, str]]:
    return [
        figure("aspects compared", f"{len(plan.measures)}"),
        figure("beyond their limit", f"{len(plan.drift)}"),
        figure("products predicted", f"{plan.predicted:,}"),
    ]


def _checks(plan: RunPlan) -> list[dict[str, Any]]:
    if not plan.measures:
        return [check(True, "There is no champion and no earlier profile to compare with.")]
    if not plan.drift:
        return [check(True, f"None of {many(len(plan.measures), 'aspect')} is beyond its limit.")]
    return [check(False, each.text) for each in plan.drift]


def _row(measure: Measure) -> dict[str, Any]:
    return {
        "aspect": measure.aspect,
        "distance": measure.written,
        "limit": measure.written_limit,
        "calm": not measure.beyond,
        "drawn": bar(min(measure.distance, FULL), FULL),
        "change": measure.change,
    }
