"""Where the pods of a graph's tasks run, which images they have, and what they read of the catalog."""
# The decorators of kfp carry no types: a component's specification is one of theirs.
# pyright: reportAttributeAccessIssue=false

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kfp import kubernetes

from components.client.cluster.settings import ClusterSettings
from components.core.environment import RUN_ID_VARIABLE
from components.core.project import image_name


@dataclass(frozen=True)
class Placement:
    """Says where a task's pod runs. What a run may choose is known only when it starts."""

    settings: ClusterSettings
    given: dict[str, Any]

    def __call__(self, task: Any, *, accelerator: Any = None, keys: tuple[str, ...] = ()) -> Any:
        """Places a task; it trains or runs networks, on a GPU if it can, where an accelerator is named.

        Args:
            keys: of the secret, that this task alone reads.
        """
        trains = accelerator is not None
        self.settings.apply(task, kubernetes, training=trains, keys=keys)
        kubernetes.use_field_path_as_env(task, RUN_ID_VARIABLE, "metadata.labels['pipeline/runid']")
        if trains:
            task.set_accelerator_type(accelerator)
            task.set_accelerator_limit(self.given["cluster_accelerator_count"])
            kubernetes.add_node_selector_json(task, self.given["cluster_node_selector"])
            kubernetes.add_toleration_json(task, self.given["cluster_tolerations"])
        return task


def set_images(components: Iterable[tuple[str, Any]], registry: str, tag: str) -> None:
    """Gives components the images of the stages that they go by: pairs of stage and component."""
    for stage, component in components:
        component.component_spec.implementation.container.image = image_name(stage, registry, tag)


def catalog_of(given: dict[str, Any], component: Any) -> dict[str, Any]:
    """What a component reads of the parameters about the catalog."""
    wanted = [name for name in component.component_spec.inputs if name.startswith("catalog_")]
    return {"config": given["preprocess_config"], **{name: given[name] for name in wanted}}
