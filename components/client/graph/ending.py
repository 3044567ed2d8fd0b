"""The last task of a graph, which tells of a run however it ended."""
# The decorators of kfp carry no types: a component called in a pipeline returns a task.
# pyright: reportCallIssue=false, reportAttributeAccessIssue=false, reportArgumentType=false

from typing import Any

from kfp import dsl

from components.client.cluster.settings import ALERT_KEYS
from components.client.graph.placement import Placement
from components.lifecycle.component import alert


def alerting(place: Placement, given: dict[str, Any]) -> dsl.ExitHandler:
    """The group of all other tasks; `given` holds the pipeline's parameters by name."""
    asked = {name: given[name] for name in ("models_store", "alert_always", "alert_address")}
    last = alert(run_name=dsl.PIPELINE_JOB_NAME_PLACEHOLDER, **asked)
    return dsl.ExitHandler(place(last, keys=ALERT_KEYS).set_caching_options(False))
