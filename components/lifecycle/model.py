"""A model package, read strictly and applied to products."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from components.core.artifacts import MANIFEST, read_manifest
from components.core.configuration import Accelerator, restored_config
from components.core.errors import InputError
from components.core.reading import read_json
from components.data.class_tree import Level, tree_of
from components.data.image_store import ImageStore
from components.data.stacks import Stack
from components.data.top_classes import PredProbs, in_form, replaced
from components.ensemble.config import EnsembleConfig
from components.ensemble.package import FORMAT, MODEL, PROFILE
from components.ensemble.voting import vote
from components.fusion.classifiers import stacked
from components.fusion.config import FUSION_KINDS
from components.image.config import IMAGE_KINDS
from components.lifecycle.predictions import Predictions
from components.lifecycle.products import cleaned, opened_images
from components.lifecycle.version import version_of
from components.modeling.calibration import Calibrator, calibrator_of
from components.modeling.device import choose_device
from components.modeling.trained import ENCODER, REFIT, Predicted
from components.preprocess.config import PreprocessConfig
from components.text.config import TEXT_KINDS


class Model:
    """A package that was found whole; `load_model` makes one.

    Attributes:
        version: its id, which equal models share; see `version_of`.
        manifest: when and from what it was made, and how well it did on validation.
        classes: the codes, in the order of the columns of `pred_probs`.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any], device: Accelerator) -> None:
        self.folder, self.manifest = folder, manifest
        self.version = version_of(folder)
        self.document = read_json(folder / MODEL, "a model's description")
        self.classes: tuple[str, ...] = tuple(self.document["classes"])
        self._device = choose_device(device)
        self._loaded: dict[Path, Any] = {}

    @property
    def name(self) -> str:
        """The ensemble's name."""
        return self.manifest["name"]

    @cached_property
    def profile(self) -> dict[str, Any]:
        """The profile of the catalog that it was trained on."""
        return read_json(self.folder / PROFILE, "a catalog's profile")

    @cached_property
    def preprocess(self) -> PreprocessConfig:
        """How the catalog was read, and new products are."""
        return restored_config(PreprocessConfig, self.document["preprocess"], where=str(self.folder / MODEL))

    def predict(
        self,
        table: pd.DataFrame,
        images: ImageStore | Path | str | None = None,
        *,
        refit: bool = True,
        folds: np.ndarray | None = None,
    ) -> Predictions:
        """Predicts products as a catalog has them.

        Args:
            table: `title`, and where there are any `product_id`, `description` and `image`: a key of the
                store, or a file's name in the folder or zip.
            images: a store, a folder or a zip.
            refit, folds: see `predict_cleaned`.

        Raises:
            InputError: the table lacks a title, or two products have one id.
        """
        with tempfile.TemporaryDirectory() as scratch:
            products = cleaned(table)
            store = opened_images(products, images, self.preprocess, Path(scratch))
            return self.predict_cleaned(products, store, refit=refit, folds=folds)

    def predict_cleaned(
        self,
        table: pd.DataFrame,
        store: ImageStore,
        *,
        refit: bool = True,
        folds: np.ndarray | None = None,
    ) -> Predictions:
        """Predicts products as preprocess leaves them: texts cleaned, images in a store.

        Args:
            refit: by the classifiers fitted on train and validation, where the configuration has them so;
                else by those that validation never taught, which may predict validation.
            folds: (N,) the fold of validation that a product was in, which members fitted without it
                predict; -1 for none.
        """
        answers = _Answers(self, table, store, refit)
        members = {entry["name"]: answers.member(entry, folds) for entry in self.members}
        # As the vote on validation read them, by which calibration and thresholds were chosen.
        stack = Stack.of(list(members.values()))
        weights = np.array([entry["weight"] for entry in self.members])
        pred_probs = self._calibrator(stack.matrix(vote(self._config, stack.values, weights)[0]))
        codes = np.array(self.classes, dtype=object)[pred_probs.argmax(axis=1)]
        names = self.document["class_names"]
        return Predictions(
            ids=table["product_id"].to_numpy(dtype=object),
            codes=codes,
            names=np.array([names.get(code, "") for code in codes], dtype=object),
            pred_probs=pred_probs,
            classifiers={each["name"]: answers.classifier(each["name"]) for each in self.classifiers},
            members=members,
            without_image=np.array([key not in store for key in table["image"]], bool),
        )

    @property
    def classifiers(self) -> list[dict[str, str]]:
        """What the package says of every text and image classifier: name, modality, folder, checkpoint."""
        return self.document["classifiers"]

    @property
    def members(self) -> list[dict[str, Any]]:
        """What it says of everything that votes, in order: name, weight, folder, and the inputs it reads."""
        return self.document["vote"]["members"]

    @cached_property
    def _config(self) -> EnsembleConfig:
        settings = self.document["vote"]["config"]
        return restored_config(EnsembleConfig, settings, where=str(self.folder / MODEL))

    @property
    def threshold(self) -> dict[str, Any]:
        """From which `probability` on predictions are accepted, and what that promises; {} if it is silent.

        See `components.modeling.acceptance.Acceptance.document`, with `checked_share` and `unlike_above`.
        """
        return self.document["threshold"] or {}

    @cached_property
    def levels(self) -> list[tuple[Level, float]]:
        """The levels of its tree that answer anything, with the probability from which on, deepest first."""
        tree = tree_of(self.classes, self.document)
        thresholds = {each["level"]: each["probability"] for each in self.threshold.get("levels", ())}
        levels = reversed(tree.levels) if tree else ()
        return [(each, found) for each in levels if (found := thresholds.get(each.depth)) is not None]

    @cached_property
    def _calibrator(self) -> Calibrator:
        return calibrator_of(self.document["calibration"], where=str(self.folder / MODEL))

    def load(self, modality: str, folder: str, *, refit: bool) -> Any:
        """A fitted classifier or member of the package, loaded once."""
        path = self.folder / folder
        path = path / REFIT if refit and (path / REFIT).is_dir() else path
        if path not in self._loaded:
            device = {} if modality == "fusion" else {"device": self._device}
            registry = {"text": TEXT_KINDS, "image": IMAGE_KINDS}.get(modality, FUSION_KINDS)
            # The package's own manifest has vouched for every file.
            self._loaded[path] = registry.load(path, check=False, **device)
        return self._loaded[path]


