"""The fusion stage and the stand-alone fusion: members, honest matrices, refusals by name."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fusion_classifiers import StagePaths, make_classifiers, write_stage
from fusion_classifiers import run_fusion_stage as run

from components.core.artifacts import read_manifest
from components.core.errors import InputError
from components.data.features import Features, write_features
from components.data.probabilities import (
    Classifier,
    Probabilities,
    read_classifiers,
    read_matrix,
    write_classifier,
    write_matrix,
)
from components.data.products import read_products
from components.fusion.standalone import fuse
from components.modeling.cross_fitting import chosen_macro_f1
from components.modeling.metrics import macro_f1

LINEAR = {"name": "linear", "kind": "linear", "epochs": 10.0, "batch_size": 16.0}
MEAN = {"name": "mean", "kind": "mean"}


def test_members_are_the_product_of_classifiers_and_configurations(tmp_path: Path) -> None:
    stage, _ = write_stage(tmp_path, texts=2, images=1, late=True)
    metrics = run(stage, tmp_path, [LINEAR, MEAN, {**MEAN, "name": "mean-all", "inputs": "all"}])
    members = read_classifiers(tmp_path / "members")
    assert metrics["members"] == len(members) == 2 * (4 * 2) + 1
    names = [member.name for member in members]
    assert names[0] == "linear(text-0, image-0)"
    assert names[3] == "linear(text-0@epoch-9, image-0@epoch-9)"
    assert names[-1].startswith("mean-all(text-0, text-0@epoch-9, text-1,")
    assert members[-1].metadata["inputs"][-1] == "image-0@epoch-9"


def test_every_decision_level_kind_beats_the_classifiers_it_fuses(tmp_path: Path) -> None:
    stage, _ = write_stage(tmp_path, rows=(50, 600, 40), strength=2)
    kinds = [{"name": kind, "kind": kind} for kind in ("mlp", "logistic", "mean", "product")]
    metrics = run(stage, tmp_path, [{**LINEAR, "epochs": 40}, *kinds])
    scores = {member.name: member.metadata["macro_f1"] for member in read_classifiers(tmp_path / "members")}
    assert len(scores) == 5
    assert min(scores.values()) > metrics["best_single_macro_f1"], scores


def test_the_written_figure_is_that_of_the_written_matrix(tmp_path: Path) -> None:
    stage, labels = write_stage(tmp_path)
    run(stage, tmp_path, [LINEAR, MEAN])
    products = read_products(stage.products)
    rows = products.rows("validation")
    for member in read_classifiers(tmp_path / "members", classes=products.classes):
        pred_probs = member.chosen("validation", products.ids[rows])
        assert macro_f1(labels[rows], pred_probs.argmax(axis=1), 4) == pytest.approx(
            member.metadata["macro_f1"]
        )
        assert len(member.chosen("test", products.ids[products.rows("test")])) == 40


def test_feature_level_classifiers_learn_from_the_best_classifiers_features(tmp_path: Path) -> None:
    stage, labels = write_stage(tmp_path, texts=2, rows=(400, 120, 40))
    kinds = [
        {"name": kind, "kind": kind, "epochs": 30, "learning_rate": 0.01}
        for kind in ("concat", "sum", "attention")
    ]
    metrics = run(stage, tmp_path, [MEAN, *kinds])
    products = read_products(stage.products)
    test = products.rows("test")
    classifiers = read_classifiers(tmp_path / "feature-level", classes=products.classes)
    assert [classifier.name for classifier in classifiers] == ["concat", "sum", "attention"]
    for classifier in classifiers:
        right = classifier.chosen("test", products.ids[test]).argmax(axis=1) == labels[test]
        assert right.mean() > 0.7, classifier.name
        assert classifier.metadata["inputs"][1] == "image-0"
        assert classifier.metadata["device"] == "CPU"
    validation = products.rows("validation")
    predicted = [one.chosen("validation", products.ids[validation]).argmax(axis=1) for one in classifiers]
    groups = products.table["group"].to_numpy()[validation]
    chosen = chosen_macro_f1(np.stack(predicted), labels[validation], groups, len(products.classes))
    assert metrics["best_feature_level_macro_f1"] == chosen


def test_the_same_seed_leaves_the_same_bytes(tmp_path: Path) -> None:
    stage, _ = write_stage(tmp_path, rows=(100, 80, 20))
    configs = [
        LINEAR,
        {"name": "logistic", "kind": "logistic"},
        {"name": "sum", "kind": "sum", "epochs": 2},
    ]
    for again in ("a", "b"):
        run(stage, tmp_path / again, configs)
    for folder in ("members", "feature-level"):
        first, second = (read_manifest(tmp_path / again / folder) for again in ("a", "b"))
        assert first["files"] == second["files"]
        assert len(first["files"]) > 1


def test_a_catalog_without_images_or_without_test_products_is_fused(tmp_path: Path) -> None:
    stage, _ = write_stage(tmp_path, texts=2, images=0, rows=(100, 80, 0))
    run(stage, tmp_path, [LINEAR, {**MEAN, "name": "all", "inputs": "all"}])
    members = read_classifiers(tmp_path / "members")
    assert [member.name for member in members] == ["linear(text-0)", "linear(text-1)", "all(text-0, text-1)"]
    assert all(list(member.matrices["chosen"]) == ["validation"] for member in members)


def test_rows_are_joined_by_id(tmp_path: Path) -> None:
    stage, _ = write_stage(tmp_path)
    run(stage, tmp_path / "a", [MEAN])
    products = read_products(stage.products)
    reversed_splits = {}
    for split in ("validation", "test"):
        matrix = read_matrix(stage.text[0] / "chosen" / f"{split}.npz", name="text-0")
        reversed_splits[split] = Probabilities(matrix.ids[::-1], matrix.classes, matrix.pred_probs[::-1])
    shutil.rmtree(stage.text[0])
    write_classifier(stage.text[0], Classifier("text-0", "text", {"chosen": reversed_splits}))
    run(stage, tmp_path / "b", [MEAN])
    ids = products.ids[products.rows("test")]
    first, second = (
        read_classifiers(tmp_path / again / "members")[0].chosen("test", ids) for again in ("a", "b")
    )
    np.testing.assert_allclose(first, second, atol=1e-6)


def rewrite(stage: StagePaths, *, ids: slice = slice(None), classes: tuple[str, ...] | None = None) -> None:
    splits = {}
    for split in ("validation", "test"):
        matrix = read_matrix(stage.image[0] / "chosen" / f"{split}.npz", name="image-0")
        splits[split] = Probabilities(matrix.ids[ids], classes or matrix.classes, matrix.pred_probs[ids])
    shutil.rmtree(stage.image[0])
    write_classifier(stage.image[0], Classifier("image-0", "image", {"chosen": splits}))


def test_a_classifier_that_lacks_a_product_is_refused_by_name(tmp_path: Path) -> None:
    stage, _ = write_stage(tmp_path)
    rewrite(stage, ids=slice(1, None))
    with pytest.raises(InputError, match=r"image-0, validation.*1 of 120 products.*'p200'"):
        run(stage, tmp_path, [MEAN])


def test_a_classifier_of_other_classes_is_refused_by_name(tmp_path: Path) -> None:
    stage, _ = write_stage(tmp_path)
    rewrite(stage, classes=("20", "10", "30", "40"))
    with pytest.raises(InputError, match=r"image-0/chosen.*classes are \[20, 10, 30, 40\].*expected"):
        run(stage, tmp_path, [MEAN])


def test_a_classifier_given_twice_is_refused_by_name(tmp_path: Path) -> None:
    stage, _ = write_stage(tmp_path)
    stage.text.append(stage.text[0])
    with pytest.raises(InputError, match="text-0 is given twice"):
        run(stage, tmp_path, [MEAN])


def test_features_of_nobody_are_refused_with_the_remedy(tmp_path: Path) -> None:
    stage, _ = write_stage(tmp_path)
    empty = Features("image-0", read_products(stage.products).ids, np.zeros((360, 0), np.float32))
    write_features(stage.image_features[0], empty)
    with pytest.raises(InputError, match=r"no image classifier \(image-0\).*leave out the kinds"):
        run(stage, tmp_path, [MEAN, {"name": "concat", "kind": "concat"}])


@pytest.mark.parametrize(
    "configs, message",
    [
        (
            [{"name": "x", "kind": "tree"}],
            "fusion configuration x: kind = 'tree' is not one of attention",
        ),
        ([{"name": "x", "kind": "mean", "epochs": 3}], "unknown key 'epochs'"),
        ([{"name": "x", "kind": "linear", "hidden": 6}], "unknown key 'hidden'"),
        ([{"name": "x", "kind": "linear", "epochs": 0}], "epochs = 0 should be greater than 0"),
        ([{"name": "x", "kind": "logistic", "l2": [0.0]}], r"l2\[0\] = 0 should be greater than 0"),
        ([{"name": "x", "kind": "sum", "dropout": 1.0}, MEAN], "dropout = 1 should be less than 1"),
        ([{"name": "x", "kind": "light"}], r"kind = 'light'.*did you mean 'ngram_color_mlp'"),
        ([{"name": "x"}], "kind is missing"),
        ([{"name": "x", "kind": "logistic", "strengths": [1.0]}], r"'strengths' \(use 'l2'\)"),
        ([MEAN, MEAN], "fusion configurations: mean is named twice"),
        ([{"name": "x", "kind": "concat"}], "none is of a decision-level kind"),
        ([], "expected a list of one or more objects"),
    ],
)
def test_wrong_configurations_are_refused(
    configs: list[dict[str, Any]], message: str, tmp_path: Path
) -> None:
    stage, _ = write_stage(tmp_path)
    with pytest.raises(InputError, match=message):
        run(stage, tmp_path, configs)


@pytest.fixture
def matrices(tmp_path: Path) -> tuple[list[Path], Path, np.ndarray]:
    """Three matrices of 400 products in files, and their labels in another order."""
    pred_probs, labels = make_classifiers(3, 400, 5, strength=2)
    ids = np.array([f"{row:03d}" for row in range(400)], dtype=object)
    classes = ("10", "20", "30", "40", "NA")
    paths = [tmp_path / f"classifier-{number}.npz" for number in range(3)]
    for path, matrix in zip(paths, pred_probs, strict=True):
        write_matrix(path, Probabilities(ids, classes, matrix))
    order = np.random.default_rng(1).permutation(400)
    table = tmp_path / "labels.tsv"
    table.write_text("id\tcode\n" + "".join(f"{ids[row]}\t{classes[labels[row]]}\n" for row in order))
    return paths, table, labels[order]


@pytest.mark.parametrize("kind", ["linear", "mlp", "logistic", "mean", "product"])
def test_matrices_from_elsewhere_are_fused_better_than_each(kind: str, matrices, tmp_path: Path) -> None:
    paths, labels, truth = matrices
    table = fuse(paths[:2], paths[2:], labels, kind=kind, folds=4, seed=0, output=tmp_path / "out")
    *inputs, (name, fused) = table.items()
    assert name == f"fusion: {kind}"
    assert len(inputs) == 3
    assert fused["macro_f1"] > max(scores["macro_f1"] for _, scores in inputs)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    oof = read_matrix(tmp_path / "out" / "oof.npz", name="oof")
    assert metrics["accuracy"] == pytest.approx((oof.pred_probs.argmax(axis=1) == truth).mean())
    assert metrics["macro_f1"] == fused["macro_f1"]
    assert metrics["per_class"]["NA"]["support"] == 80


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_one_modality_alone_and_a_csv_work(delimiter: str, matrices, tmp_path: Path) -> None:
    paths, labels, _ = matrices
    table = tmp_path / "labels.csv"
    table.write_text(labels.read_text().replace("\t", delimiter))
    for text, image in (([paths[0]], []), ([], [paths[0]])):
        scores = fuse(text, image, table, kind="logistic", folds=4, seed=0, output=tmp_path / "out")
        assert len(scores) == 2


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("\n000\t", "\n999\t", "no probabilities for 1 of 400 products, the first is '999'"),
        ("\n000\t", "\n001\t", "id '001' occurs twice"),
        ("\t10\n", "\t11\n", r"code '11' of id .* is not a class of the matrices"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    old: str, new: str, message: str, matrices, tmp_path: Path
) -> None:
    paths, labels, _ = matrices
    assert old in labels.read_text()
    labels.write_text(labels.read_text().replace(old, new))
    with pytest.raises(InputError, match=message):
        fuse(paths[:1], paths[1:], labels, kind="mean", folds=4, seed=0, output=tmp_path / "out")


@pytest.mark.parametrize(
    "row, message",
    [
        ("000\t20", r"'000' occurs twice \(line 4, first in line 3\)"),
        ("001\t11", r"'001' \(line 4\) is not a"),
    ],
)
def test_a_label_that_does_not_fit_is_named_by_its_line(
    row: str, message: str, matrices, tmp_path: Path
) -> None:
    paths, labels, _ = matrices
    labels.write_text(f"id\tcode\n\n000\t10\n{row}\n")
    with pytest.raises(InputError, match=message):
        fuse(paths[:1], paths[1:], labels, kind="mean", folds=4, seed=0, output=tmp_path / "out")


def test_matrices_of_different_class_orders_are_refused(matrices, tmp_path: Path) -> None:
    paths, labels, _ = matrices
    matrix = read_matrix(paths[1], name="classifier-1")
    write_matrix(paths[1], Probabilities(matrix.ids, matrix.classes[::-1], matrix.pred_probs))
    with pytest.raises(InputError, match=r"classifier-1.*classes are \[NA, 40"):
        fuse(paths[:1], paths[1:2], labels, kind="mean", folds=4, seed=0, output=tmp_path / "out")


def test_a_matrix_with_a_number_that_is_none_is_refused(matrices, tmp_path: Path) -> None:
    paths, labels, _ = matrices
    with np.load(paths[0]) as file:
        arrays = dict(file)
    arrays["pred_probs"][17, 2] = np.nan
    np.savez(paths[0], **arrays)
    with pytest.raises(InputError, match=r"classifier-0.*row 17.*'017'.*not a number"):
        fuse(paths[:1], paths[1:], labels, kind="mean", folds=4, seed=0, output=tmp_path / "out")


def test_nothing_to_fuse_is_refused(matrices, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one of text or image"):
        fuse([], [], matrices[1], kind="mean", folds=4, seed=0, output=tmp_path / "out")
