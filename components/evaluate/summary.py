"""The verdict in three sentences, the Markdown summary, and the confusion matrix for the pipelines UI."""

import re
from collections.abc import Sequence

import numpy as np

from components.data.products import Products
from components.evaluate.evaluation import HONESTY, Evaluation
from components.evaluate.hierarchy import DRAWN_CLASSES, along_the_tree, summary_lines
from components.modeling.intervals import FEW_GROUPS, interval
from components.modeling.metrics import ROWS, confusion, f1_per_class, worst_first
from components.reports.page import ENOUGH, class_label, many, percent, plain, signed

# Macro-F1 that the paper reports on the challenge's own test sets (Table 1; section 4.3).
PUBLISHED = {
    "image": {"phase 1": 0.6921},
    "text": {"phase 1": 0.8993},
    "feature_level": {"phase 1": 0.8987},
    "decision_level": {"phase 1": 0.9094, "phase 2": 0.9017},
    "ensemble": {"phase 2": 0.9144},
}


def gain(evaluation: Evaluation) -> tuple[str, float, tuple[float, float]]:
    """The ensemble's macro-F1 over the best single model's: (its row, difference, 95 % interval)."""
    row = max(evaluation.singles, key=lambda row: evaluation.best[row].score.macro_f1)
    ensemble, single = evaluation.best["ensemble"].score, evaluation.best[row].score
    return row, ensemble.macro_f1 - single.macro_f1, interval(ensemble.draws - single.draws)


def worst_confusions(evaluation: Evaluation, count: int, *, sure: bool = False) -> list[tuple[int, int, int]]:
    """The ensemble's most frequent mistakes as (label, predicted, products), most frequent first.

    Args:
        sure: leave out products whose label is doubted.
    """
    pairs = np.stack([evaluation.labels, evaluation.best["ensemble"].predicted], axis=1)
    wrong = pairs[:, 0] != pairs[:, 1]
    if sure:
        wrong &= ~evaluation.flagged
    found, counts = np.unique(pairs[wrong], axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:count]
    return [(*pair, size) for pair, size in zip(found[order].tolist(), counts[order].tolist(), strict=True)]


