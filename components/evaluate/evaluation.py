"""Predicts every classifier of a run on a labeled split, and picks the rows of results."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from components.core.artifacts import MANIFEST, read_manifest
from components.core.errors import InputError
from components.data.decisions import settled_products
from components.data.probabilities import Classifier, read_classifier, read_classifiers
from components.data.products import Products
from components.evaluate.scores import Score, score
from components.modeling.cross_fitting import by_macro_f1, choice_folds, cross_fitted_choice
from components.modeling.intervals import Posterior
from components.modeling.metrics import ROWS, macro_f1
from components.modeling.reliability import Calibration, calibration_of

# How each row of results stays honest on the validation split.
SINGLE = "Fitted on the train split alone."
CHOSEN = "Of several models or epochs, a product is predicted by the best on other validation products."
BACKBONES = (
    "Not so the backbones it reads: a fine-tuned text encoder is of its best epoch on all of validation, and "
    "trained end to end, it starts from the pair that is the best there."
)
OUT_OF_FOLD = "Out-of-fold: every product is predicted by classifiers that were not fitted on it."
HONESTY = {
    "image": f"{SINGLE} {CHOSEN}",
    "text": f"{SINGLE} {CHOSEN}",
    "feature_level": f"{SINGLE} {CHOSEN} {BACKBONES}",
    "decision_level": f"{OUT_OF_FOLD} {CHOSEN}",
    "ensemble": "A vote of the members' out-of-fold predictions.",
}


# Part of the predictions -> the row of Table 1 that its classifiers compete for.
PREDICTED = {
    "image": "image",
    "text": "text",
    "feature_level": "feature_level",
    "members": "decision_level",
    "ensemble": "ensemble",
}


@dataclass(frozen=True, eq=False)
class Scored:
    """One classifier's predictions of a split, scored.

    Attributes:
        row: which row of Table 1 it competes for.
        predicted: (N,) classes, in the order of the split's rows.
        confidence: (N,) their probabilities.
        score: against the labels.
    """

    row: str
    classifier: Classifier
    predicted: np.ndarray
    confidence: np.ndarray
    score: Score
    calibration: Calibration


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All classifiers on the labeled products of one split.

    Attributes:
        split: validation or test.
        rows: (N,) row numbers of the product table.
        labels: (N,).
        groups: how many of the products are no duplicates of others.
        flagged: (N,) bool, whose label denoising doubts.
        classifiers: every classifier, scored.
        best: row of results -> the classifier that stands for it. Where it was chosen on this split among
            several, the predictions and the score are those of the choice on other products.
        decided: the ensemble's score on the labels that people kept or corrected; None where there are none.
    """

    split: str
    rows: np.ndarray
    labels: np.ndarray
    groups: int
    flagged: np.ndarray
    classifiers: list[Scored]
    best: dict[str, Scored]
    decided: Score | None = None

    def macro_f1_without_flagged(self, scored: Scored) -> float | None:
        """Macro-F1 on the products whose label is not doubted; None where none is, or all are.

        An upper bound: classifiers of the same run chose what to leave out. Nothing is chosen by it.
        """
        if not self.flagged.any() or self.flagged.all():
            return None
        kept = ~self.flagged
        return macro_f1(self.labels[kept], scored.predicted[kept], len(scored.score.support))

    @property
    def by_name(self) -> dict[tuple[str, str], Scored]:
        """Every classifier by its row and its name."""
        return {(scored.row, scored.classifier.name): scored for scored in self.classifiers}

    @property
    def singles(self) -> dict[str, Scored]:
        """The best text and the best image model, as far as the run has them."""
        return {row: self.best[row] for row in ("text", "image") if row in self.best}


def read_all_classifiers(
    text: Sequence[Path],
    image: Sequence[Path],
    members: Path,
    feature_level: Path,
    ensemble: Path,
    *,
    classes: Sequence[str],
) -> list[tuple[str, Classifier]]:
    """Reads a run's classifiers as (row of Table 1, classifier), in the table's order.

    Raises:
        InputError: there is neither a text nor an image classifier, or one's files break their rules.
    """
    if not [*text, *image]:
        raise InputError("no text or image classifier to evaluate: give the probabilities of at least one")
    return [
        *(("image", read_classifier(path, classes=classes)) for path in image),
        *(("text", read_classifier(path, classes=classes)) for path in text),
        *(("feature_level", classifier) for classifier in read_classifiers(feature_level, classes=classes)),
        *(("decision_level", classifier) for classifier in read_classifiers(members, classes=classes)),
        ("ensemble", read_classifier(ensemble, classes=classes)),
    ]


