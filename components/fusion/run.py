"""The fusion stage: members from text and image classifiers, and the feature-level baselines."""

from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch

from components.core.artifacts import write_json, write_manifest
from components.core.errors import InputError
from components.core.stage import Result
from components.data.probabilities import Classifier, read_classifier
from components.data.products import FOLDS, Products, read_products
from components.data.top_classes import PredProbs
from components.fusion.classifiers import Input, model_folder, stack, to_inputs, write_fused
from components.fusion.config import DecisionLevelConfig, FeatureLevelConfig, FusionConfig
from components.fusion.decision_level.members import FusionData, Member, fuse_members
from components.fusion.feature_level.baselines import fuse_features
from components.fusion.feature_level.inputs import FeatureLevelData, Modality
from components.fusion.report import fusion_report
from components.modeling.cross_fitting import affordable_folds, chosen_macro_f1, stratified_folds
from components.modeling.metrics import macro_f1
from components.modeling.trained import write_model
from components.reports.page import safe_report


def run_fusion(
    products: Path,
    images: Path,
    text: list[Path],
    image: list[Path],
    text_features: list[Path],
    image_features: list[Path],
    text_models: list[Path],
    image_models: list[Path],
    configs: Sequence[FusionConfig],
    *,
    folds: int,
    seed: int,
    members: Path,
    feature_level: Path,
    fusion_model: Path,
) -> Result:
    """Fuses text and image classifiers in every configured way (paper, section 3.3).

    Args:
        text, image: classifier folders; late checkpoints count as classifiers of their own.
        text_features, image_features: their pooled features, for feature-level fusion.
        text_models, image_models: their models, for feature-level fusion end to end.
        folds: of the cross-validation on the validation split; a small one gets as many as it allows.
        members: folder to write, one classifier a folder; their validation matrices are out-of-fold.
        feature_level: folder to write, likewise, for feature-level classifiers.
        fusion_model: folder to write: `members/NN/` and `feature_level/NN/`, from which they predict again;
            the folders by name in the manifest; and `folds.json`, each validation product's fold.

    Returns:
        Macro-F1 on validation: the best single classifier, the best and the mean of the members, and the best
        feature-level classifier where there is one; the number of members; and the report.

    Raises:
        InputError: no classifier, or one that does not fit the products; too few rows for the folds.
    """
    table = read_products(products)
    texts, pictures = (
        [read_classifier(each, classes=table.classes) for each in some] for some in (text, image)
    )
    of_text = Modality("text", to_inputs(texts), text_features, text_models)
    of_image = Modality("image", to_inputs(pictures), image_features, image_models)
    if not texts and not pictures:
        raise InputError("fusion: no text classifier and no image classifier; give at least one")
    inputs = of_text.inputs, of_image.inputs
    metrics, fused = _fuse_decisions(table, *inputs, configs, members, fusion_model, folds=folds, seed=seed)
    data = FeatureLevelData(table, images, of_text, of_image, seed, fusion_model)
    beside = [config for config in configs if isinstance(config, FeatureLevelConfig)]
    if baselines := fuse_features(beside, data, feature_level):
        metrics["best_feature_level_macro_f1"] = _best_macro_f1(baselines, table)
    _write_folders(fusion_model, members=fused, feature_level=baselines)
    report = safe_report(lambda: fusion_report(table, texts, pictures, fused, baselines))
    return Result(metrics, report)


def _write_folders(model: Path, **made: Sequence[Classifier]) -> None:
    folders = {
        level: {each.name: model_folder(level, number) for number, each in enumerate(classifiers)}
        for level, classifiers in made.items()
    }
    write_manifest(model, **folders)


def make_members(
    configs: Sequence[DecisionLevelConfig], texts: Sequence[str], images: Sequence[str]
) -> list[Member]:
    """The product of text classifiers, image classifiers and fusion configurations (paper, section 3.4).

    Classifiers are numbered texts first. Where one modality has none, a pair is the other's alone.
    """
    names = [*texts, *images]
    numbers = list(range(len(names)))
    modalities = [side for side in (numbers[: len(texts)], numbers[len(texts) :]) if side]
    return [
        Member(f"{config.name}({', '.join(names[i] for i in inputs)})", tuple(inputs), config)
        for config in configs
        for inputs in ([numbers] if config.inputs == "all" else product(*modalities))
    ]


def _best_macro_f1(classifiers: Sequence[Classifier], table: Products) -> float:
    rows = table.rows("validation")
    labels, groups = table.labels[rows], table.table["group"].to_numpy()[rows]
    predicted = _predicted(each.chosen("validation", table.ids[rows]) for each in classifiers)
    return chosen_macro_f1(predicted, labels, groups, len(table.classes))


def _predicted(matrices: Iterable[PredProbs]) -> np.ndarray:
    """(V, N) classes."""
    return np.stack([matrix.argmax(axis=1) for matrix in matrices])


def _fuse_decisions(
    table: Products,
    texts: list[Input],
    images: list[Input],
    configs: Sequence[FusionConfig],
    folder: Path,
    model: Path,
    *,
    folds: int,
    seed: int,
) -> tuple[dict[str, float], list[Classifier]]:
    """Scores on validation, and the members."""
    names = [name for name, _ in texts + images]
    validation, test = (stack(texts + images, split, table) for split in ("validation", "test"))
    rows, classes = table.rows("validation"), len(table.classes)
    labels, groups = table.labels[rows], table.table["group"].to_numpy()[rows]
    labeled, setting = int((table.labels >= 0).sum()), "--param fusion_folds={}"
    folds = affordable_folds(labels, folds=folds, groups=groups, labeled=labeled, setting=setting)
    fold_of = stratified_folds(labels, folds=folds, seed=seed, groups=groups)
    decisions = [config for config in configs if isinstance(config, DecisionLevelConfig)]
    members = make_members(decisions, names[: len(texts)], names[len(texts) :])
    fused = fuse_members(members, FusionData(validation, labels, fold_of, test, seed))
    made = []
    for number, member in enumerate(members):
        result, inputs = fused[member.name], [names[i] for i in member.inputs]
        shared = {"inputs": inputs, "folds": folds, "seed": seed, "device": "CPU"}
        score = macro_f1(labels, result.out_of_fold.argmax(axis=1), classes)
        metadata = {"config": member.config.model_dump(), **shared, "macro_f1": score, **result.metadata}
        splits = {"validation": result.out_of_fold, "test": result.test}
        made.append(write_fused(folder, number, member.name, splits, metadata, table))
        settings = {**metadata["config"], "name": member.name, "inputs": inputs}
        tensors = {name: torch.from_numpy(array) for name, array in result.tensors.items()}
        write_model(model / model_folder("members", number), tensors, table.classes, settings)
    write_manifest(folder, classifiers=[member.name for member in members], folds=folds, seed=seed)
    write_json(model / FOLDS, dict(zip(table.ids[rows], fold_of.tolist(), strict=True)))
    scores = [classifier.metadata["macro_f1"] for classifier in made]
    metrics = {
        "best_single_macro_f1": chosen_macro_f1(_predicted(validation), labels, groups, classes),
        "best_member_macro_f1": _best_macro_f1(made, table),
        "mean_member_macro_f1": float(np.mean(scores)),
        "members": float(len(members)),
    }
    return metrics, made
