"""The pipelines that the commands compile, upload, start and schedule."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from components.client.graph.prediction import PREDICTION, build_prediction
from components.core.errors import InputError
from components.core.project import NAME
from components.lifecycle.config import check_since

TRAIN, PREDICT = "train", "predict"
PIPELINES = (TRAIN, PREDICT)
PRODUCTS = {
    "catalog_products": "say where the products file lies, such as s3://bucket/products.tsv or a path on the "
    "volume; a run without it fails"
}
OF_PREDICT = {
    "models_store": "say where the store of models lies, whose champion predicts, such as s3://bucket/shop",
    "predict_output": "say where predictions go, such as s3://bucket/predictions or a path on the volume",
}


@dataclass(frozen=True)
class Pipeline:
    """One of them.

    Attributes:
        name: what it is called on a server, and its experiment and schedule.
        build: makes it of a preset, with the images' registry and tag, and the cluster's settings.
        needed: parameters that a run must be given -> what to do about one that is missing.
    """

    name: str
    build: Callable
    needed: Mapping[str, str]

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Refuses what a run would stop at after it has begun.

        Raises:
            InputError: a parameter that is needed is missing, or two of them do not go together.
        """
        for name, what_to_do in self.needed.items():
            if not arguments.get(name):
                raise InputError(f"--param {name}=... is missing: {what_to_do}")
        check_since(arguments.get("catalog_since", ""), arguments.get("catalog_date_column", ""))


def choose_pipeline(name: str, build_pipeline: Callable, *, denoise_on: str | None) -> Pipeline:
    """The pipeline of a name among `PIPELINES`.

    Args:
        build_pipeline: that of `pipeline.py`, which imports the commands.
        denoise_on: whose folds find label issues, where that was chosen.

    Raises:
        InputError: that was chosen for a pipeline without denoising.
    """
    if name == TRAIN:
        return Pipeline(NAME, build_pipeline, PRODUCTS)
    if denoise_on:
        raise InputError(f"--denoise-on {denoise_on}: the pipeline {name} denoises nothing; leave it out")
    return Pipeline(PREDICTION, build_prediction, {**PRODUCTS, **OF_PREDICT})
