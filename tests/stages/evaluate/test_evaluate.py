"""Evaluate: its files, its figures against scikit-learn, its predictions in the test file's order."""

import csv
import dataclasses
import html
import json
import math
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support
from synthetic import Run, make_classifier, make_products, write_run

from components.core.artifacts import read_manifest, write_manifest
from components.core.environment import RUN_ID_VARIABLE
from components.core.errors import InputError
from components.data.prediction_files import write_predictions
from components.data.probabilities import (
    Classifier,
    Probabilities,
    read_classifier,
    read_classifiers,
    write_classifier,
)
from components.data.products import Products, read_products
from components.evaluate.lineage import write_lineage
from components.evaluate.run import _mistakes, run_evaluate
from components.modeling.metrics import ROWS
from components.modeling.reliability import calibration

UNDEFINED: Any = 0  # the stubs of scikit-learn allow text alone


def evaluate(run: Run, results: Path, **metadata: str) -> Mapping[str, float]:
    return run_evaluate(**run.stages, seed=0, metadata=metadata, results=results).metrics


def rows_of(path: Path, delimiter: str = "\t") -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter=delimiter))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("run"), make_products(300, 6, test_labels=True))


@pytest.fixture(scope="module")
def output(run: Run) -> Path:
    folder = run.products.parent / "evaluated"
    evaluate(run, folder, code="1234abc")
    return folder


@pytest.fixture(scope="module")
def metrics(output: Path) -> dict:
    return json.loads((output / "metrics.json").read_text(encoding="utf-8"))


def test_every_file_exists_and_the_manifest_lists_it(output: Path) -> None:
    expected = {
        "predictions.tsv",
        "predictions_text.tsv",
        "predictions_image.tsv",
        "predictions_detail.tsv",
        "review_queue.tsv",
        "metrics.json",
        "confusion.json",
        "summary.md",
        "report.html",
    }
    assert set(read_manifest(output)["files"]) == expected


