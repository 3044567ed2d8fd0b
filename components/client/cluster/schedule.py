"""A schedule on a Kubeflow Pipelines server. None can be changed there: a new one takes the old one's place.

Deleting a schedule ends its running run within seconds, disabling it does not: so what was replaced is
disabled, and deleted once nothing of it runs any more.
"""
# Every attribute of the generated client's models may be None.
# pyright: reportArgumentType=false

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kfp import Client
from kfp_server_api import RecurringRunMode, V2beta1RecurringRun

from components.client.cluster.cron import Cron
from components.client.cluster.server import equals, every, upload

ENDED = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")


@dataclass(frozen=True)
class Replaced:
    """What a call of `schedule` left.

    Attributes:
        schedule: the id of the schedule that is enabled.
        unchanged: it was there already.
        deleted: ids of earlier ones that are gone.
        running: id of an earlier one, now disabled -> ids of its runs that go on.
    """

    schedule: str
    unchanged: bool
    deleted: list[str] = field(default_factory=list)
    running: dict[str, list[str]] = field(default_factory=dict)


def schedule(
    client: Client, package: Path, *, name: str, display_name: str, cron: Cron, **asked: Any
) -> Replaced:
    """Has a compiled pipeline run regularly, in place of earlier schedules of the experiment `name`.

    One run at a time; the version is pinned, so a later upload changes nothing until the schedule is set
    again. Caching is a matter of the compiled pipeline: the server ignores the client's setting where a
    version is named. A schedule that is as it is asked for is left alone.

    Args:
        display_name: of the schedule; the server names its runs after the first 25 letters.
        asked: `params`, the pipeline's parameters; `service_account` and `pipeline_root`, None for the
            server's own.
    """
    pipeline, version = upload(client, package, name=name)
    experiment = client.create_experiment(name).experiment_id
    description = _describe(name, cron, [display_name, version, asked])
    listed = every(client.list_recurring_runs, "recurring_runs", experiment_id=experiment)
    earlier = [one for one in listed if _is_named(one, name)]
    same = [one for one in earlier if one.description == description and _is_enabled(one)]
    # The new one comes first: should the server refuse it, the old one is still there.
    current = same or [
        client.create_recurring_run(
            experiment,
            display_name,
            description=description,
            cron_expression=cron.expression,
            max_concurrency=1,
            no_catchup=True,
            pipeline_id=pipeline,
            version_id=version,
            **asked,
        )
    ]
    result = Replaced(current[0].recurring_run_id, unchanged=bool(same))
    for one in earlier:
        if one.recurring_run_id != result.schedule:
            _retire(client, experiment, one, result)
    return result


def _describe(name: str, cron: Cron, asked: list[Any]) -> str:
    # By it a schedule is known again: where no account or root was asked for, the server writes its own.
    digest = hashlib.sha256(json.dumps([cron.expression, *asked], sort_keys=True).encode()).hexdigest()
    return f"{_mark(name)}{cron.words()}. sha256:{digest}"


def _mark(name: str) -> str:
    return f"Schedule of {name}: "


def _is_named(one: V2beta1RecurringRun, name: str) -> bool:
    return one.display_name == name or (one.description or "").startswith(_mark(name))


def _is_enabled(one: V2beta1RecurringRun) -> bool:
    return one.mode == RecurringRunMode.ENABLE


def _retire(client: Client, experiment: str, one: V2beta1RecurringRun, result: Replaced) -> None:
    identifier: Any = one.recurring_run_id
    if _is_enabled(one):
        client.disable_recurring_run(identifier)
    own = equals(identifier, key="recurring_run_id")
    runs = every(client.list_runs, "runs", experiment_id=experiment, filter=own)
    running = [run.run_id for run in runs if run.recurring_run_id == identifier and run.state not in ENDED]
    if running:
        result.running[identifier] = running
    else:
        client.delete_recurring_run(identifier)
        result.deleted.append(identifier)
