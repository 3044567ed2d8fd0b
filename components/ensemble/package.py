"""The model package: one folder with all that predicting needs, and what a later model is compared with."""

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from components.core.artifacts import read_manifest, whole_file, write_json, write_manifest
from components.core.errors import InputError
from components.core.project import VERSION, code_revision
from components.core.reading import read_json
from components.data.class_tree import PATHS
from components.data.features import SVD
from components.data.probabilities import Classifier
from components.data.products import FOLDS, Products
from components.data.top_classes import matrix_tensors

FORMAT = 2  # a change that this release's reader would misread takes the next number
MODEL, PROFILE, PRODUCTS = "model.json", "profile.json", "products.parquet"
VALIDATION = "validation.safetensors"
MEMBERS = "members"
FEATURE_LEVEL = "feature_level"
PARTS = {MEMBERS: "fusion", FEATURE_LEVEL: FEATURE_LEVEL}  # of what fusion leaves -> of the package
CHECKPOINT = "@"  # between the name of a classifier and a further checkpoint of it
FURTHER = ("epoch-", "stage1")  # what the folders of such checkpoints start with
# Of the products' metadata, how a catalog is read, how predictions go out, and which parents classes have.
FORM = ("dialect", "delimiter", "labels_columns", "preprocess", PATHS)


@dataclass(frozen=True)
class TrainedModels:
    """Where the stages left what they trained: folders of models, and the catalog's profile.

    Attributes:
        fusion: with a folder for each member and each feature-level classifier, and the folds of validation.
    """

    text: Sequence[Path]
    image: Sequence[Path]
    fusion: Path
    profile: Path


def write_package(
    folder: Path,
    products: Products,
    members: Sequence[Classifier],
    ensemble: Classifier,
    trained: TrainedModels,
) -> None:
    """Writes the package of an ensemble: what its vote weighs, and what that reads, and nothing else.

    Args:
        members: those of decision-level fusion, and the feature-level classifiers that vote beside them.
        ensemble: the vote; its metadata name the members, and say what each weighs.

    Raises:
        InputError: a model is missing or damaged.
    """
    if folder.exists():  # left by an attempt that was cut off
        shutil.rmtree(folder)
    entries = _copy_members(folder, members, ensemble.metadata, trained.fusion)
    read = {name for entry in entries for name in entry["inputs"]}
    pooled = {n for each in entries if each["folder"].startswith(FEATURE_LEVEL) for n in each["inputs"]}
    classifiers = _copy_classifiers(folder, sorted(read), pooled, trained)
    form = {name: products.metadata[name] for name in FORM if name in products.metadata}
    document = {
        "classes": list(products.classes),
        "class_names": products.metadata.get("class_names", {}),
        **form,
        "vote": {"config": ensemble.metadata["config"], "members": entries},
        "classifiers": classifiers,
        "calibration": ensemble.metadata["calibration"],
        "threshold": ensemble.metadata["threshold"],
    }
    write_json(folder / MODEL, document)
    shutil.copyfile(trained.profile, folder / PROFILE)
    _write_products(products, folder / PRODUCTS, read_json(trained.fusion / FOLDS, "folds of validation"))
    _seal(folder, products, ensemble)