@pytest.mark.parametrize("split", ["validation", "test"])
def test_every_classifiers_figures_equal_scikit_learns(run: Run, metrics: dict, split: str) -> None:
    products = read_products(run.products if split == "validation" else run.new_products)
    rows = products.rows(split)
    labels = products.labels[rows]
    found = [*map(read_classifier, [*run.text, *run.image, run.ensemble])]
    found += [*read_classifiers(run.members), *read_classifiers(run.feature_level)]
    classifiers = {classifier.name: classifier for classifier in found}
    entries = metrics[split]["classifiers"]
    assert sorted(entry["name"] for entry in entries) == sorted(classifiers)
    for entry in entries:
        matrix = classifiers[entry["name"]].matrices["best"][split]
        predicted = matrix.aligned(products.ids[rows], where="test").argmax(axis=1)
        assert entry["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
        assert entry["weighted_f1"] == pytest.approx(f1_score(labels, predicted, average="weighted"))
        assert entry["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
        codes = range(len(products.classes))
        expected = np.array(
            precision_recall_fscore_support(labels, predicted, labels=codes, zero_division=UNDEFINED)
        )
        for code, figures in zip(products.classes, expected.T.tolist(), strict=True):
            got = entry["per_class"][code]
            assert [got["precision"], got["recall"], got["f1"], got["support"]] == pytest.approx(figures)


def test_a_row_takes_its_best_on_validation_also_for_the_test_figures_and_scores_the_choice(
    metrics: dict,
) -> None:
    assert list(metrics["validation"]["rows"]) == list(ROWS)
    for row, entry in metrics["validation"]["rows"].items():
        rivals = [
            classifier for classifier in metrics["validation"]["classifiers"] if classifier["row"] == row
        ]
        best = max(rivals, key=lambda rival: rival["macro_f1"])
        assert entry["name"] == best["name"]
        # Two near ones may take turns; apart from that the figure is the best one's own.
        assert entry["macro_f1"] == pytest.approx(best["macro_f1"], abs=0.05)
        if len(rivals) == 1:
            assert entry["macro_f1"] == best["macro_f1"]
        assert metrics["test"]["rows"][row]["name"] == entry["name"]
        low, high = entry["macro_f1_interval"]
        assert low < entry["macro_f1"] < high
        assert entry["honesty"]


def test_predictions_are_in_the_test_files_order_with_the_labels_files_columns(
    run: Run, output: Path
) -> None:
    products = read_products(run.new_products)
    test = products.table
    header, *rows = rows_of(output / "predictions.tsv")
    assert header == ["Integer_id", "Image_id", "Product_id", "Prdtypecode"]
    assert [row[:3] for row in rows] == test[["row_id", "image_id", "product_id"]].to_numpy().tolist()
    matrix = read_classifier(run.ensemble).matrices["best"]["test"]
    expected = matrix.aligned(test["product_id"].to_numpy(), where="test").argmax(axis=1)
    assert [row[3] for row in rows] == [products.classes[label] for label in expected]


def test_predictions_of_one_modality_come_from_its_best_classifier_on_validation(
    run: Run, output: Path, metrics: dict
) -> None:
    products = read_products(run.new_products)
    ids = products.ids
    for row, folders in (("text", run.text), ("image", run.image)):
        best = metrics["validation"]["rows"][row]["name"]
        classifier = next(
            classifier for classifier in map(read_classifier, folders) if classifier.name == best
        )
        expected = classifier.chosen("test", ids).argmax(axis=1)
        got = [line[3] for line in rows_of(output / f"predictions_{row}.tsv")[1:]]
        assert got == [products.classes[label] for label in expected]


def test_a_row_of_table_1_whose_classifier_the_model_does_not_need_has_no_test_figure(
    run: Run, tmp_path: Path, metrics: dict
) -> None:
    best = metrics["validation"]["rows"]["text"]["name"]
    shutil.copytree(run.predictions, tmp_path / "predictions")
    shutil.rmtree(tmp_path / "predictions" / "text" / best)
    write_manifest(tmp_path / "predictions", counts={}, threshold={})
    evaluate(dataclasses.replace(run, predictions=tmp_path / "predictions"), tmp_path / "out")
    document = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert set(ROWS) - set(document["test"]["rows"]) == {"text"}
    assert (tmp_path / "out" / "predictions_text.tsv").exists()  # the next best, which the model has
    explained = "A dash for test"
    assert explained in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert explained not in (run.products.parent / "evaluated" / "report.html").read_text(encoding="utf-8")


def test_the_csv_dialect_gets_an_index_and_its_own_column_name(tmp_path: Path) -> None:
    metadata = {
        "dialect": "csv",
        "delimiter": ",",
        "labels_columns": [["", "row_id"], ["prdtypecode", "code"]],
    }
    run = write_run(tmp_path, make_products(metadata=metadata))
    evaluate(run, tmp_path / "out")
    header, *rows = rows_of(tmp_path / "out" / "predictions.csv", ",")
    assert header == ["", "prdtypecode"]
    assert [row[0] for row in rows] == read_products(run.new_products).table["row_id"].tolist()
    found = {path.name for path in (tmp_path / "out").glob("*.tsv")}
    assert found == {"predictions_detail.tsv", "review_queue.tsv"}


def test_a_code_that_is_a_formula_does_not_run_in_a_spreadsheet_but_a_negative_number_stays(
    tmp_path: Path,
) -> None:
    products = make_products(classes=3)
    renamed = dict(zip(products.classes, ("-1", "=HYPERLINK(1)", "A-2"), strict=True))
    table = products.table.assign(code=[renamed.get(code) for code in products.table["code"]])
    hostile = dataclasses.replace(products, table=table, classes=tuple(renamed.values()))
    run = write_run(tmp_path, hostile)
    evaluate(run, tmp_path / "out")
    codes = {row[3] for row in rows_of(tmp_path / "out" / "predictions.tsv")[1:]}
    assert codes == {"-1", "'=HYPERLINK(1)", "A-2"}


@pytest.mark.parametrize("end", ["\r", "\n", "\t", "\u2028", "\x85", "\v"])
def test_a_line_end_inside_an_id_splits_no_row(end: str, tmp_path: Path) -> None:
    table = make_products(classes=3).table.iloc[:4].assign(image_id=f"1{end}2")
    path = write_predictions(table, ["10"] * 4, {}, tmp_path, "p")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 5
    assert {line.split("\t")[1] for line in lines[1:]} == {"1 2"}


def test_without_test_products_there_are_no_predictions_and_the_report_says_so(tmp_path: Path) -> None:
    products = make_products()
    labeled = dataclasses.replace(
        products, table=products.table[products.table["split"] != "test"].reset_index(drop=True)
    )
    run = write_run(tmp_path, labeled)
    evaluate(run, tmp_path / "out")
    assert not list((tmp_path / "out").glob("predictions*"))
    for name in ("report.html", "summary.md"):
        assert "no test products" in (tmp_path / "out" / name).read_text(encoding="utf-8")


def test_table_1_of_the_report_names_its_rows_and_those_that_the_run_lacks(run: Run, tmp_path: Path) -> None:
    evaluate(dataclasses.replace(run, image=[]), tmp_path / "out")
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    table = report[report.index("<h2>Results") : report.index("</table>")]
    assert re.findall(r'<th scope="row"[^>]*>([^<]*)', table) == list(ROWS.values())
    assert re.findall(r'<td class="name soft">([^<]*)', table) == [
        "camembert",
        "concatenation",
        "member-2",
        "ensemble",
    ]
    assert table.count("not part of this run") == 1


def test_all_scalars_are_finite_and_at_most_ten(run: Run, tmp_path: Path) -> None:
    scalars = evaluate(run, tmp_path)
    assert len(scalars) <= 10
    assert all(math.isfinite(value) for value in scalars.values())


def test_the_same_seed_gives_the_same_bytes(run: Run, output: Path, tmp_path: Path) -> None:
    evaluate(run, tmp_path, code="1234abc")
    for path in output.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_ids_are_read_once_however_many_mistakes_there_are(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    products, read, ids = read_products(run.products), [], Products.ids.fget
    assert ids is not None
    monkeypatch.setattr(Products, "ids", property(lambda each: read.append(1) or ids(each)))
    rows = np.arange(40)
    wrong = SimpleNamespace(predicted=np.zeros(40, np.int64))
    found = SimpleNamespace(best={"ensemble": wrong}, rows=rows, labels=rows * 0 + 1, flagged=rows < 0)
    assert len(_mistakes(products, found)) == 40  # type: ignore[arg-type]
    assert len(read) == 1


def test_a_classifier_of_one_fold_is_refused_by_name(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    classifier = read_classifier(run.text[0])
    matrices = {"best": {"out_of_fold": classifier.matrices["best"]["validation"]}}
    write_classifier(tmp_path / "fold", Classifier("fold-classifier", "text", matrices))
    with pytest.raises(InputError, match=r"fold-classifier.*no validation matrix"):
        evaluate(dataclasses.replace(run, text=[tmp_path / "fold"]), tmp_path / "out")


def test_a_classifier_that_lacks_a_product_is_refused_by_name(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    classifier = read_classifier(run.ensemble)
    matrix = classifier.matrices["best"]["validation"]
    short = Probabilities(matrix.ids[1:], matrix.classes, matrix.pred_probs[1:])
    write_classifier(tmp_path / "short", Classifier("short", "ensemble", {"best": {"validation": short}}))
    with pytest.raises(InputError, match=r"short, validation.*no probabilities for 1 of"):
        evaluate(dataclasses.replace(run, ensemble=tmp_path / "short"), tmp_path / "out")


def test_classifiers_rows_are_joined_by_id_whatever_their_order(
    run: Run, metrics: dict, tmp_path: Path
) -> None:
    classifier = read_classifier(run.ensemble)
    reversed_rows = {
        split: Probabilities(matrix.ids[::-1], matrix.classes, matrix.pred_probs[::-1])
        for split, matrix in classifier.matrices["best"].items()
    }
    write_classifier(tmp_path / "reversed", Classifier(classifier.name, "ensemble", {"best": reversed_rows}))
    scalars = evaluate(dataclasses.replace(run, ensemble=tmp_path / "reversed"), tmp_path / "out")
    assert scalars["ensemble_macro_f1"] == metrics["validation"]["rows"]["ensemble"]["macro_f1"]


def test_calibration_error_is_the_mean_gap_and_zero_for_honest_probabilities() -> None:
    sure = np.tile([0.8, 0.2], (100, 1))
    labels = np.repeat([0, 1], [80, 20])
    assert calibration(labels, sure).error == pytest.approx(0, abs=1e-9)
    assert calibration(np.repeat([0, 1], [50, 50]), sure).error == pytest.approx(0.3)
    assert calibration(np.zeros(4, int), np.tile([1.0, 0.0], (4, 1))).error == 0


def test_a_small_confusion_matrix_is_whole(output: Path, run: Run) -> None:
    document = json.loads((output / "confusion.json").read_text(encoding="utf-8"))
    products = read_products(run.products)
    assert document["classes"] == list(products.classes)
    assert np.sum(document["matrix"]) == len(products.rows("validation"))


@pytest.mark.parametrize(
    ("seed", "said"), [(100, "predicts each of these products as the best"), (101, "too close to call")]
)
def test_the_verdict_does_not_call_a_tie_a_gain(tmp_path: Path, seed: int, said: str) -> None:
    run = write_run(tmp_path)
    products = read_products(run.products)
    truth = products.labels
    near = make_classifier("near", "ensemble", products, truth, 3.0, seed=seed)
    write_classifier(tmp_path / "near", near)
    evaluate(dataclasses.replace(run, ensemble=tmp_path / "near"), tmp_path / "out")
    assert said in (tmp_path / "out" / "summary.md").read_text(encoding="utf-8")


def test_the_verdict_and_the_report_name_the_most_frequent_mistake(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    products = read_products(run.products)
    truth = products.labels
    confused = np.where(truth == 2, 4, truth)  # every product of the third class is taken for the fifth
    write_classifier(
        tmp_path / "confused", make_classifier("confused", "ensemble", products, confused, 50.0, seed=0)
    )
    evaluate(dataclasses.replace(run, ensemble=tmp_path / "confused"), tmp_path / "out")
    labels = products.labels[products.rows("validation")]
    third = int((labels == 2).sum())
    summary = (tmp_path / "out" / "summary.md").read_text(encoding="utf-8")
    assert f"takes “30” for “50” ({third} of {third} products)" in summary
    assert "weakest class is “30” (F1 0.0 %)" in summary
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert f"{third} of {third} products" in report


@pytest.mark.parametrize(("skill", "warned"), [(0.5, True), (50.0, False)])
def test_the_verdict_warns_where_one_classifier_alone_beats_the_ensemble(
    tmp_path: Path, skill: float, warned: bool
) -> None:
    run = write_run(tmp_path)
    products = read_products(run.products)
    truth = products.labels
    write_classifier(tmp_path / "vote", make_classifier("vote", "ensemble", products, truth, skill, seed=0))
    evaluate(dataclasses.replace(run, ensemble=tmp_path / "vote"), tmp_path / "out")
    summary = (tmp_path / "out" / "summary.md").read_text(encoding="utf-8")
    assert bool(re.search(r"points under the best single model, .*; but .* alone reaches", summary)) == warned


def test_the_lineage_names_the_run_and_where_each_input_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lineage = {
        "products": SimpleNamespace(uri="s3://bucket/run-1/denoise/cleaned"),
        "text": [SimpleNamespace(uri=f"s3://bucket/run-1/text/{number}") for number in (1, 2)],
    }
    uris = {
        "products": "s3://bucket/run-1/denoise/cleaned",
        "text": ["s3://bucket/run-1/text/1", "s3://bucket/run-1/text/2"],
    }
    for run_id in ("", "4f0e-run-2"):
        if run_id:
            monkeypatch.setenv(RUN_ID_VARIABLE, run_id)
        write_lineage(tmp_path, lineage)
        record = json.loads((tmp_path / "lineage.json").read_text(encoding="utf-8"))
        assert record == {"run": run_id, "inputs": uris}


@pytest.mark.parametrize("alike", [0, 5])
def test_the_verdict_begins_with_a_test_split_without_pictures(tmp_path: Path, alike: int) -> None:
    products = make_products()
    without = [*products.rows("test"), *products.rows("validation")[:alike]]
    products.table["image"] = [f"image-{row}" for row in range(len(products.table))]
    products.table.loc[without, "image"] = None
    evaluate(write_run(tmp_path, products), tmp_path / "out")
    first = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))["verdict"][0]
    assert first.startswith("48 of 48 test products have no picture: ")
    known = "of 5 validation products without one the ensemble gets 100.00 % right, of all"
    assert (known if alike else "how well these are predicted is not known") in first


def flagged_run(folder: Path) -> tuple[Run, np.ndarray]:
    """A run whose ensemble misses all products of the third class, and these have doubted labels."""
    products = make_products(metadata={"dialect": "mapped"})
    run = write_run(folder, products)
    truth = products.labels
    confused = np.where(truth == 2, 4, truth)
    write_classifier(
        folder / "confused", make_classifier("confused", "ensemble", products, confused, 50.0, seed=0)
    )
    third = [row for row in products.rows("validation") if products.labels[row] == 2]
    lines = [f"{products.ids[row]}\t30\t50\t0.01\tfalse" for row in third]
    header = "product_id\tgiven_code\tsuggested_code\tscore\tremoved"
    (run.label_issues / "label_issues.tsv").write_text("\n".join([header, *lines]) + "\n")
    write_manifest(run.label_issues)
    return dataclasses.replace(run, ensemble=folder / "confused"), np.array(third)


def test_doubted_labels_give_a_second_figure_and_no_advice(tmp_path: Path) -> None:
    run, flagged = flagged_run(tmp_path)
    evaluate(run, tmp_path / "out")
    products = read_products(run.products)
    document = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    entry = document["validation"]["rows"]["ensemble"]
    rows = np.setdiff1d(products.rows("validation"), flagged)
    predicted = read_classifier(run.ensemble).chosen("validation", products.ids[rows]).argmax(axis=1)
    expected = f1_score(products.labels[rows], predicted, average="macro")
    assert entry["macro_f1_without_flagged"] == pytest.approx(expected)
    assert entry["macro_f1"] < expected - 0.1
    assert document["validation"]["flagged"] == len(flagged)
    assert "upper bound" in " ".join(document["verdict"])
    assert "takes “30”" not in " ".join(document["verdict"])
    assert document["verdict"][-1].startswith("Doubted labels aside, ")
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    advice = report[report.index("What to do next") : report.index("<h2>Results")]
    assert "“30”" not in advice
    assert f"({len(flagged)} doubted)" in report
    assert f", {len(flagged)} with a doubted label" in report
    assert {mistake["flagged"] for mistake in document["validation"]["mistakes"]} >= {True}


def test_labels_that_people_decided_give_a_third_figure_on_their_decisions_alone(tmp_path: Path) -> None:
    products = make_products()
    rows = products.rows("validation")[[1, 4, 9, 12]]
    gone = {"product_id": "gone", "choice": "drop", "code": "", "given": "10"}
    choices = [("keep", ""), ("correct", products.table["code"].iloc[rows[1]]), ("keep", ""), ("keep", "")]
    decisions = [
        {"product_id": str(products.ids[row]), "choice": choice, "code": code, "given": "10"}
        for row, (choice, code) in zip(rows, choices, strict=True)
    ]
    products.metadata["decisions"] = [*decisions, gone]
    run = write_run(tmp_path, products)
    evaluate(run, tmp_path / "out")
    document = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    predicted = read_classifier(run.ensemble).chosen("validation", products.ids[rows]).argmax(axis=1)
    decided = document["validation"]["decided"]
    assert decided["products"] == 4
    expected = f1_score(products.labels[rows], predicted, average="macro")
    assert decided["macro_f1"] == pytest.approx(expected)
    low, high = decided["macro_f1_interval"]
    assert low <= expected <= high
    assert high > low
    assert "People have decided on 4 labels" in " ".join(document["verdict"])
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "on the 4 labels that people decided" in report


def test_without_decisions_there_is_no_third_figure(output: Path, metrics: dict) -> None:
    assert metrics["validation"]["decided"] is None
    assert "decided" not in " ".join(metrics["verdict"])
    assert "people decided" not in (output / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("dialect", "beside"), [("tsv", True), ("mapped", False)])
def test_published_figures_stand_beside_those_of_the_challenges_catalogs_alone(
    tmp_path: Path, dialect: str, beside: bool
) -> None:
    evaluate(write_run(tmp_path, make_products(metadata={"dialect": dialect})), tmp_path / "out")
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert ("published ◇" in report) == ('class="mark"' in report) == beside
    assert "About the method's published results" in html.unescape(report)
    assert "91.44" in report


def test_few_products_are_said(tmp_path: Path) -> None:
    evaluate(write_run(tmp_path), tmp_path / "out")
    verdict = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))["verdict"]
    assert ". These are few, 43 products that are no duplicates: others may tell otherwise." in verdict[0]


@pytest.mark.parametrize(("count", "chance"), [(240, True), (2_400, False)])
def test_probabilities_are_called_wrong_only_where_chance_would_not_move_them_as_far(
    tmp_path: Path, count: int, chance: bool
) -> None:
    products = make_products(count)
    run = write_run(tmp_path, products)
    rows, truth = products.rows("validation"), products.labels
    # Always 80 % sure of one class, and right less often than that.
    said = np.where(np.arange(count) % 10 < 7, truth, (truth + 1) % 5)
    pred_probs = np.where(np.eye(5)[said] == 1, 0.8, 0.05).astype(np.float32)
    matrices = {"best": {"validation": Probabilities(products.ids[rows], products.classes, pred_probs[rows])}}
    write_classifier(tmp_path / "sure", Classifier("sure", "ensemble", matrices, {}))
    evaluate(dataclasses.replace(run, ensemble=tmp_path / "sure"), tmp_path / "out")
    report = html.unescape((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert ("which on so few products is chance" in report) == chance
    assert ("The probabilities are overconfident" in report) != chance
