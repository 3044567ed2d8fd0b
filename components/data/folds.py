"""What the trainings of folds leave: one classifier in a folder, or those of several folds, a folder each."""

from collections.abc import Sequence
from pathlib import Path

from components.core.artifacts import read_manifest
from components.data.probabilities import Classifier, read_classifier


def fold_folder(folder: Path, fold: int) -> Path:
    """Where a task that trains several folds leaves what is of one."""
    return folder / f"fold-{fold}"


def read_folds(folder: Path, *, classes: Sequence[str]) -> dict[Path, Classifier]:
    """Folder -> classifier of all folds that one task trained; see `read_classifier` for what is refused."""
    folds = read_manifest(folder)["metadata"].get("folds")
    if folds is None:
        return {folder: read_classifier(folder, classes=classes)}
    folders = [fold_folder(folder, fold) for fold in folds]
    return {each: read_classifier(each, classes=classes, check=False) for each in folders}
