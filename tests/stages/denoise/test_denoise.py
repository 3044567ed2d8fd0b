"""Denoise finds planted label errors and takes them out of train alone."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.core.configuration import parse_config
from components.core.errors import InputError
from components.data import top_classes
from components.data.image_store import write_image_store
from components.data.probabilities import Classifier, Probabilities, read_classifier, write_classifier
from components.data.products import SCHEMA, Products, read_products, write_products
from components.denoise.config import MARGIN, DenoiseConfig
from components.denoise.run import mean_pred_probs, run_denoise

CLASSES = ("10", "20", "30", "40")
COUNT, FOLDS = 800, 4


class Scene:
    """Products whose true classes a good out-of-fold classifier knows, with 5 % of the labels changed."""

    def __init__(self, folder: Path, seed: int = 0, classes: int = len(CLASSES)) -> None:
        rng = np.random.default_rng(seed)
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.true = rng.integers(0, classes, COUNT)
        self.planted = rng.random(COUNT) < 0.05
        shift = rng.integers(1, classes, COUNT)
        self.labels = np.where(self.planted, (self.true + shift) % classes, self.true)
        logits = rng.normal(0, 0.6, (COUNT, len(CLASSES)))
        logits[np.arange(COUNT), self.true] += 3
        self.pred_probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        self.ids = np.array([f"p{i}" for i in range(COUNT)], dtype=object)
        self.validation = np.arange(COUNT) % 10 == 0
        self.folds = np.where(self.validation, -1, np.arange(COUNT) % FOLDS)
        self.products = folder / "products"
        self._write_products()
        self.classifiers = [self.write_fold(fold) for fold in range(FOLDS)]

    def _write_products(self) -> None:
        split = np.where(self.validation, "validation", "train")
        columns = {
            "product_id": self.ids,
            "title": "titre",
            "description": "",
            "image": None,
            "code": [CLASSES[label] for label in self.labels],
            "label": pd.array(self.labels, dtype="Int64"),
            "split": split,
            "fold": pd.arrays.IntegerArray(self.folds, self.validation),
            "group": np.arange(COUNT),
            "removed": False,
            "row_id": self.ids,
            "image_id": "",
        }
        table = pd.DataFrame(columns).reindex(columns=SCHEMA.names)
        write_products(Products(table, CLASSES), self.products)
        write_image_store(self.folder / "images", [])

    def write_fold(self, fold: int, classes: tuple[str, ...] = CLASSES, *, name: str = "") -> Path:
        matrices = {
            split: Probabilities(self.ids[rows], classes, self.pred_probs[rows].astype(np.float32))
            for split, rows in (("out_of_fold", self.folds == fold), ("validation", self.validation))
        }
        folder = self.folder / (name or f"fold{fold}")
        write_classifier(folder, Classifier("folds", "text", {"final": matrices}))
        return folder

    def run(self, config: DenoiseConfig, classifiers: list[Path] | None = None, keep_ids: str = "") -> None:
        result = run_denoise(
            self.products,
            self.classifiers if classifiers is None else classifiers,
            config,
            images=self.folder / "images",
            keep_ids=keep_ids,
            cleaned=self.folder / "cleaned",
            label_issues=self.folder / "issues",
        )
        assert "could not be drawn" not in result.report
        self.cleaned = read_products(self.folder / "cleaned")
        with (self.folder / "issues" / "label_issues.tsv").open(encoding="utf-8") as file:
            self.issues = list(csv.DictReader(file, delimiter="\t"))

    @property
    def removed(self) -> set[str]:
        return {issue["product_id"] for issue in self.issues if issue["removed"] == "true"}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_planted_errors_are_flagged_and_come_first(scene: Scene):
    scene.run(DenoiseConfig(share=0.5))
    planted = set(scene.ids[scene.planted])
    flagged = {issue["product_id"] for issue in scene.issues}
    assert len(planted & flagged) / len(planted) > 0.9
    assert len(planted & scene.removed) / len(scene.removed) > 0.95


def test_issues_name_the_given_and_the_suggested_code_worst_first(scene: Scene):
    scene.run(DenoiseConfig())
    scores = [float(issue["score"]) for issue in scene.issues]
    assert scores == sorted(scores)
    row_of = {product: row for row, product in enumerate(scene.ids)}
    for issue in scene.issues:
        row = row_of[issue["product_id"]]
        assert issue["given_code"] == CLASSES[scene.labels[row]]
        assert issue["suggested_code"] == CLASSES[scene.pred_probs[row].argmax()]


def test_the_papers_share_is_ten_percent_of_the_flagged(scene: Scene):
    scene.run(DenoiseConfig())
    flagged = {issue["product_id"] for issue in scene.issues}
    assert len(scene.removed) == round(0.1 * len(flagged & set(scene.ids[~scene.validation])))


def test_no_product_is_flagged_in_favor_of_its_own_label(scene: Scene):
    rows = np.arange(COUNT)
    own, true, planted = scene.labels, scene.true, scene.planted
    scene.pred_probs[:] = 0.1
    scene.pred_probs[rows, true] = 0.7
    scene.pred_probs[planted] = 0.01
    scene.pred_probs[rows[planted], own[planted]] = 0.28
    scene.pred_probs[rows[planted], true[planted]] = 0.7
    unsure = ~planted & (rows % 40 == 1)  # their own label is the likeliest, at less than 0.28
    scene.pred_probs[unsure] = 0.2475
    scene.pred_probs[rows[unsure], own[unsure]] = 0.2575
    classifiers = [scene.write_fold(fold) for fold in range(FOLDS)]
    scene.run(DenoiseConfig(filter_by="low_self_confidence"), classifiers)
    assert scene.issues
    assert all(issue["given_code"] != issue["suggested_code"] for issue in scene.issues)


@pytest.mark.parametrize("rank", ["normalized_margin", "self_confidence"])
def test_the_flagged_are_ordered_by_the_score_that_was_chosen(scene: Scene, rank: str):
    scene.run(parse_config(DenoiseConfig, {"rank": rank}, where="denoise"))
    row_of = {product: row for row, product in enumerate(scene.ids)}
    rows = [row_of[issue["product_id"]] for issue in scene.issues]
    given = scene.pred_probs[rows, scene.labels[rows]]
    rivals = scene.pred_probs[rows].copy()
    rivals[np.arange(len(rows)), scene.labels[rows]] = 0
    expected = given if rank == "self_confidence" else (given - rivals.max(axis=1) + 1) / 2
    found = np.array([float(issue["score"]) for issue in scene.issues])
    assert np.allclose(found, expected, atol=1e-5)
    assert (np.diff(found) >= 0).all()


def test_text_and_image_folds_are_averaged_product_by_product(scene: Scene):
    sure = scene.pred_probs.copy()
    scene.pred_probs = np.roll(sure, 1, axis=1)  # a second classifier that is wrong everywhere
    wrong = [scene.write_fold(fold, name=f"wrong{fold}") for fold in range(FOLDS)]
    products = read_products(scene.products)
    classifiers = {path.name: read_classifier(path) for path in [*scene.classifiers, *wrong]}
    for split, rows in (("out_of_fold", ~scene.validation), ("validation", scene.validation)):
        found = mean_pred_probs(products, split, classifiers)
        assert isinstance(found, np.ndarray)
        assert np.allclose(found, ((sure + scene.pred_probs) / 2)[rows], atol=1e-6)


def test_nothing_leaves_validation(scene: Scene):
    scene.run(DenoiseConfig(share=1.0))
    table = scene.cleaned.table
    assert set(table.loc[table["removed"], "split"]) == {"train"}
    assert scene.removed == set(table.loc[table["removed"], "product_id"])
    flagged = {issue["product_id"] for issue in scene.issues}
    assert flagged & set(table.loc[table["split"] == "validation", "product_id"])


def test_labels_of_validation_change_nothing_of_train(scene: Scene):
    scene.run(DenoiseConfig(share=0.5))
    before = [issue for issue in scene.issues if not scene.validation[int(issue["product_id"][1:])]]
    scene.labels[scene.validation] = (scene.labels[scene.validation] + 1) % len(CLASSES)
    scene._write_products()
    scene.run(DenoiseConfig(share=0.5))
    after = [issue for issue in scene.issues if not scene.validation[int(issue["product_id"][1:])]]
    assert before == after
    assert len(scene.issues) - len(after) > 0.7 * scene.validation.sum()


def with_a_class_in_one_group(scene: Scene, products: int = 6) -> np.ndarray:
    """Gives some products of fold 1 a class of their own, which the classifier of that fold never saw."""
    rows = np.flatnonzero(scene.folds == 1)[:products]
    scene.labels[rows] = CLASSES.index("40")
    return rows


@pytest.mark.parametrize("rule", ["prune_by_noise_rate", "confident_learning", "low_normalized_margin"])
def test_a_class_that_a_fold_never_saw_changes_nothing_of_the_others(tmp_path: Path, rule: str):
    flagged = {}
    for with_class in (False, True):
        scene = Scene(tmp_path / str(with_class), classes=3)
        if with_class:
            rows = with_a_class_in_one_group(scene)
            scene.pred_probs[:, 3] = 0.002 * (scene.folds != 1)
            scene.pred_probs /= scene.pred_probs.sum(axis=1, keepdims=True)
        else:
            rows = np.flatnonzero(scene.folds == 1)[:6]
        scene._write_products()
        config = DenoiseConfig.model_validate({"filter_by": rule, "share": 1.0})
        scene.run(config, [scene.write_fold(fold) for fold in range(FOLDS)])
        flagged[with_class] = {issue["product_id"] for issue in scene.issues} - set(scene.ids[rows])
        if with_class:
            assert not set(scene.ids[rows]) & {issue["product_id"] for issue in scene.issues}
            assert scene.cleaned.metadata["denoise"]["exempt_classes"] == ["40"]
    assert flagged[True]
    assert len(flagged[True] ^ flagged[False]) <= 0.1 * len(flagged[False])


def test_a_class_that_is_flagged_whole_keeps_its_least_suspicious_product(scene: Scene):
    rows = np.flatnonzero(scene.labels == 3)
    train = rows[~scene.validation[rows]]
    scene.labels[rows], scene.labels[train[:8]] = 0, 3
    scene.pred_probs[:] = 0.05
    scene.pred_probs[np.arange(COUNT), np.where(scene.labels == 3, 0, scene.labels)] = 0.85
    scene.pred_probs[train[5], [0, 3]] = 0.5, 0.4
    scene._write_products()
    classifiers = [scene.write_fold(fold) for fold in range(FOLDS)]
    scene.run(DenoiseConfig(filter_by="low_normalized_margin", share=1.0), classifiers)
    assert scene.removed >= set(scene.ids[np.delete(train[:8], 5)])
    assert scene.ids[train[5]] not in scene.removed


def test_ids_to_keep_are_flagged_but_never_removed(scene: Scene):
    scene.run(DenoiseConfig(share=0.5))
    kept = sorted(scene.removed)[:3]
    (scene.folder / "keep.txt").write_text("\n".join(kept))
    scene.run(DenoiseConfig(share=0.5), keep_ids=str(scene.folder / "keep.txt"))
    assert not scene.removed & set(kept)
    assert set(kept) <= {issue["product_id"] for issue in scene.issues}


def test_an_unknown_id_to_keep_is_named_and_the_others_are_kept(
    scene: Scene, caplog: pytest.LogCaptureFixture
):
    scene.run(DenoiseConfig(share=0.5))
    kept = sorted(scene.removed)[0]
    (scene.folder / "keep.txt").write_text(f"{kept}\nnobody\n")
    scene.run(DenoiseConfig(share=0.5), keep_ids=str(scene.folder / "keep.txt"))
    assert "1 ids are not in the catalog, the first is 'nobody'" in caplog.text
    assert kept not in scene.removed


def test_a_missing_fold_is_refused(scene: Scene):
    with pytest.raises(InputError, match="160 train products were predicted by no fold, the first is 'p2'"):
        scene.run(DenoiseConfig(), [scene.classifiers[0], scene.classifiers[1], scene.classifiers[3]])


def test_a_fold_of_another_catalog_is_refused_by_classifier_and_product(scene: Scene):
    scene.ids[scene.folds == 1] += "x"
    scene.write_fold(1)
    first = scene.ids[scene.folds == 1][0]
    with pytest.raises(InputError, match=rf"fold1 \(classifier folds\): no train product .* is '{first}'"):
        scene.run(DenoiseConfig())


def test_another_class_order_is_refused(scene: Scene):
    scene.write_fold(2, CLASSES[::-1])
    with pytest.raises(InputError, match=r"classifier folds/final\): its classes are \[40, 30, 20, 10\]"):
        scene.run(DenoiseConfig())


def test_wrong_settings_are_named(scene: Scene):
    with pytest.raises(InputError, match=r"denoise: unknown key 'shares' \(did you mean 'share'"):
        parse_config(DenoiseConfig, {"shares": 0.1}, where="denoise")


def test_of_many_classes_the_margin_flags_what_it_flags_with_all_probabilities(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    scene.run(DenoiseConfig(filter_by=MARGIN, share=0.5))
    flagged, removed = [issue["product_id"] for issue in scene.issues], scene.removed
    monkeypatch.setattr(top_classes, "MANY_CLASSES", 3)
    monkeypatch.setattr(top_classes, "KEPT", 2)
    monkeypatch.setattr(top_classes, "CELLS", 600)  # 150 rows a block
    scene.run(DenoiseConfig(share=0.5), [scene.write_fold(fold, name=f"top{fold}") for fold in range(FOLDS)])
    again = [issue["product_id"] for issue in scene.issues]
    assert len(set(flagged) & set(again)) > 0.95 * max(len(flagged), len(again))
    assert scene.removed == removed
    assert scene.cleaned.metadata["denoise"]["filter_by"] == MARGIN
    assert "low_normalized_margin in place of prune_by_noise_rate" in caplog.text
