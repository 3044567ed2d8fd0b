"""The labeled products of a catalog: read in one pass, prepared in a loop over shards, merged."""
# The decorators of kfp carry no types: a component called in a pipeline returns a task.
# pyright: reportCallIssue=false, reportAttributeAccessIssue=false, reportArgumentType=false

from collections.abc import Iterable
from typing import Any

from kfp import dsl

from components.client.graph.placement import Placement, catalog_of
from components.lifecycle.batch.component import SHARDS
from components.preprocess.component import preprocess
from components.preprocess.shards.component import preprocess_read, preprocess_shard


def labeled_products(place: Placement, given: dict[str, Any], *, after: Iterable[Any]) -> Any:
    """The task whose outputs they are; `given` holds the pipeline's parameters by name.

    Args:
        after: the tasks that must have ended before anything is read.
    """
    size = given["preprocess_shard_size"]
    read = place(preprocess_read(**catalog_of(given, preprocess_read), shard_size=size).after(*after))
    records = {"records": read.outputs["records"]}
    with dsl.ParallelFor(read.outputs[SHARDS]) as number:
        shard = place(preprocess_shard(**records, number=number, **catalog_of(given, preprocess_shard)))
    prepared = dsl.Collected(shard.outputs["prepared"])
    dealt = {"folds": given["denoise_folds"], "seed": given["seed"]}
    return place(preprocess(**records, prepared=prepared, **catalog_of(given, preprocess), **dealt))