def read_predictions(folder: Path, *, classes: Sequence[str]) -> list[tuple[str, Classifier]]:
    """What a model says of the products to categorize, as (row of Table 1, classifier with a test matrix).

    Args:
        folder: as the predict task writes it; it holds none where there are no such products.
    """
    manifests = [name for name in read_manifest(folder)["files"] if name.endswith(f"/{MANIFEST}")]
    names = sorted(name.removesuffix(f"/{MANIFEST}") for name in manifests)
    return [
        (row, read_classifier(folder / name, classes=classes, check=False))
        for part, row in PREDICTED.items()
        for name in names
        if name.split("/")[0] == part
    ]


def evaluate_split(
    products: Products,
    classifiers: Iterable[tuple[str, Classifier]],
    split: str,
    *,
    seed: int,
    flagged: Collection[str] = (),
) -> Evaluation | None:
    """Predicts all classifiers on a split's labeled products; None where it has none.

    `best` is the best of each row on *this* split: see `with_best_of` for another's choice.

    Args:
        flagged: ids of products whose label denoising doubts.
    """
    rows = products.rows(split)
    rows = rows[products.labels[rows] >= 0]
    if len(rows) == 0:
        return None
    labels, groups = products.labels[rows], products.table["group"].to_numpy()[rows]
    posterior = Posterior(labels, groups, len(products.classes), seed=seed)
    scored = []
    for row, classifier in classifiers:
        pred_probs = classifier.chosen(split, products.ids[rows])
        said = pred_probs.argmax(axis=1), pred_probs.max(axis=1)
        scored.append(_scored(row, classifier, *said, labels, posterior))
    folds = choice_folds(labels, groups)
    best: dict[str, Scored] = {}
    for row in ROWS:
        if of_row := [each for each in scored if each.row == row]:
            best[row] = _best_of(of_row, labels, folds, posterior)
    doubted = np.isin(products.ids[rows].astype(str), list(flagged))
    decided = _on_decisions(products, rows, best["ensemble"], seed) if "ensemble" in best else None
    return Evaluation(split, rows, labels, len(np.unique(groups)), doubted, scored, best, decided)


def _on_decisions(products: Products, rows: np.ndarray, scored: Scored, seed: int) -> Score | None:
    """The score on those of the rows whose label a person kept or corrected; None where there are none."""
    decided = np.isin(products.ids[rows].astype(str), list(settled_products(products.metadata)))
    if not decided.any():
        return None
    labels, groups = products.labels[rows][decided], products.table["group"].to_numpy()[rows][decided]
    posterior = Posterior(labels, groups, len(products.classes), seed=seed)
    return score(labels, scored.predicted[decided], posterior)


def _scored(
    row: str,
    classifier: Classifier,
    predicted: np.ndarray,
    confidence: np.ndarray,
    labels: np.ndarray,
    posterior: Posterior,
) -> Scored:
    scores = score(labels, predicted, posterior), calibration_of(confidence, predicted == labels)
    return Scored(row, classifier, predicted, confidence, *scores)


def _best_of(rivals: list[Scored], labels: np.ndarray, folds: np.ndarray, posterior: Posterior) -> Scored:
    """The best of some classifiers, each product predicted by the one that is the best on other products."""
    best = max(rivals, key=lambda each: each.score.macro_f1)
    predicted = np.stack([each.predicted for each in rivals])
    choice = cross_fitted_choice(by_macro_f1(predicted, labels, posterior.classes), folds)
    if all(rivals[number] is best for number in np.unique(choice).tolist()):
        return best
    confidence = np.stack([each.confidence for each in rivals])
    chosen = choice, np.arange(len(labels))
    return _scored(best.row, best.classifier, predicted[chosen], confidence[chosen], labels, posterior)


def with_best_of(evaluation: Evaluation | None, other: Evaluation) -> Evaluation | None:
    """The same, if any, each row of Table 1 standing for the classifier that `other` chose.

    A row is left out where the model needs that classifier for nothing, and did not keep it.
    """
    if evaluation is None:
        return None
    named = evaluation.by_name
    chosen = {row: (row, scored.classifier.name) for row, scored in other.best.items()}
    return replace(evaluation, best={row: named[key] for row, key in chosen.items() if key in named})
