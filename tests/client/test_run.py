"""`pipeline.py run`: the compiled pipeline on this machine, on a small catalog."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from browser import Browser, check_calm
from hostile import Listener, poison
from tiny_catalog import TINY_RUN
from webhook import Webhook

from components.client.sample.catalog import denoising_seen, write_sample

ROOT = Path(__file__).parents[2]


def command(*arguments: object, status: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "pipeline.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=600,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


class Run:
    """A run on a sample catalog of which one product in seven means harm."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self.catalog = write_sample(folder / "catalog", seed=1, products=700, test_products=40)
        poison(self.catalog, address)
        self.output = folder / "output"
        self.first = self.start()

    def start(self, *extra: object, status: int = 0) -> subprocess.CompletedProcess[str]:
        options = [f"--{name.replace('_', '-')}={path}" for name, path in self.catalog.items()]
        small = [f"--param={name}={json.dumps(value)}" for name, value in TINY_RUN.items()]
        return command("run", *options, "--output", self.output, *small, *extra, status=status)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, listener: Listener) -> Run:
    return Run(tmp_path_factory.mktemp("run"), listener.address)


pytestmark = pytest.mark.slow


def test_it_leaves_every_result(run: Run):
    expected = {
        "predictions.tsv",
        "predictions_text.tsv",
        "predictions_image.tsv",
        "predictions_detail.tsv",
        "review_queue.tsv",
        "model",
        "metrics.json",
        "report.html",
        "label_issues.tsv",
        "quarantine.tsv",
        "quarantine_new.tsv",
        "profile.json",
        "index.html",
        "run.json",
    }
    assert expected <= {path.name for path in run.output.iterdir()}


@pytest.mark.parametrize("name", ["predictions.tsv", "predictions_text.tsv", "predictions_image.tsv"])
def test_predictions_have_the_labels_columns_in_the_test_files_order(run: Run, name: str):
    predicted, products = rows(run.output / name), rows(Path(run.catalog["test_products"]))
    assert list(predicted[0]) == list(rows(Path(run.catalog["labels"]))[0])
    assert [row["Integer_id"] for row in predicted] == [row["Integer_id"] for row in products]
    assert [row["Product_id"] for row in predicted] == [row["Product_id"] for row in products]
    codes = {row["Prdtypecode"] for row in rows(Path(run.catalog["labels"]))}
    assert {row["Prdtypecode"] for row in predicted} <= codes


def test_every_row_of_table_1_has_its_figures(run: Run):
    table = json.loads((run.output / "metrics.json").read_text())["validation"]["rows"]
    assert set(table) == {"image", "text", "feature_level", "decision_level", "ensemble"}
    for row in table.values():
        assert 0 <= row["macro_f1"] <= 1
        assert 0 <= row["accuracy"] <= 1
        assert len(row["per_class"]) == 27


def test_text_tells_most_products_apart(run: Run):
    table = json.loads((run.output / "metrics.json").read_text())["test"]["rows"]
    assert table["text"]["accuracy"] > 0.5


def test_the_figures_are_those_of_the_predictions(run: Run):
    truth = [row["Prdtypecode"] for row in rows(Path(run.catalog["test_labels"]))]
    predicted = [row["Prdtypecode"] for row in rows(run.output / "predictions.tsv")]
    accuracy = sum(a == b for a, b in zip(truth, predicted, strict=True)) / len(truth)
    table = json.loads((run.output / "metrics.json").read_text())["test"]["rows"]
    assert table["ensemble"]["accuracy"] == pytest.approx(accuracy)


def test_planted_label_errors_are_found(run: Run):
    planted = {row["product_id"] for row in rows(run.folder / "catalog" / "planted.tsv")}
    flagged = {row["product_id"] for row in rows(run.output / "label_issues.tsv")}
    # Of 700 products with short texts nearly half are found; by chance it would be one in twenty.
    assert len(planted & flagged) > 0.4 * len(planted)


def test_what_denoising_found_of_planted_labels_is_reported(tmp_path: Path):
    (tmp_path / "planted.tsv").write_text("product_id\ttrue_code\tgiven_code\n1\t10\t20\n2\t10\t30\n")
    (tmp_path / "issues.tsv").write_text(
        "product_id\tgiven_code\tsuggested_code\tscore\tremoved\n"
        "1\t20\t10\t0.1\ttrue\n3\t20\t10\t0.2\ttrue\n4\t20\t10\t0.3\tfalse\n"
    )
    sentence = denoising_seen(tmp_path / "planted.tsv", tmp_path / "issues.tsv")
    assert sentence == (
        "denoising: of 2 labels changed on purpose 1 are among the 3 flagged; "
        "of 2 products removed from training 1 had such a label"
    )