def sure_figures(evaluation: Evaluation, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Products and the ensemble's F1 of each class, (classes,), without those whose label is doubted."""
    kept = ~evaluation.flagged
    labels, predicted = evaluation.labels[kept], evaluation.best["ensemble"].predicted[kept]
    return np.bincount(labels, minlength=classes), f1_per_class(labels, predicted, classes)


def verdict(products: Products, new: Products, evaluation: Evaluation) -> list[str]:
    """Three sentences: how good, worth how much, and where to look next; before them what spoils the run."""
    ensemble = evaluation.best["ensemble"]
    low, high = (percent(bound) for bound in ensemble.score.interval)
    return [
        *_test_without_images(products, new, evaluation),
        f"The ensemble reaches a macro-F1 of {percent(ensemble.score.macro_f1)} % on "
        f"{len(evaluation.rows):,} {evaluation.split} products (95 % interval {low} to {high})"
        f"{_few(evaluation)}.",
        *along_the_tree(products, evaluation),
        *_upper_bound(evaluation),
        *_on_decisions(evaluation),
        f"{_against_single(evaluation)}{_better_alone(evaluation)}.",
        _where_to_look(products, evaluation),
    ]


def _against_single(evaluation: Evaluation) -> str:
    """How far the ensemble is from the best single model, and whether chance explains it."""
    row, difference, (least, most) = gain(evaluation)
    single, ensemble = evaluation.best[row], evaluation.best["ensemble"]
    named = f"the best single model, {row} ({single.classifier.name})"
    if (ensemble.predicted == single.predicted).all():
        return f"The ensemble predicts each of these products as {named}, does"
    points = f"{abs(100 * difference):.2f}"
    apart = f"{points} points {'over' if difference >= 0 else 'under'}" if float(points) else "level with"
    sure = (
        "more than chance explains"
        if least > 0
        else "a loss that chance does not explain"
        if most < 0
        else "too close to call on these products"
    )
    between = f"with an interval of {signed(100 * least)} to {signed(100 * most)}"
    return f"The ensemble is {apart} {named}, {between}: {sure}"


def _upper_bound(evaluation: Evaluation) -> list[str]:
    """Macro-F1 without the products whose label denoising doubts, where there are any."""
    ensemble = evaluation.best["ensemble"]
    without = evaluation.macro_f1_without_flagged(ensemble)
    if without is None:
        return []
    right = int((ensemble.predicted == evaluation.labels)[evaluation.flagged].sum())
    flagged = many(int(evaluation.flagged.sum()), "label of these products", "labels of these products")
    return [
        f"Denoising doubts {flagged}; the ensemble agrees with {right} of them. Without them its macro-F1 is "
        f"{percent(without)} %. That is an upper bound, since the run's own models chose what to leave out."
    ]


def _on_decisions(evaluation: Evaluation) -> list[str]:
    """Macro-F1 on the labels that people kept or corrected, and on no other, where there are any."""
    score = evaluation.decided
    if score is None:
        return []
    decided, (low, high) = int(score.support.sum()), map(percent, score.interval)
    right = round(score.accuracy * decided)
    return [
        f"People have decided on {decided:,} labels of these products: on these alone its macro-F1 is "
        f"{percent(score.macro_f1)} % (95 % interval {low} to {high}), with {right:,} right. "
        "They are mostly those that models doubted, so harder than the others."
    ]


def _few(evaluation: Evaluation) -> str:
    """What an interval of few products rests on."""
    if evaluation.groups >= FEW_GROUPS:
        return ""
    alike = "" if evaluation.groups == len(evaluation.rows) else " that are no duplicates"
    return f". These are few, {many(evaluation.groups, 'product')}{alike}: others may tell otherwise"


def _test_without_images(products: Products, new: Products, evaluation: Evaluation) -> list[str]:
    """A warning where most test products have no image, with what is known of such products."""
    alike = products.table["image"].isna().to_numpy()[evaluation.rows]
    missing, count = int(new.table["image"].isna().to_numpy().sum()), len(new.table)
    if missing <= count / 2:
        return []
    ensemble = evaluation.best["ensemble"]
    known = (
        f"of {alike.sum():,} {evaluation.split} products without one the ensemble gets "
        f"{percent((ensemble.predicted == evaluation.labels)[alike].mean())} % right, of all "
        f"{percent(ensemble.score.accuracy)} %"
        if alike.any()
        else f"no {evaluation.split} product is without one, so how well these are predicted is not known"
    )
    return [f"{missing:,} of {count:,} test products have no picture: {known}."]


def _better_alone(evaluation: Evaluation) -> str:
    """A warning where one classifier alone beats the ensemble."""
    best = max(evaluation.best.values(), key=lambda scored: scored.score.macro_f1)
    if best.score.macro_f1 <= evaluation.best["ensemble"].score.macro_f1:
        return ""
    name = f"{ROWS[best.row].lower()} ({best.classifier.name})"
    return f"; but {name} alone reaches {percent(best.score.macro_f1)} %"


def _where_to_look(products: Products, evaluation: Evaluation) -> str:
    support, f1 = sure_figures(evaluation, len(products.classes))
    worst = worst_first(f1, support)
    weakest = next((label for label in worst if support[label] >= ENOUGH), worst[0] if worst else 0)
    few = "" if support[weakest] >= ENOUGH else f" of {many(int(support[weakest]), 'product')}"
    of = f" of {ENOUGH} products or more" if worst and weakest != worst[0] else ""
    called = class_label(products, weakest)
    weak = f"its weakest class{of} is “{called}” (F1 {percent(float(f1[weakest]), 1)} %{few})"
    sentence = f"{_most_frequent_mistake(products, evaluation, support)}, and {weak}."
    if evaluation.flagged.any():
        return f"Doubted labels aside, {sentence}"
    return sentence[0].upper() + sentence[1:]


def _most_frequent_mistake(products: Products, evaluation: Evaluation, support: np.ndarray) -> str:
    """What the ensemble takes for what, labels that are doubted aside.

    Args:
        support: (C,) such products of each class.
    """
    confusions = worst_confusions(evaluation, 1, sure=True)
    if not confusions:
        return "it makes no mistake on this split"
    label, predicted, count = confusions[0]
    if count == 1:
        return "no two of its mistakes are alike"
    return (
        f"most often it takes “{class_label(products, label)}” for “{class_label(products, predicted)}” "
        f"({count} of {int(support[label])} products)"
    )


def summary(products: Products, new: Products, validation: Evaluation, test: Evaluation | None) -> str:
    """The run in Markdown: the verdict and the results."""
    lines = ["# What the run is worth", "", _markdown(" ".join(verdict(products, new, validation))), ""]
    heading = "| | classifier | validation macro-F1, % | 95 % interval | accuracy, % |" + (
        " test macro-F1, % |" if test else ""
    )
    lines += [heading, "|---|---|---:|---|---:|" + ("---:|" if test else "")]
    for row, scored in validation.best.items():
        score = scored.score
        low, high = score.interval
        cells = [
            ROWS[row],
            _markdown(scored.classifier.name),
            percent(score.macro_f1),
            f"{percent(low)} to {percent(high)}",
            percent(score.accuracy),
            *([percent(test.best[row].score.macro_f1) if row in test.best else ""] if test else []),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [*summary_lines(products, validation), "", "How the validation figures stay honest:", ""]
    lines += [f"- {ROWS[row]}: {HONESTY[row]}" for row in validation.best]
    if len(new.table) == 0:
        lines += ["", "The catalog has no test products, so there are no predictions."]
    return "\n".join(lines) + "\n"


def reduced_confusion(
    classes: Sequence[str], labels: np.ndarray, predicted: np.ndarray
) -> tuple[list[str], np.ndarray]:
    """The confusion matrix with at most 50 classes: the 49 most confused, and one for all the rest.

    Args:
        labels, predicted: (N,) positions in `classes`.

    Returns:
        The names of the rows, labels, and columns, predictions; and the counts.
    """
    if len(classes) <= DRAWN_CLASSES:
        return list(classes), confusion(labels, predicted, len(classes))
    wrong = labels != predicted
    sides = [np.bincount(side[wrong], minlength=len(classes)) for side in (labels, predicted)]
    mistakes = sides[0] + sides[1]
    kept = np.sort(np.argsort(-mistakes, kind="stable")[: DRAWN_CLASSES - 1])
    group = np.full(len(classes), len(kept))
    group[kept] = np.arange(len(kept))
    names = [*(str(classes[label]) for label in kept.tolist()), "other classes"]
    return names, confusion(group[labels], group[predicted], len(names))


def _markdown(text: str) -> str:
    """Text from the catalog or a configuration, as nothing but text: no markup, no automatic link."""
    return re.sub(r"[\\`*_\[\]<>#|~&]|:(?=/)|\.(?=[A-Za-z])|@(?=\S)", r"\\\g<0>", plain(text, 1000))
