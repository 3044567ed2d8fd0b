"""What the classifiers of both modalities leave for feature-level fusion: whose features, whose backbones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.artifacts import read_manifest
from components.core.errors import InputError
from components.core.reading import read_json
from components.data.features import Features, read_features
from components.data.products import Products
from components.fusion.classifiers import Best, Input, best_on_validation

# How a classifier comes to have features.
FEATURES = {
    "text": 'set "features" of a linear one above 0 in --param text_configs',
    "image": "give its features",
}


@dataclass(frozen=True)
class Modality:
    """What the classifiers of one modality leave for feature-level fusion.

    Attributes:
        name: "text" or "image".
        inputs: their probabilities.
        features: files of pooled features.
        models: model folders.
    """

    name: str
    inputs: list[Input]
    features: list[Path]
    models: list[Path]

    def best_features(self, table: Products) -> tuple[Best, dict[str, Features]]:
        """The best classifier on validation of those with features, and all these features by name.

        Features are aligned to the table's rows.

        Raises:
            InputError: no classifier has any.
        """
        features = {found.name: found for found in map(read_features, self.features) if found.values.shape[1]}
        best = best_on_validation(self.inputs, features, table)
        if best is None:
            raise InputError(
                f"feature-level fusion: no {self.name} classifier ({self._names()}) is among those with "
                f"features ({', '.join(features) or 'none'}): {FEATURES[self.name]}, or leave out the kinds "
                "concat, sum and attention"
            )
        names = {best.name, *best.elsewhere}
        return best, {name: Features(name, table.ids, features[name].aligned(table.ids)) for name in names}

    def best_model(self, table: Products) -> tuple[str, Path]:
        """The best classifier on validation of those whose backbone can be trained on, and its model folder.

        Raises:
            InputError: there is none.
        """
        models = joint_models(self.models, {"text": "model_type", "image": "backbone"}[self.name])
        best = best_on_validation(self.inputs, models, table)
        if best is None:
            raise InputError(
                f"feature-level fusion end to end: no {self.name} classifier ({self._names()}) left a "
                f"backbone to train on (those with one: {', '.join(models) or 'none'}); it needs a "
                'transformer for texts and a network for images, or "training": "step_by_step"'
            )
        return best.name, models[best.name]

    def _names(self) -> str:
        return ", ".join(name for name, _ in self.inputs) or "none"


@dataclass(frozen=True)
class FeatureLevelData:
    """What feature-level classifiers are trained on.

    Attributes:
        products: the product table.
        images: the image store, which only a training on images opens.
        text: what the text classifiers left; `image` likewise.
        seed: of every random draw.
        model: folder that receives the model.
    """

    products: Products
    images: Path
    text: Modality
    image: Modality
    seed: int
    model: Path


def model_settings(folder: Path) -> dict[str, Any]:
    """A model folder's `config.json` and its classifier's name, once its files are found to be whole.

    Raises:
        InputError: a file is missing or damaged.
    """
    manifest = read_manifest(folder)
    settings = read_json(folder / "config.json", "a model's settings")
    return {**settings, "name": manifest.get("name", "")}


def joint_models(folders: list[Path], key: str) -> dict[str, Path]:
    """Classifier -> model folder of those whose settings have `key`: the ones with a backbone to train."""
    settings = {folder: model_settings(folder) for folder in folders}
    return {found["name"]: folder for folder, found in settings.items() if key in found}
