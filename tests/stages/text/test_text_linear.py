"""The linear text classifier."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

from components.core.artifacts import read_manifest
from components.core.errors import InputError
from components.core.stage import Result
from components.data.features import read_features
from components.data.folds import read_folds
from components.data.probabilities import read_classifier
from components.data.products import SCHEMA, Products, training_task, write_products
from components.modeling.text.ngrams import (
    NgramSettings,
    Texts,
    fit_vectorizers,
    ngram_tensors,
    restored_vectorizers,
    tfidf,
)
from components.text.config import TEXT_KINDS
from components.text.run import run_text, run_text_folds

WORDS = {"10": "livre roman poche", "20": "chaise bois meuble", "30": "jeu console manette"}
CONFIG = {"name": "tfidf", "kind": "linear", "features": 8}


def write_catalog(path: Path, seed: int = 0) -> Products:
    rng = np.random.default_rng(seed)
    codes = sorted(WORDS)
    labels = np.arange(240) % 3
    titles = [
        " ".join(rng.choice(WORDS[codes[label]].split(), 2)) + f" n{rng.integers(9)}" for label in labels
    ]
    split = np.array(["train"] * 180 + ["validation"] * 30 + ["test"] * 30)
    test = split == "test"
    columns = {
        "product_id": [f"p{i}" for i in range(240)],
        "title": titles,
        "description": [f"description {rng.integers(99)}" if i % 3 else "" for i in range(240)],
        "image": None,
        "code": [None if hidden else codes[label] for hidden, label in zip(test, labels, strict=True)],
        "label": pd.array(np.where(test, -1, labels), dtype="Int64"),
        "split": split,
        "fold": pd.array([i % 4 if i < 180 else None for i in range(240)], dtype="Int64"),
        "group": np.arange(240),
        "removed": [i < 20 for i in range(240)],
        "row_id": [str(i) for i in range(240)],
        "image_id": "",
    }
    table = pd.DataFrame(columns).reindex(columns=SCHEMA.names)
    table["label"] = table["label"].mask(table["label"] < 0)
    products = Products(table, tuple(codes))
    write_products(products, path)
    return products


def run(folder: Path, config: dict = CONFIG, fold: int | None = None) -> Mapping[str, float]:
    paths: dict[str, Any] = {name: folder / name for name in ("probabilities", "features", "model")}
    result = run_text(folder / "products", TEXT_KINDS.parse(config), fold=fold, seed=0, **paths)
    assert "could not be drawn" not in result.report
    return result.metrics


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_catalog(tmp_path / "products")
    return tmp_path


def test_it_learns_which_words_name_a_class(folder: Path):
    assert run(folder)["macro_f1"] > 0.95


def test_it_predicts_validation_and_test_by_id(folder: Path):
    run(folder)
    [splits] = read_classifier(folder / "probabilities").matrices.values()
    assert {name: len(matrix.ids) for name, matrix in splits.items()} == {"validation": 30, "test": 30}
    assert splits["test"].ids[0] == "p210"


def test_features_cover_every_product(folder: Path):
    run(folder)
    features = read_features(folder / "features")
    assert features.values.shape == (240, 8)
    assert np.isfinite(features.values).all()


def test_a_fold_is_predicted_by_a_model_that_never_saw_it(folder: Path, tmp_path: Path):
    products = write_catalog(tmp_path / "products")
    task = training_task(products, fold=2, cleaned=False)
    assert set(task.fit) == {i for i in range(180) if i % 4 != 2}
    run(folder, fold=2)
    [splits] = read_classifier(folder / "probabilities").matrices.values()
    assert sorted(splits) == ["out_of_fold", "validation"]
    assert set(splits["out_of_fold"].ids) == {f"p{i}" for i in range(180) if i % 4 == 2}
    assert set(splits["validation"].ids) == {f"p{i}" for i in range(180, 210)}
    assert read_features(folder / "features").values.shape == (240, 0)


def run_folds(folder: Path) -> Result:
    paths: dict[str, Any] = {name: folder / name for name in ("probabilities", "features", "model")}
    config = TEXT_KINDS.parse(CONFIG)
    return run_text_folds(folder / "products", config, folds=range(4), seed=0, **paths)


def matrices_of(folder: Path, classes: tuple[str, ...]) -> list[dict[str, bytes]]:
    """The bytes of every fold's matrices, by split."""
    found = read_folds(folder / "probabilities", classes=classes).values()
    return [
        {split: matrix.pred_probs.tobytes() for split, matrix in each.matrices["final"].items()}
        for each in found
    ]


def test_folds_in_one_task_predict_the_bytes_that_each_predicts_in_its_own(tmp_path: Path):
    products, alone = write_catalog(tmp_path / "products"), []
    for fold in range(4):
        run(tmp_path, fold=fold)
        alone += matrices_of(tmp_path, products.classes)
    result = run_folds(tmp_path)
    assert matrices_of(tmp_path, products.classes) == alone
    assert read_features(tmp_path / "features").values.shape == (240, 0)
    assert "Training of tfidf, folds 0 to 3" in result.report
    assert "on 180 products, each of the fold" in result.report
    assert result.metrics["macro_f1"] > 0.95


def test_of_folds_in_one_task_none_reads_the_labels_of_the_rows_that_it_holds_out(tmp_path: Path):
    products = write_catalog(tmp_path / "products")
    run_folds(tmp_path)
    before = matrices_of(tmp_path, products.classes)
    table, held_out = products.table.copy(), (products.table["fold"] == 2).fillna(False)
    table.loc[held_out, "label"] = (table.loc[held_out, "label"] + 1) % 3
    table.loc[held_out, "code"] = [products.classes[label] for label in table.loc[held_out, "label"]]
    write_products(Products(table, products.classes), tmp_path / "products")
    run_folds(tmp_path)
    after = matrices_of(tmp_path, products.classes)
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, False, True, False]


