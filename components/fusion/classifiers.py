"""The classifiers that a fusion reads, and the classifiers that it makes."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.core.errors import InputError
from components.data.probabilities import Classifier, Probabilities, write_classifier
from components.data.products import Products
from components.data.top_classes import PredProbs, TopClasses, in_form
from components.modeling.cross_fitting import by_macro_f1, choice_folds, cross_fitted_choice

# A classifier to fuse: its name ("resnet152"; "resnet152@epoch-18" for a late checkpoint) and its matrices.
Input = tuple[str, dict[str, Probabilities]]


def to_inputs(classifiers: Iterable[Classifier]) -> list[Input]:
    """What is fused of some classifiers; late checkpoints are classifiers of their own.

    Raises:
        InputError: a name occurs twice.
    """
    inputs = []
    for classifier in classifiers:
        for number, (checkpoint, splits) in enumerate(classifier.matrices.items()):
            inputs.append((classifier.name if number == 0 else f"{classifier.name}@{checkpoint}", splits))
    names = [name for name, _ in inputs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"fusion: classifier {', '.join(twice)} is given twice; every classifier needs a name of its own"
        )
    return inputs


def stack(inputs: list[Input], split: str, table: Products) -> np.ndarray | list[TopClasses]:
    """(V, N, C) float32, of many classes V matrices: a split's rows, in the table's order."""
    ids = table.ids[table.rows(split)]
    if split == "validation" and not len(ids):
        raise InputError("fusion: the products have no validation split to fuse on")
    if not len(ids):
        return stacked([np.zeros((0, len(table.classes)), np.float32)] * len(inputs))
    for name, splits in inputs:
        if split not in splits:
            raise InputError(f"fusion: classifier {name} has no {split} matrix, it has {', '.join(splits)}")
    return stacked(
        [splits[split].aligned(ids, where=f"classifier {name}, {split}") for name, splits in inputs]
    )


def stacked(matrices: Sequence[PredProbs]) -> np.ndarray | list[TopClasses]:
    """V matrices (N, C) as (V, N, C); of many classes as they are, in part."""
    alike = [in_form(matrix) for matrix in matrices]
    tops = [matrix for matrix in alike if isinstance(matrix, TopClasses)]
    return tops or np.stack(alike)  # type: ignore[arg-type]


def model_folder(level: str, number: int) -> str:
    """Where the model of a member or feature-level classifier lies among a fusion's, by its number."""
    return f"{level}/{number:02d}"


def write_fused(
    folder: Path,
    number: int,
    name: str,
    splits: Mapping[str, PredProbs],
    metadata: dict[str, Any],
    table: Products,
) -> Classifier:
    """Writes one fused classifier, its matrices by split in the order of the table's rows; returns it."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:80]
    matrices = {
        split: Probabilities(table.ids[table.rows(split)], table.classes, values)
        for split, values in splits.items()
        if len(values)
    }
    classifier = Classifier(name, "fusion", {"chosen": matrices}, metadata)
    write_classifier(folder / f"{number:03d}-{slug}", classifier)
    return classifier


@dataclass(frozen=True)
class Best:
    """A classifier chosen by its macro-F1 on validation.

    Attributes:
        name: the best of some on all validation products.
        elsewhere: for every validation product the best on others, so that the choice flatters no figure.
    """

    name: str
    elsewhere: list[str]


def best_on_validation(inputs: list[Input], names: Iterable[str], table: Products) -> Best | None:
    """Which of the named classifiers has the best macro-F1 on validation; None where none is named."""
    rows, wanted = table.rows("validation"), set(names)
    labels, groups = table.labels[rows], table.table["group"].to_numpy()[rows]
    predicted = {
        name: splits["validation"].aligned(table.ids[rows], where=f"classifier {name}").argmax(axis=1)
        for name, splits in inputs
        if name in wanted
    }
    if not predicted:
        return None
    named = list(predicted)
    scores = by_macro_f1(np.stack(list(predicted.values())), labels, len(table.classes))
    choice = cross_fitted_choice(scores, choice_folds(labels, groups))
    best = int(np.argmax(scores(np.ones(len(labels), bool))))
    return Best(named[best], [named[number] for number in choice.tolist()])
