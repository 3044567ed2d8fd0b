"""The graph of the second pipeline: the champion predicts a catalog, or what is new in it, in shards."""
# The decorators of kfp carry no types: a component called in a pipeline returns a task.
# pyright: reportCallIssue=false, reportAttributeAccessIssue=false, reportArgumentType=false

from collections.abc import Callable
from functools import partial
from typing import Any

from kfp import dsl

from components.client.cluster.settings import ClusterSettings
from components.client.graph.ending import alerting
from components.client.graph.placement import Placement, set_images
from components.core.project import NAME, REGISTRY, TAG
from components.lifecycle.batch.component import SHARDS, predict_collect, predict_plan, predict_shard
from components.lifecycle.component import alert

PREDICTION = f"{NAME}-predict"
DESCRIPTION = "The champion of a store of models predicts a catalog's products."


def build_prediction(
    preset: dict[str, Any],
    *,
    registry: str = REGISTRY,
    tag: str = TAG,
    settings: ClusterSettings = ClusterSettings(),  # noqa: B008
) -> Callable:
    """The pipeline that predicts.

    Args:
        preset: whose accelerators are the defaults.
        registry, tag: of the images.
    """
    own = [("predict", each) for each in (predict_plan, predict_shard, predict_collect)]
    set_images([*own, ("promote", alert)], registry, tag)
    connect = partial(_connect, settings)

    @dsl.pipeline(name=PREDICTION, description=DESCRIPTION)
    def product_categorization_predict(
        catalog_products: str = "",
        catalog_images: str = "",
        catalog_columns: str = "",
        catalog_date_column: str = "",
        catalog_since: str = "",
        models_store: str = "",
        models_name: str = NAME,
        predict_output: str = "",
        predict_shard_size: int = 20_000,
        alert_always: bool = False,
        alert_address: str = "",
        cluster_accelerator_type: str = preset["accelerator_type"],
        cluster_accelerator_count: str = preset["accelerator_count"],
        cluster_node_selector: dict = {},  # noqa: B006
        cluster_tolerations: list[dict] = preset["tolerations"],
    ):
        connect(locals())

    return product_categorization_predict


def _connect(settings: ClusterSettings, given: dict[str, Any]) -> None:
    """Connects the tasks. None is ever cached: what a store or a catalog holds is no part of a task's key."""
    place = Placement(settings, given)
    with alerting(place, given):
        asked = {name: given[name] for name in predict_plan.component_spec.inputs}
        plan = place(predict_plan(**asked)).set_caching_options(False)
        read = {name: plan.outputs[name] for name in ("ensemble_model", "new_products")}
        with dsl.ParallelFor(plan.outputs[SHARDS]) as shard:
            task = predict_shard(
                **read,
                shard=shard,
                catalog_images=given["catalog_images"],
                gpu_type=plan.outputs["accelerator"],
                gpu_count=given["cluster_accelerator_count"],
            )
            place(task, accelerator=plan.outputs["accelerator"]).set_caching_options(False)
        written = {name: given[name] for name in ("models_store", "models_name", "predict_output")}
        shards = dsl.Collected(task.outputs["shard_predictions"])
        place(predict_collect(**read, shard_predictions=shards, **written)).set_caching_options(False)