def test_cleaned_leaves_out_what_denoising_removed(folder: Path):
    assert run(folder)["products"] == 180
    assert run(folder, {**CONFIG, "cleaned": True})["products"] == 160


def test_refitting_changes_the_test_split_alone(folder: Path):
    run(folder)
    [before] = read_classifier(folder / "probabilities").matrices.values()
    run(folder, {**CONFIG, "refit": True})
    [after] = read_classifier(folder / "probabilities").matrices.values()
    assert np.array_equal(before["validation"].pred_probs, after["validation"].pred_probs)
    assert not np.array_equal(before["test"].pred_probs, after["test"].pred_probs)


@pytest.mark.parametrize("char_ngrams", [(2, 5), ()])
def test_ngrams_are_read_again_from_tensors_and_give_equal_matrices(
    folder: Path, char_ngrams: tuple[int, ...]
):
    table = write_catalog(folder / "products").table
    table["description"] = ["Été\u2028à l’œil 日本語 ½ 👜 " + text for text in table["description"]]
    settings = NgramSettings("tfidf", char_ngrams=char_ngrams)
    texts = Texts(table, settings)
    fitted, matrix = fit_vectorizers(texts, np.arange(180))
    save_file(ngram_tensors(fitted), folder / "ngrams.safetensors")
    restored = restored_vectorizers(load_file(folder / "ngrams.safetensors"))
    assert list(restored) == list(fitted)
    again = tfidf(texts, np.arange(180), restored)
    assert again.dtype == matrix.dtype
    assert abs(again - matrix).nnz == 0
    assert (
        abs(tfidf(texts, np.arange(180, 240), restored) - tfidf(texts, np.arange(180, 240), fitted)).nnz == 0
    )


def test_a_refit_is_made_without_test_products_and_not_of_a_fold(folder: Path):
    products = write_catalog(folder / "products")
    write_products(Products(products.table.iloc[:210], products.classes), folder / "products")
    run(folder, {**CONFIG, "refit": True})
    labeled = [f"p{row}" for row in range(210)]
    assert read_features(folder / "features").ids.tolist() == labeled
    assert (folder / "model" / "refit" / "manifest.json").is_file()
    shutil.rmtree(folder / "model")
    run(folder, {**CONFIG, "refit": True}, fold=1)
    assert not (folder / "model" / "refit").exists()


def test_a_class_that_a_fold_lacks_gets_probability_zero(folder: Path):
    products = write_catalog(folder / "products")
    table = products.table
    only = table["code"] == "30"
    table.loc[only & table["fold"].notna(), "fold"] = 1
    write_products(products, folder / "products")
    run(folder, fold=1)
    [splits] = read_classifier(folder / "probabilities").matrices.values()
    assert (splits["out_of_fold"].pred_probs[:, 2] == 0).all()


def retitled(folder: Path, titles: list[str]) -> None:
    products = write_catalog(folder / "products")
    products.table["title"], products.table["description"] = titles, ""
    write_products(products, folder / "products")


def test_titles_without_a_common_word_are_distinguished_by_their_characters(folder: Path, caplog):
    table = write_catalog(folder / "products").table
    retitled(folder, [f"{'abc'[row % 3] * 3}{1000 + row}" for row in range(len(table))])
    assert run(folder)["macro_f1"] > 0.95
    assert "no words are common enough" in caplog.text


@pytest.mark.parametrize("titles", [[""] * 240, [chr(0x4E00 + row) for row in range(240)]])
def test_texts_with_nothing_to_learn_from_are_refused(folder: Path, titles: list[str]):
    retitled(folder, titles)
    with pytest.raises(
        InputError,
        match="classifier tfidf: nothing to learn from titles and descriptions: no word is in 2 of",
    ):
        run(folder)


def test_the_same_seed_gives_the_same_bytes(folder: Path):
    digests = []
    for _ in range(2):
        run(folder)
        digests.append(
            [read_manifest(folder / name)["files"] for name in ("probabilities", "features", "model")]
        )
    assert digests[0] == digests[1]


def test_numbers_arrive_from_the_pipeline_as_floats(folder: Path):
    assert run(folder, {**CONFIG, "word_ngrams": 1.0, "char_ngrams": [2.0, 4.0]})["macro_f1"] > 0.9


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"word_ngrams": 0}, "word_ngrams = 0 should be greater than 0"),
        ({"char_ngrams": [5, 2]}, "char_ngrams must be"),
        ({"char_ngrams": [3]}, "char_ngrams must be"),
        ({"char_limit": -1}, "char_limit = -1 should be greater than 0"),
        ({"ngram_min_products": 0}, "ngram_min_products = 0 should be greater than 0"),
        ({"min_products": 2}, r"unknown key 'min_products' \(use 'ngram_min_products'\)"),
        ({"l2": 0}, "l2 = 0 should be greater than 0"),
        ({"regularization": 4.0}, r"unknown key 'regularization' \(use 'l2', its inverse\)"),
        ({"voter": "tfidf"}, r"unknown key 'voter' \(use 'name'\)"),
        ({"features": -3}, "features = -3 should be greater than or equal to 0"),
    ],
)
def test_a_value_out_of_range_is_named(folder: Path, change: dict, says: str):
    with pytest.raises(InputError, match=f"text configuration tfidf: {says}"):
        run(folder, {**CONFIG, **change})


def test_a_wrong_setting_is_named(folder: Path):
    with pytest.raises(InputError, match='tfidf: word_ngrams = "two" should be a valid integer'):
        run(folder, {**CONFIG, "word_ngrams": "two"})