def test_a_second_run_takes_over_what_is_unchanged_and_says_so(run: Run):
    before = (run.output / "predictions.tsv").read_bytes()
    again = run.start()
    started = [line for line in again.stdout.splitlines() if line.endswith("] started")]
    assert again.stdout.count("unchanged: taken over from an earlier run") == 13
    assert [line for line in started if "[monitor]" not in line] == []  # which looks anew each time
    assert (run.output / "predictions.tsv").read_bytes() == before


def test_a_changed_parameter_renews_only_what_depends_on_it(run: Run):
    vote = json.dumps({"name": "ensemble", "vote": "soft"})
    again = run.start("--param", f"ensemble_config={vote}")
    started = [line.split("[")[1].split("]")[0] for line in again.stdout.splitlines() if "] started" in line]
    assert started == ["monitor", "ensemble", "predict", "evaluate"]


def test_another_test_file_trains_nothing_again(run: Run, tmp_path: Path):
    first = Path(run.catalog["test_products"]).read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "X_test.tsv").write_text("".join(first[:20]), encoding="utf-8")
    again = run.start("--test-products", tmp_path / "X_test.tsv")
    started = [line.split("[")[1].split("]")[0] for line in again.stdout.splitlines() if "] started" in line]
    assert started == ["preprocess new products", "monitor", "predict", "evaluate"]
    assert len(rows(run.output / "predictions_detail.tsv")) == 19


def test_the_command_predict_gives_the_runs_predictions(run: Run, tmp_path: Path):
    catalog = {name: run.catalog[f"test_{name}"] for name in ("products", "images")}
    run.start()
    options = [f"--{name}={value}" for name, value in catalog.items()]
    command("predict", "--model", run.output / "model", *options, "--output", tmp_path / "again.tsv")
    for stem in ("again", "again_detail"):
        kept = run.output / f"{stem.replace('again', 'predictions')}.tsv"
        assert (tmp_path / f"{stem}.tsv").read_bytes() == kept.read_bytes()


def test_its_reports_are_calm_in_a_browser_though_its_catalog_means_harm(
    run: Run, browser: Browser, listener: Listener, tmp_path: Path
):
    reports = sorted((run.output / "reports").glob("*.html"))
    assert len(reports) == 12
    assert all(report.stat().st_size < 2 * 2**20 for report in reports)
    assert not [report for report in reports if "could not be drawn" in report.read_text(encoding="utf-8")]
    check_calm(browser, [*reports, run.output / "index.html"], tmp_path)
    assert listener.asked == []


@pytest.mark.parametrize("name", ["label_issues.tsv", "quarantine.tsv", "predictions.tsv"])
def test_no_cell_starts_a_formula(run: Run, name: str):
    cells = [cell for row in rows(run.output / name) for cell in row.values()]
    assert cells
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "@")]


def test_hidden_characters_are_flagged_with_their_lines(run: Run):
    flagged = [row for row in rows(run.output / "quarantine.tsv") if row["reason"] == "hidden_characters"]
    assert {row["action"] for row in flagged} == {"normalized"}
    assert all(int(row["line"]) > 1 for row in flagged)


def test_the_lineage_leads_to_every_artifact_that_was_evaluated(run: Run):
    lineage = json.loads((run.output / "lineage.json").read_text(encoding="utf-8"))
    inputs = lineage["inputs"]
    assert lineage["run"].startswith("output-")
    lists = {name: len(uris) for name, uris in inputs.items() if isinstance(uris, list)}
    assert lists == {"text": 2, "image": 1}
    assert set(inputs) - set(lists) == {
        *("products", "images", "members", "feature_level", "ensemble", "label_issues"),
        *("new_products", "predictions"),
    }
    uris = [uri for each in inputs.values() for uri in (each if isinstance(each, list) else [each])]
    assert all(Path(uri).exists() for uri in uris)


def test_show_lists_the_reports_and_compare_finds_no_difference_to_itself(run: Run):
    shown = command("show", run.output, "--no-browser")
    assert "Is the data sound" in shown.stdout
    assert str(run.output / "reports" / "evaluate.html") in shown.stdout
    compared = command("compare", run.output, run.output, "--no-browser", "--output", run.folder / "c.html")
    assert "same macro-F1" in compared.stdout
    assert "No parameter differs" in compared.stdout
    assert (run.folder / "c.html").exists()


def test_a_wrong_configuration_is_explained_without_a_traceback(run: Run):
    wrong = json.dumps([{"name": "tfidf", "kind": "linear", "learning_rate": 1}])
    failed = run.start("--param", f"text_configs={wrong}", status=2)
    assert "text configuration tfidf: unknown key 'learning_rate'" in failed.stderr
    assert "[preprocess" not in failed.stdout
    assert "Traceback" not in failed.stdout + failed.stderr


