"""What the evaluation's report says of a tree of classes: plain data for the template."""

from typing import Any

import numpy as np

from components.data.class_tree import Level, tree_of
from components.data.products import Products
from components.evaluate.evaluation import Evaluation
from components.evaluate.hierarchy import Hierarchical, hierarchical
from components.modeling.metrics import ROWS, f1_per_class, worst_first
from components.reports.charts import bar
from components.reports.page import MOST_CLASSES, WEAK

FOLDED_FROM = 2  # classes of a top node, on average, from which on the tables of classes are folded by it
LISTED = 3  # classes of a top node that such a table must have room for


def tree_section(
    products: Products, evaluation: Evaluation, per_class: list[dict[str, Any]]
) -> dict[str, Any] | None:
    """Figures by level, the top level's nodes worst first, and their classes; None without a tree.

    Args:
        per_class: a row for each class of the split, worst first by the ensemble's F1.
    """
    tree = tree_of(products.classes, products.metadata)
    if tree is None:
        return None
    found = {
        ROWS[row]: hierarchical(tree, evaluation.labels, scored.predicted)
        for row, scored in reversed(evaluation.best.items())
    }
    top, score = tree.levels[0], evaluation.best["ensemble"].score
    classes_of: dict[int, list[dict[str, Any]]] = {}
    for label, row in zip(worst_first(score.f1, score.support), per_class, strict=True):
        classes_of.setdefault(int(top.node_of[label]), []).append(row)
    nodes = _nodes(top, evaluation, classes_of)
    return {
        "names": list(found),
        "figures": _figures(list(found.values())),
        "top": nodes,
        "groups": _folded(nodes, len(per_class)),
    }


def _folded(nodes: list[dict[str, Any]], classes: int) -> list[dict[str, Any]]:
    """The nodes by which the tables of classes are folded, each with the classes to list of it.

    Nothing where nodes are about as many as classes, or so many that too few of each would be listed.
    """
    most = MOST_CLASSES // len(nodes) if classes > MOST_CLASSES else classes
    if classes < FOLDED_FROM * len(nodes) or most < LISTED:
        return []
    return [{**node, "listed": node["classes"][:most]} for node in nodes]


def _figures(found: list[Hierarchical]) -> list[dict[str, Any]]:
    """The table's rows: macro-F1 and accuracy of every level, then the scores by ancestors."""
    rows = []
    for at, level in enumerate(found[0].levels):
        classes = f"level {level['level']}, {level['classes']:,} classes"
        for measure, name in (("macro_f1", "macro-F1"), ("accuracy", "accuracy")):
            rows.append(
                {"name": f"{name}, {classes}", "values": [each.levels[at][measure] for each in found]}
            )
    for measure in ("f1", "precision", "recall"):
        name = f"hierarchical {'F1' if measure == 'f1' else measure}"
        rows.append({"name": name, "values": [getattr(each, measure) for each in found]})
    return rows


def _nodes(
    top: Level, evaluation: Evaluation, classes_of: dict[int, list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """The nodes of the top level, worst first by the ensemble's F1 there."""
    true = top.node_of[evaluation.labels]
    said = top.node_of[evaluation.best["ensemble"].predicted]
    hits, support, called = (
        np.bincount(each, minlength=len(top.paths)) for each in (true[true == said], true, said)
    )
    f1 = f1_per_class(true, said, len(top.paths))
    return [
        {
            "name": top.paths[node][0],
            "support": int(support[node]),
            "f1": f1[node],
            "drawn": bar(float(f1[node]), weak=bool(f1[node] < WEAK)),
            "precision": hits[node] / max(called[node], 1),
            "recall": hits[node] / support[node],
            "classes": classes_of[node],
            "macro_f1": float(np.mean([row["f1"] for row in classes_of[node]])),
        }
        for node in worst_first(f1, support)
    ]
