"""Scores along the tree of classes: at each level, and by ancestors."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.data.class_tree import ClassTree, tree_of
from components.data.products import Products
from components.evaluate.evaluation import Evaluation, Scored
from components.modeling.metrics import macro_f1
from components.reports.page import class_labels, percent

DRAWN_CLASSES = 50  # the pipelines UI draws no larger matrix


@dataclass(frozen=True)
class Hierarchical:
    """How well a classifier predicts at every level of the tree.

    Attributes:
        levels: from the top, macro-F1 and accuracy of the classes' nodes there, and how many nodes occur.
        precision, recall, f1: by sets of ancestors; see `ancestor_scores`.
    """

    levels: list[dict[str, Any]]
    precision: float
    recall: float
    f1: float

    def document(self) -> dict[str, Any]:
        """What `metrics.json` says of it."""
        by_ancestors = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        return {
            "levels": self.levels,
            **{f"hierarchical_{name}": each for name, each in by_ancestors.items()},
        }


def hierarchical(tree: ClassTree, labels: np.ndarray, predicted: np.ndarray) -> Hierarchical:
    """Scores predictions (N,) against labels (N,) along the tree."""
    levels = []
    for level in tree.levels:
        true, said = level.node_of[labels], level.node_of[predicted]
        figures = {
            "macro_f1": macro_f1(true, said, len(level.paths)),
            "accuracy": float((true == said).mean()),
        }
        levels.append({"level": level.depth, "classes": len(np.unique(true)), **figures})
    return Hierarchical(levels, *ancestor_scores(tree, labels, predicted))


def ancestor_scores(tree: ClassTree, labels: np.ndarray, predicted: np.ndarray) -> tuple[float, float, float]:
    """Hierarchical precision, recall and F1 (Kiritchenko, Matwin, Nock and Famili, Canadian AI 2006).

    A class is the set of itself and its ancestors without the root. Of all products together, precision is
    the share of the predicted nodes that are true ones, recall the share of the true ones that are predicted.
    """
    depth = np.array([len(path) for path in tree.paths])
    shared = np.zeros(len(labels), np.int64)
    for level in tree.levels:
        there = (depth[labels] >= level.depth) & (depth[predicted] >= level.depth)
        shared += there & (level.node_of[labels] == level.node_of[predicted])
    precision, recall = (float(shared.sum() / depth[side].sum()) for side in (predicted, labels))
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-12)


def hierarchy_entry(tree: ClassTree | None, evaluation: Evaluation, scored: Scored) -> dict[str, Any]:
    """What `metrics.json` adds to a classifier's figures; nothing where the classes stand in no tree."""
    if tree is None:
        return {}
    return {"hierarchy": hierarchical(tree, evaluation.labels, scored.predicted).document()}


def along_the_tree(products: Products, evaluation: Evaluation) -> list[str]:
    """How good the ensemble is at the top level; nothing where the classes stand in no tree."""
    found = _of_ensemble(products, evaluation)
    if found is None:
        return []
    top = found.levels[0]
    return [
        f"Of the {top['classes']:,} classes at the top of their tree it gets {percent(top['accuracy'])} % of "
        f"the products right (macro-F1 {percent(top['macro_f1'])} %); its hierarchical F1 is "
        f"{percent(found.f1)} %."
    ]


def summary_lines(products: Products, evaluation: Evaluation) -> Iterator[str]:
    """The ensemble's figures along the tree in Markdown; none where the classes stand in no tree."""
    found = _of_ensemble(products, evaluation)
    if found is None:
        return
    yield from ("", "The ensemble along the tree of classes:", "")
    yield from ("| level | classes | macro-F1, % | accuracy, % |", "|---:|---:|---:|---:|")
    for each in found.levels:
        figures = f"{percent(each['macro_f1'])} | {percent(each['accuracy'])}"
        yield f"| {each['level']} | {each['classes']} | {figures} |"
    yield from ("", f"Hierarchical F1, by sets of ancestors: {percent(found.f1)} %.")


def _of_ensemble(products: Products, evaluation: Evaluation) -> Hierarchical | None:
    tree = tree_of(products.classes, products.metadata)
    return tree and hierarchical(tree, evaluation.labels, evaluation.best["ensemble"].predicted)


def drawn_classes(
    products: Products, evaluation: Evaluation
) -> tuple[list[str], dict[str, str], np.ndarray, np.ndarray]:
    """What a confusion matrix is drawn of: the classes, or the top level of a tree of many.

    Returns:
        The classes' codes, or the nodes' names; what each is called; and of each product the number of its
        label and of what the ensemble predicts, (N,).
    """
    predicted, tree = evaluation.best["ensemble"].predicted, tree_of(products.classes, products.metadata)
    if tree is None or len(products.classes) <= DRAWN_CLASSES:
        return list(products.classes), class_labels(products), evaluation.labels, predicted
    top = tree.levels[0]
    return [path[0] for path in top.paths], {}, top.node_of[evaluation.labels], top.node_of[predicted]