def test_a_stages_complaint_is_shown_without_a_traceback(run: Run, tmp_path: Path):
    (tmp_path / "Y.tsv").write_text("id\tprdtypecode\nnobody\t10\n")
    failed = run.start("--labels", tmp_path / "Y.tsv", status=2)
    assert "[preprocess read] error:" in failed.stdout
    assert "Traceback" not in failed.stdout + failed.stderr


def test_an_unknown_parameter_is_named(tmp_path: Path):
    failed = command("run", "--output", tmp_path, "--param", "seeds=3", status=2)
    assert "expected KEY=JSON with KEY one of" in failed.stderr
    assert "Did you mean seed?" in failed.stderr


def test_a_path_in_which_the_local_runner_would_put_the_interpreter_is_refused(tmp_path: Path):
    weights = tmp_path / "lib" / "python3.11" / "weights"
    weights.mkdir(parents=True)
    done = command("run", "--text-weights", weights, "--output", tmp_path / "run", status=2)
    assert f"{weights}: no path" in done.stderr
    assert "may contain 'python3'" in done.stderr
    assert not (tmp_path / "run").exists()
    inside = command("run", "--output", tmp_path / "python3", status=2)
    assert "may contain 'python3'" in inside.stderr


def test_weights_that_are_not_there_are_named_before_anything_starts(tmp_path: Path):
    for option in ("--image-weights", "--text-weights"):
        done = command("run", option, tmp_path / "none", "--output", tmp_path / "run", status=2)
        assert f"{tmp_path / 'none'}: no such file or folder" in done.stderr


def test_what_was_trained_is_not_trained_again_and_one_message_tells_of_both_weeks(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    output, webhook = tmp_path / "weekly", Webhook()
    output.mkdir()
    shutil.copy(run.output / "run.json", output)
    shutil.copytree(run.output / ".finished", output / ".finished")  # so that the first week is short
    monkeypatch.setenv("ALERT_WEBHOOK", webhook.address)
    options = ["--output", output, "--param", f"models_store={tmp_path / 'store'}"]
    run.start(*options)
    assert [": a new champion\n" in text for text in webhook.texts] == [True]
    assert webhook.texts[0].splitlines()[1] == f"Look at {output}"
    second = run.start(*options)
    webhook.close()
    assert "nothing is trained: unchanged since version" in second.stdout
    assert "[text" not in second.stdout
    assert len(webhook.texts) == 1
    assert len(rows(output / "predictions.tsv")) == 40
    assert not (output / "metrics.json").exists()


def test_columns_and_other_settings_of_preprocess_go_together(tmp_path: Path):
    (tmp_path / "shop.csv").write_text("sku,name\n1,robe\n")
    options = ["--columns", "product_id=sku,title=name,code=type", "--output", tmp_path / "output"]
    settings = ["--param", 'preprocess_config={"max_quarantined": 0.5}']
    command("run", "--products", tmp_path / "shop.csv", *options, *settings, status=2)
    record = json.loads((tmp_path / "output" / "run.json").read_text())["parameters"]["preprocess_config"]
    assert record == {"max_quarantined": 0.5, "columns": "product_id=sku,title=name,code=type"}


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for arguments in (
        ["run", "--output", tmp_path / "file" / "x"],
        ["compile", "--output", tmp_path / "file" / "x.yaml"],
    ):
        failed = command(*arguments, status=2)
        assert f"{tmp_path / 'file'}" in failed.stderr
        assert "Traceback" not in failed.stderr


def test_a_compiled_pipeline_is_called_yaml(tmp_path: Path):
    failed = command("compile", "--output", tmp_path / "pipeline.json", status=2)
    assert "expected a name that ends with .yaml" in failed.stderr


def test_an_unknown_option_is_named():
    failed = command("run", "--product", "x.tsv", status=2)
    assert "No such option" in failed.stderr
    assert "--products" in failed.stderr


def test_a_missing_file_is_named(tmp_path: Path):
    failed = command("run", "--products", tmp_path / "none.tsv", status=2)
    assert "none.tsv' does not exist" in failed.stderr


def test_a_broken_catalog_is_explained_and_its_report_left(tmp_path: Path):
    catalog = write_sample(tmp_path / "catalog", seed=1, products=270, test_products=5)
    path = Path(catalog["products"])
    path.write_text(path.read_text().replace("Title", "Name", 1))
    options = [f"--{name.replace('_', '-')}={value}" for name, value in catalog.items()]
    failed = command("run", *options, "--output", tmp_path / "output", status=2)
    assert "column 'Title' missing; it has 'Integer_id', 'Name'" in failed.stdout
    assert "Traceback" not in failed.stdout + failed.stderr
    assert (tmp_path / "output" / "quarantine.tsv").exists()
