"""The loops over text and image trainings, and what collects them."""
# The decorators of kfp carry no types: a component called in a pipeline returns a task.
# pyright: reportCallIssue=false, reportAttributeAccessIssue=false, reportArgumentType=false

from dataclasses import dataclass
from typing import Any

from kfp import dsl

from components.client.graph.placement import Placement
from components.image.component import image
from components.text.component import text

COMPONENTS = {"text": text, "image": image}


@dataclass(frozen=True)
class Trainings:
    """The tasks of the text and the image stage, each in a loop of its own.

    A graph is drawn before a run's parameters are known, and all tasks of a loop ask for the same. So what a
    run was given decides, when it starts: the tasks of a loop ask for `cluster_accelerator_type` where any
    configuration of that loop is of a kind that uses a GPU, and for none otherwise. Folds of TF-IDF ask for
    none; TF-IDF beside a transformer in one list asks for what that one needs. `checked` holds all of
    that, the outputs of the task that checks parameters.
    """

    given: dict[str, Any]
    checked: dict[str, Any]
    place: Placement
    store: Any

    def folds(self, products: Any, stages: tuple[str, ...]) -> dict[str, Any]:
        """Out-of-fold probabilities of the labeled products, for denoising."""
        found = {}
        # Which text folds one task trains follows from their kind, so the first task says it.
        loops = {"text": self.checked["text_folds"], "image": self.given["denoise_folds"]}
        for stage in stages:
            with dsl.ParallelFor(loops[stage]) as folds:
                config, accelerator = self.given[f"{stage}_fold_config"], self.checked[f"{stage}_fold"]
                task = self._train(stage, products, config, accelerator, folds)
            found[f"{stage}_folds"] = dsl.Collected(task.outputs["probabilities"])
        return found

    def classifiers(self, products: Any) -> dict[str, Any]:
        """One task a stage, inside the loop over its configurations."""
        tasks = {}
        for stage in COMPONENTS:
            with dsl.ParallelFor(self.given[f"{stage}_configs"]) as config:
                tasks[stage] = self._train(stage, products, config, self.checked[stage])
        return tasks

    def _train(self, stage: str, products: Any, config: Any, accelerator: Any, folds: Any = None) -> Any:
        inputs = {"folds": "" if folds is None else folds}
        if stage == "image":
            inputs = {"images": self.store, "fold": -1 if folds is None else folds}
        task = COMPONENTS[stage](
            products=products,
            config=config,
            weights_digest=self.checked["weights"],
            seed=self.given["seed"],
            checkpoints=self.given["cluster_checkpoints"],
            gpu_type=accelerator,
            gpu_count=self.given["cluster_accelerator_count"],
            **inputs,
        )
        return self.place(task, accelerator=accelerator)


def collected(classifiers: dict[str, Any], output: str, suffix: str = "") -> dict[str, Any]:
    """An output of every task of the loops, by stage."""
    # Afresh for each task: the compiler changes what it is given.
    return {f"{stage}{suffix}": dsl.Collected(task.outputs[output]) for stage, task in classifiers.items()}
