"""The fusion stage: members from text and image voters, and the feature-level baselines."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.artifacts import write_manifest
from components.catalog import Products, read_products, training_task
from components.crossfit import stratified_folds
from components.errors import InputError
from components.features import Features, read_features
from components.fusion.configs import ConcatConfig, DecisionConfig, parse_fusion_configs
from components.fusion.decision import Member, fuse_members
from components.fusion.feature_level import train_feature_level
from components.metrics import macro_f1
from components.probabilities import Probabilities, Voter, read_voter, write_voter

# A voter to fuse: its name ("resnet152", or "resnet152@epoch-18" for a late checkpoint) and its matrices.
Input = tuple[str, dict[str, Probabilities]]


def run_fusion(
    products: Path,
    text: list[Path],
    image: list[Path],
    text_features: list[Path],
    image_features: list[Path],
    configs: list[dict[str, Any]],
    *,
    folds: int,
    seed: int,
    members: Path,
    feature_level: Path,
) -> dict[str, float]:
    """Fuses text and image voters in every configured way (paper, section 3.3).

    Args:
        products: the product table.
        text: voter folders of text classifiers; late checkpoints count as voters of their own.
        image: the same of image classifiers.
        text_features: pooled features of text classifiers, for feature-level fusion.
        image_features: the same of image classifiers.
        configs: see `configs.KINDS`.
        folds: of the cross-validation on the validation split (section 4.1: 8).
        members: folder to write, one voter folder a decision-level member. Their validation matrices
            are out-of-fold.
        feature_level: folder to write, one voter folder a feature-level classifier.

    Returns:
        Macro-F1 on validation: the best single voter, the best and the mean of the members, and the best
        feature-level classifier where there is one; and the number of members.

    Raises:
        InputError: no voter, ids, classes or values that do not fit the products, too few rows for the
            folds, a configuration that is wrong.
    """
    parsed = parse_fusion_configs(configs)
    table = read_products(products)
    texts, images = _read_inputs(text, table), _read_inputs(image, table)
    if not texts and not images:
        raise InputError("fusion: no text voter and no image voter; give at least one")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    decisions = [config for config in parsed if isinstance(config, DecisionConfig)]
    metrics = _fuse_decisions(table, texts, images, decisions, members, folds=folds, seed=seed, device=device)
    baselines = [config for config in parsed if isinstance(config, ConcatConfig)]
    scores = []
    if baselines:
        best_text = _best_features(texts, text_features, table, "text")
        best_image = _best_features(images, image_features, table, "image")
        scores = _fuse_features(
            table, best_text, best_image, baselines, feature_level, seed=seed, device=device
        )
        metrics["best_feature_level_macro_f1"] = max(scores)
    write_manifest(feature_level, voters=[config.voter for config in baselines], seed=seed)
    return metrics


def make_members(
    configs: Sequence[DecisionConfig], texts: Sequence[str], images: Sequence[str]
) -> list[Member]:
    """The product of text voters, image voters and fusion configurations (paper, section 3.4).

    Voters are numbered texts first. Where one modality has no voter, a pair is the other's voter alone.
    """
    names = [*texts, *images]
    numbers = list(range(len(names)))
    modalities = [side for side in (numbers[: len(texts)], numbers[len(texts) :]) if side]
    return [
        Member(f"{config.voter}({', '.join(names[i] for i in inputs)})", tuple(inputs), config)
        for config in configs
        for inputs in ([numbers] if config.inputs == "all" else product(*modalities))
    ]


def _fuse_decisions(
    table: Products,
    texts: list[Input],
    images: list[Input],
    configs: Sequence[DecisionConfig],
    folder: Path,
    *,
    folds: int,
    seed: int,
    device: torch.device,
) -> dict[str, float]:
    names = [name for name, _ in texts + images]
    validation, test = (_stack(texts + images, split, table) for split in ("validation", "test"))
    rows, classes = table.rows("validation"), len(table.classes)
    labels, groups = table.labels[rows], table.table["group"].to_numpy()[rows]
    fold_of = stratified_folds(labels, folds=folds, seed=seed, groups=groups)
    members = make_members(configs, [name for name, _ in texts], [name for name, _ in images])
    fused = fuse_members(members, validation, labels, fold_of, test, seed=seed, device=device)
    scores = []
    for number, member in enumerate(members):
        result = fused[member.name]
        scores.append(macro_f1(labels, result.out_of_fold.argmax(axis=1), classes))
        facts = {
            "config": asdict(member.config),
            "inputs": [names[i] for i in member.inputs],
            "folds": folds,
            "seed": seed,
            "macro_f1": scores[-1],
            **result.facts,
        }
        splits = {"validation": result.out_of_fold, "test": result.test}
        _write(folder, number, member.name, splits, facts, table)
    write_manifest(folder, voters=[member.name for member in members], folds=folds, seed=seed)
    return {
        "best_single_macro_f1": max(macro_f1(labels, one.argmax(axis=1), classes) for one in validation),
        "best_member_macro_f1": max(scores),
        "mean_member_macro_f1": float(np.mean(scores)),
        "members": float(len(members)),
    }


def _fuse_features(
    table: Products,
    text: Features,
    image: Features,
    configs: Sequence[ConcatConfig],
    folder: Path,
    *,
    seed: int,
    device: torch.device,
) -> list[float]:
    task = training_task(table, fold=None, cleaned=False)
    scores = []
    for number, config in enumerate(configs):
        pred_probs = train_feature_level(
            text.values,
            image.values,
            table.labels,
            task.fit,
            config,
            classes=len(table.classes),
            seed=seed,
            device=device,
        )
        splits = {split: pred_probs[rows] for split, rows in task.predict.items()}
        rows = task.predict["validation"]
        scores.append(macro_f1(table.labels[rows], pred_probs[rows].argmax(axis=1), len(table.classes)))
        facts = {
            "config": asdict(config),
            "inputs": [text.voter, image.voter],
            "seed": seed,
            "macro_f1": scores[-1],
        }
        _write(folder, number, config.voter, splits, facts, table)
    return scores


def _read_inputs(folders: list[Path], table: Products) -> list[Input]:
    inputs = []
    for folder in folders:
        voter = read_voter(folder, classes=table.classes)
        for number, (checkpoint, splits) in enumerate(voter.matrices.items()):
            inputs.append((voter.name if number == 0 else f"{voter.name}@{checkpoint}", splits))
    names = [name for name, _ in inputs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"fusion: voter {', '.join(twice)} is given twice; every voter needs a name of its own"
        )
    return inputs


def _stack(inputs: list[Input], split: str, table: Products) -> np.ndarray:
    """(V, N, C) float32: every voter's rows of a split, in the table's order."""
    ids = table.ids[table.rows(split)]
    if split == "validation" and not len(ids):
        raise InputError("fusion: the products have no validation split to fuse on")
    if not len(ids):
        return np.zeros((len(inputs), 0, len(table.classes)), np.float32)
    for name, splits in inputs:
        if split not in splits:
            raise InputError(f"fusion: voter {name} has no {split} matrix, it has {', '.join(splits)}")
    return np.stack([splits[split].aligned(ids, where=f"voter {name}, {split}") for name, splits in inputs])


def _best_features(inputs: list[Input], paths: list[Path], table: Products, modality: str) -> Features:
    """The features of the modality's best voter on validation, aligned to the table's rows."""
    features = {found.voter: found for found in map(read_features, paths) if found.values.shape[1]}
    rows = table.rows("validation")
    scores = {
        name: macro_f1(
            table.labels[rows],
            splits["validation"].aligned(table.ids[rows], where=f"voter {name}").argmax(axis=1),
            len(table.classes),
        )
        for name, splits in inputs
        if name in features
    }
    if not scores:
        raise InputError(
            f"feature-level fusion: no {modality} voter ({', '.join(name for name, _ in inputs) or 'none'}) "
            f"is among those with features ({', '.join(features) or 'none'}); give its features, or leave "
            "out the kinds concat, sum and attention"
        )
    best = features[max(scores, key=scores.__getitem__)]
    return Features(best.voter, table.ids, best.aligned(table.ids))


def _write(
    folder: Path,
    number: int,
    name: str,
    splits: dict[str, np.ndarray],
    facts: dict[str, Any],
    table: Products,
) -> None:
    slug = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:80]
    matrices = {
        split: Probabilities(table.ids[table.rows(split)], table.classes, values)
        for split, values in splits.items()
        if len(values)
    }
    write_voter(folder / f"{number:03d}-{slug}", Voter(name, "fusion", {"chosen": matrices}, facts))