class _Answers:
    """What every part of a model says of some products, each asked once."""

    def __init__(self, model: Model, table: pd.DataFrame, store: ImageStore, refit: bool) -> None:
        self._model, self._table, self._store, self._refit = model, table, store, refit
        self._entries = {entry["name"]: entry for entry in model.classifiers}
        self._predicted: dict[int, Predicted] = {}

    def classifier(self, name: str) -> PredProbs:
        """(N, C) of a text or image classifier."""
        return self._ask(name, refit=self._refit).pred_probs

    def member(self, entry: Mapping[str, Any], folds: np.ndarray | None) -> PredProbs:
        """(N, C) of what votes."""
        part = entry["folder"].split("/")[0]
        model = self._model.load(part, entry["folder"], refit=self._refit)
        if part != "fusion":
            read = {name: self._features(name) for name in getattr(model, "inputs", ())}
            known = {name: values for name, values in read.items() if values is not None}
            return in_form(model.predict(self._table, self._store, known).pred_probs)
        inputs = stacked([self.classifier(name) for name in entry["inputs"]])
        pred_probs = in_form(model.predict(inputs))
        for fold in np.unique(folds[folds >= 0]) if folds is not None else ():
            rows = folds == fold
            of_fold = in_form(model.predict(stacked([each[rows] for each in inputs]), fold=int(fold)))
            pred_probs = replaced(pred_probs, rows, of_fold)
        return pred_probs

    def _features(self, name: str) -> np.ndarray | None:
        # Those of the classifier that never saw validation. A pretrained encoder has the same ones for both.
        shared = (self._model.folder / self._entries[name]["folder"] / ENCODER).is_dir()
        return self._ask(name, refit=self._refit and shared).features

    def _ask(self, name: str, *, refit: bool) -> Predicted:
        entry = self._entries[name]
        model = self._model.load(entry["modality"], entry["folder"], refit=refit)
        if id(model) not in self._predicted:
            keys = [key if isinstance(key, str) else None for key in self._table["image"]]
            of_text = entry["modality"] == "text"
            asked = model.predict(self._table) if of_text else model.predict(self._store, keys)
            self._predicted[id(model)] = replace(asked, pred_probs=in_form(asked.pred_probs))
        return self._predicted[id(model)]


def load_model(path: Path | str, *, device: Accelerator = "auto", check: bool = True) -> Model:
    """Reads a model package: `runs/NAME/model` of a run, or a version of a store.

    Args:
        device: "auto" for a GPU where there is one, or "cpu".
        check: the digest of every file; not needed by whoever has just fetched the package from a store.

    Raises:
        InputError: no such device; or it is no package, one of a later release, or a file is missing, was
            changed or does not belong to it; the message names the file.
    """
    if device not in get_args(Accelerator):
        raise InputError(f"device {device!r}: expected {' or '.join(get_args(Accelerator))}")
    folder = Path(path)
    manifest = read_manifest(folder, check=check)
    if not isinstance(manifest.get("format"), int):
        raise InputError(f"{folder / MANIFEST}: no model package: it names no format; name runs/NAME/model")
    if manifest["format"] > FORMAT:
        raise InputError(
            f"{folder / MANIFEST}: format {manifest['format']}, of release {manifest.get('version')}; this "
            f"release reads no format after {FORMAT}: install that one"
        )
    listed = {*manifest["files"], MANIFEST}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        if file.relative_to(folder).as_posix() not in listed:
            raise InputError(
                f"{file}: not a part of this package: its manifest does not list it; take it out"
            )
    if missing := [name for name in (MODEL, PROFILE) if name not in listed]:
        raise InputError(f"{folder}: {', '.join(missing)} missing: no whole model package")
    return Model(folder, manifest, device)