def _seal(folder: Path, products: Products, ensemble: Classifier) -> None:
    """The vote out of fold, and the manifest, last."""
    rows = products.rows("validation")
    pred_probs = ensemble.chosen("validation", products.ids[rows])
    with whole_file(folder / VALIDATION) as temporary:
        save_file(matrix_tensors(pred_probs), temporary)
    accuracy = float((pred_probs.argmax(axis=1) == products.labels[rows]).mean())
    write_manifest(
        folder,
        format=FORMAT,
        name=ensemble.name,
        version=VERSION,
        code=code_revision(),
        digests=products.metadata.get("digests", {}),
        metrics={"macro_f1": ensemble.metadata["macro_f1"], "accuracy": accuracy},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def content_digests(table: pd.DataFrame) -> list[str]:
    """SHA-256 of every product's cleaned title, description and picture, in hexadecimal."""
    columns = (table[name].fillna("") for name in ("title", "description", "image"))
    return [hashlib.sha256("\0".join(parts).encode()).hexdigest() for parts in zip(*columns, strict=True)]


def _copy_members(
    folder: Path, members: Sequence[Classifier], metadata: Mapping[str, Any], fusion: Path
) -> list[dict[str, Any]]:
    """Copies the members that weigh anything; what `model.json` says of them, in the order of the vote."""
    weights = dict(zip(metadata["members"], metadata["weights"], strict=True))
    named = read_manifest(fusion)
    models = {part: {name: fusion / where for name, where in named.get(part, {}).items()} for part in PARTS}
    entries, numbers = [], dict.fromkeys(PARTS, 0)
    for member in [member for member in members if weights[member.name] > 0]:
        part = next((part for part in PARTS if member.name in models[part]), MEMBERS)
        target = f"{PARTS[part]}/{numbers[part]:02d}"
        numbers[part] += 1
        _copy(_found(models[part], member.name, fusion), folder / target)
        entry = {"name": member.name, "weight": weights[member.name], "folder": target}
        entries.append({**entry, "inputs": _inputs(member)})
    return entries


def _inputs(member: Classifier) -> list[str]:
    """The classifiers that it asks when it predicts; one trained end to end has their networks itself."""
    whole = member.metadata.get("config", {}).get("training") == "end_to_end"
    return [] if whole else member.metadata.get("inputs", [])


def _copy_classifiers(
    folder: Path, names: Sequence[str], pooled: Set[str], trained: TrainedModels
) -> list[dict[str, str]]:
    """Copies the text and image classifiers of some names; what `model.json` says of them.

    Args:
        pooled: those whose features are read too.
    """
    models = {"text": _by_name(trained.text), "image": _by_name(trained.image)}
    entries = []
    for name in names:
        base, _, checkpoint = name.partition(CHECKPOINT)
        modality = "text" if base in models["text"] else "image"
        target = folder / modality / base
        if not target.exists():
            late = {each.partition(CHECKPOINT)[2] for each in names if each.startswith(f"{base}{CHECKPOINT}")}
            unread = set() if base in pooled else {SVD}
            _copy(_found(models[modality], base, trained.fusion), target, late=late, unread=unread)
        where = f"{modality}/{base}/{checkpoint}".rstrip("/")
        entries.append({"name": name, "modality": modality, "folder": where, "checkpoint": checkpoint})
    return entries


def _write_products(products: Products, path: Path, folds: Mapping[str, int]) -> None:
    """Every labeled product; `fold` is the one of validation that fusion left it out of."""
    table = products.table
    fold_of = [folds.get(product) for product in table["product_id"]]
    found = pa.table(
        {
            "product_id": pa.array(table["product_id"], pa.string()),
            "code": pa.array(table["code"], pa.string()),
            "split": pa.array(table["split"], pa.string()),
            "group": pa.array(table["group"], pa.int64()),
            "fold": pa.array(fold_of, pa.int64()),
            "content": pa.array(content_digests(table), pa.string()),
        }
    )
    with whole_file(path) as temporary:
        pq.write_table(found, temporary, compression="zstd")


def _by_name(folders: Sequence[Path]) -> dict[str, Path]:
    return {read_manifest(folder, check=False)["name"]: folder for folder in folders}


def _found(models: Mapping[str, Path], name: str, where: Path) -> Path:
    if name not in models:
        raise InputError(f"{where}: no model of {name!r} beside those of {', '.join(models) or 'none'}")
    read_manifest(models[name])
    return models[name]


def _copy(source: Path, target: Path, late: Set[str] = frozenset(), unread: Set[str] = frozenset()) -> None:
    """Copies a model's folder without `unread`, of its further checkpoints those of `late`."""

    def ignored(folder: str, names: list[str]) -> list[str]:
        if Path(folder) != source:
            return []
        return [name for name in names if name in unread or (name.startswith(FURTHER) and name not in late)]

    shutil.copytree(source, target, ignore=ignored, copy_function=_link_or_copy)


def _link_or_copy(source: str, target: str) -> None:
    # Files are replaced, never rewritten, so a second name for one is as good as a copy.
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
