"""`show` and `compare`: a run's reports, two runs side by side, and folders that are neither."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, check_calm
from click.testing import CliRunner, Result
from hostile import hostile_titles
from synthetic import make_products, write_run

from components.client.local.finished_run import write_record
from components.client.local.reports import gather_reports
from components.core.artifacts import write_manifest, write_sealed
from components.data.class_tree import PATHS
from components.evaluate.run import run_evaluate
from components.reports.page import render
from pipeline import main

CELLS = (("10 a", "−1.5"), ("2 b", "1,200.0"), ("100 c", "7"))
PARAMETERS = {
    "seed": 0,
    "text_configs": [{"name": "tfidf", "regularization": 4.0}],
    "cluster_checkpoints": "a",
}


def finished_run(
    folder: Path,
    *,
    seed: int = 0,
    names: dict[str, str] | None = None,
    paths: dict[str, list[str]] | None = None,
    **parameters: Any,
) -> Path:
    """What a local run leaves, as far as these commands read it."""
    metadata = {"class_names": names or {"10": "Books"}, **({PATHS: paths} if paths else {})}
    run = write_run(folder / "artifacts", make_products(metadata=metadata), seed=seed)
    run_evaluate(**run.stages, seed=0, metadata={}, results=folder)
    (folder / "reports").mkdir()
    (folder / "report.html").rename(folder / "reports" / "evaluate.html")
    for name in ("text-tfidf", "text-tfidf-fold-0", "preprocess"):
        page = render("failure", reason="none")
        (folder / "reports" / f"{name}.html").write_text(page, encoding="utf-8")
    write_record(folder, parameters={**PARAMETERS, **parameters}, seconds=75.0)
    return folder


def command(*arguments: object, status: int = 0) -> Result:
    done = CliRunner().invoke(main, [*map(str, arguments), "--no-browser"])
    assert done.exit_code == status, done.output
    return done


def test_the_top_of_a_tree_of_classes_is_shown_and_compared(tmp_path: Path):
    paths = {"10": ["Media", "Books"], "20": ["Media", "Films"]}
    one, other = (finished_run(tmp_path / name, paths=paths) for name in ("one", "other"))
    assert "Of the 4 classes at the top of their tree it gets" in command("show", one).output
    shown = command("compare", one, other).output
    assert "macro-F1, validation level 1" in shown
    assert "level 2" not in shown  # the classes themselves
    assert "validation level" not in command("compare", one, finished_run(tmp_path / "flat")).output


def test_show_prints_the_verdict_and_the_reports_in_the_order_of_reading(tmp_path: Path):
    folder = finished_run(tmp_path / "one")
    shown = command("show", folder).output
    assert "The ensemble reaches a macro-F1 of" in shown
    order = [
        shown.index(f"{name}.html") for name in ("evaluate", "preprocess", "text-tfidf", "text-tfidf-fold-0")
    ]
    assert order == sorted(order)
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert '<a href="reports/evaluate.html">What this run is worth</a>' in page
    assert '<a href="metrics.json">' in page


def test_every_link_of_the_index_leads_to_a_file(tmp_path: Path):
    folder = finished_run(tmp_path / "one")
    command("show", folder)
    page = (folder / "index.html").read_text(encoding="utf-8")
    links = [piece.split('"')[0] for piece in page.split('<a href="')[1:]]
    assert len(links) >= 6
    assert all((folder / link).is_file() for link in links if link != "run.log")


def with_task_report(folder: Path, task: str, stage: str, page: str, **manifest: Any) -> None:
    """Writes a report as a task of a run leaves it."""
    made = folder / "artifacts" / "r" / task
    if manifest:
        write_manifest(_made(made / "probabilities"), **manifest)
    (_made(made) / f"{stage}_report").write_text(page, encoding="utf-8")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_fold_trainings_share_a_line_and_gathered_reports_lead_to_each_other(tmp_path: Path):
    page = render("failure", reason="none")
    for fold in range(3):
        of_fold = {"name": "tfidf", "metadata": {"fold": fold}}
        with_task_report(tmp_path, f"loop-{fold}/text", "text", page, **of_fold)
    together = {"name": "words", "metadata": {"folds": [0, 1, 2]}}
    with_task_report(tmp_path, "loop-3/text", "text", page, **together)
    for name in ("denoise", "predict", "preprocess", "preprocess_new"):
        with_task_report(tmp_path, name, name, page)
    write_sealed(tmp_path / "run.json", {"parameters": {}, "finished": False})
    shown = command("show", tmp_path).output
    assert "(folds 0 to 2)" in shown
    assert "text-words-fold-0-2.html" in shown
    assert "fold-1.html" not in shown
    questions = [line[:60].strip() for line in shown.splitlines() if "/preprocess" in line]
    assert len(set(questions)) == 2
    index = (tmp_path / "index.html").read_text(encoding="utf-8")
    line = next(line for line in index.splitlines() if "tfidf-fold-0" in line)
    assert re.findall(r">(\d)</a>", line) == ["0", "1", "2"]
    assert index.index("predict.html") < index.index("denoise.html")
    report = (tmp_path / "reports" / "denoise.html").read_text(encoding="utf-8")
    assert '<a href="predict.html">' in report
    assert '<a href="../index.html">' in report
    assert "fold-0" not in report
    assert "<a " not in page


def test_a_tables_headings_sort_it_and_no_other_script_runs(tmp_path: Path, browser: Browser):
    rows = "".join(f"<tr><th>{name}</th><td>{f1}</td></tr>" for name, f1 in CELLS)
    table = f"<table><thead><tr><th>class</th><th>F1</th></tr></thead><tbody>{rows}</tbody></table>"
    page = render("failure", reason="none").replace(
        "</main>", f"{table}<script>document.title='RUN'</script>"
    )
    with_task_report(tmp_path, "denoise", "denoise", page)
    gather_reports(tmp_path)
    browser.visit(tmp_path / "reports" / "denoise.html")
    assert browser.evaluate("document.title") != "RUN"
    order = "[...document.querySelectorAll('tbody th')].map(each => each.textContent)"
    for heading, expected in (
        ("class", ["2 b", "10 a", "100 c"]),
        ("F1", ["10 a", "100 c", "2 b"]),
        ("F1", ["2 b", "100 c", "10 a"]),
    ):
        browser.evaluate(
            f"[...document.querySelectorAll('th button')].find(b => b.textContent === '{heading}').click()"
        )
        assert browser.evaluate(order) == expected


def test_a_folder_that_is_no_run_is_named(tmp_path: Path):
    assert f"{tmp_path}: not the folder of a run" in command("show", tmp_path, status=2).output
    missing = tmp_path / "none"
    assert f"{missing}: not the folder of a run" in command("compare", missing, missing, status=2).output


@pytest.mark.parametrize("command_name", ["show", "compare"])
def test_figures_that_were_changed_are_not_believed(command_name: str, tmp_path: Path):
    folder = finished_run(tmp_path / "one")
    path = folder / "metrics.json"
    path.write_text(path.read_text().replace('"macro_f1": 0.', '"macro_f1": 0.9', 1))
    runs = [folder] if command_name == "show" else [folder, folder]
    assert "metrics.json: missing or changed since" in command(command_name, *runs, status=2).output


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"finished": true}', '{"sha256": ""}'])
def test_a_record_that_was_changed_is_not_believed(content: str, tmp_path: Path):
    folder = finished_run(tmp_path / "one")
    (folder / "run.json").write_text(content)
    assert "run.json: " in command("show", folder, status=2).output


def test_another_result_that_was_changed_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    folder = finished_run(tmp_path / "one")
    (folder / "predictions.tsv").write_text("")
    command("show", folder)
    assert "predictions.tsv: missing or changed since the run wrote it" in caplog.text


def test_an_unfinished_run_says_how_to_go_on_and_which_reports_it_has(tmp_path: Path):
    folder = finished_run(tmp_path / "one")
    write_sealed(folder / "run.json", {"parameters": {}, "finished": False})
    (folder / "run.log").write_text("[text tfidf] started\n[text tfidf] error: no disk\n", encoding="utf-8")
    (folder / "artifacts/r/denoise").mkdir(parents=True)
    (folder / "artifacts/r/denoise/denoise_report").write_text(render("failure", reason="none"))
    output = command("show", folder).output
    assert "did not finish: [text tfidf] error: no disk" in output
    assert "same --output" in output
    assert "preprocess.html" in output
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert '<a href="reports/denoise.html">' in page
    assert "no disk" in page
    assert "same --output" in command("compare", folder, folder, status=2).output


def test_compare_tells_the_parameters_the_rows_and_the_classes_that_differ(tmp_path: Path):
    first = finished_run(tmp_path / "one")
    configs = [{"name": "tfidf", "regularization": 8.0}]
    second = finished_run(tmp_path / "two", text_configs=configs, cluster_checkpoints="b")
    metrics = json.loads((second / "metrics.json").read_text())
    ensemble = metrics["validation"]["rows"]["ensemble"]
    ensemble["macro_f1"] -= 0.25
    ensemble["per_class"]["10"]["f1"] = 0.0
    (second / "metrics.json").write_text(json.dumps(metrics))
    write_record(second, parameters={**PARAMETERS, "text_configs": configs}, seconds=75.0)
    output = command("compare", first, second).output
    assert "The ensemble of one is 25.00 points of macro-F1 better" in output
    assert "outside the 95 % interval of one" in output
    assert "text_configs.tfidf.regularization: 4 → 8" in output
    assert "checkpoints" not in output
    assert "evaluated on the same products" in output
    assert "−25.00" in output
    assert "10 Books" in output
    assert "10 Books" in (second / "compare-one.html").read_text(encoding="utf-8")


def test_compare_lists_of_many_classes_those_that_gained_and_lost_most(tmp_path: Path):
    folders = finished_run(tmp_path / "one"), finished_run(tmp_path / "two")
    for folder, sign in zip(folders, (0, 1), strict=True):
        metrics = json.loads((folder / "metrics.json").read_text())
        metrics["validation"]["rows"]["ensemble"]["per_class"] = {
            f"c{number}": {"f1": 0.5 + sign * 0.001 * (number - 200), "support": 5} for number in range(401)
        }
        change_metrics(folder, validation=metrics["validation"])
    command("compare", *folders)
    page = (folders[1] / "compare-one.html").read_text(encoding="utf-8")
    listed = re.findall(r">(c\d+)<", page[page.index("Class by class") :])
    assert listed == [f"c{number}" for number in range(400, -1, -1) if abs(number - 200) > 50]
    assert "Of 401 classes the 300 that changed most are listed" in page


def test_runs_on_different_products_are_distinguished(tmp_path: Path):
    first, second = finished_run(tmp_path / "one"), finished_run(tmp_path / "two", seed=1)
    write_record(second, parameters={**PARAMETERS, "seed": 1}, seconds=75.0)
    assert "different products" in command("compare", first, second).output


def change_metrics(folder: Path, **changes: Any) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({**metrics, **changes}))
    write_record(folder, parameters=PARAMETERS, seconds=75.0)


def test_compare_lists_products_newly_right_and_newly_wrong_and_what_denoising_read(tmp_path: Path):
    first, second = finished_run(tmp_path / "one"), finished_run(tmp_path / "two")
    validation = json.loads((first / "metrics.json").read_text())["validation"]
    mended, *others = validation["mistakes"]
    spoiled = {**mended, "product": "p-new", "title": "Lampe noire"}
    change_metrics(first, denoise_on="text")
    change_metrics(second, denoise_on="image", validation={**validation, "mistakes": [spoiled, *others]})
    output = command("compare", first, second).output
    assert "Products newly right: 1, newly wrong: 1" in output
    assert "denoise_on: text → image" in output
    page = (second / "compare-one.html").read_text(encoding="utf-8")
    right, wrong = page.index("Newly right"), page.index("Newly wrong")
    assert right < page.index(mended["product"]) < wrong < page.index("Lampe noire")


def test_a_catalog_whose_labels_people_corrected_is_still_the_same_one(tmp_path: Path):
    first = finished_run(tmp_path / "one")
    second = finished_run(tmp_path / "two")
    change_metrics(second, digests={"corrections": "of a file"})
    write_record(second, parameters={**PARAMETERS, "catalog_corrections": "mine.tsv"}, seconds=75.0)
    output = command("compare", first, second).output
    assert "Both ensembles reach the same macro-F1" in output
    assert "evaluated on different products or labels" in output
    assert "catalog_corrections: – → mine.tsv" in output
    assert "newly right" not in output


def test_different_catalogs_get_no_verdict_and_their_classes_are_matched_by_name(tmp_path: Path):
    first = finished_run(tmp_path / "one", names={"10": "Books", "20": "Lamps"})
    second = finished_run(tmp_path / "two", names={"10": "Lamps", "30": "Books"})
    change_metrics(second, digests={"products": "another"})
    output = command("compare", first, second).output
    assert "different catalogs, so neither is called better" in output
    assert "newly right" not in output
    page = (second / "compare-one.html").read_text(encoding="utf-8")
    classes = page[page.index("Class by class") :]
    assert classes.count("Books") == classes.count("Lamps") == 1
    assert ">40<" not in classes


@pytest.mark.slow
def test_the_pages_are_calm_in_a_browser_though_names_mean_harm(tmp_path: Path, browser: Browser):
    titles = hostile_titles("http://localhost:9")
    names = dict(zip(["10", "20", "30"], [titles[1], titles[5], titles[6]], strict=True))
    first = finished_run(tmp_path / "one", names=names, seed_note=titles[0])
    second = finished_run(tmp_path / "<b>two", names=names, seed_note=titles[1])
    command("show", first)
    command("compare", first, second, "--output", tmp_path / "compare.html")
    check_calm(browser, [first / "index.html", tmp_path / "compare.html"], tmp_path)


def test_of_a_run_that_stopped_it_shows_the_rows_that_were_quarantined_so_far(tmp_path: Path):
    write_sealed(tmp_path / "run.json", {"parameters": {}, "ended": {}, "finished": False})
    for task, output in (("preprocess-read", "read_quarantine"), ("preprocess", "quarantine")):
        (tmp_path / "artifacts" / "r" / task).mkdir(parents=True)
        (tmp_path / "artifacts" / "r" / task / output).write_text(f"rows of {task}")
        assert "this run did not finish" in command("show", tmp_path).output
        assert (tmp_path / "quarantine.tsv").read_text() == f"rows of {task}"
    assert "quarantine.tsv" in (tmp_path / "index.html").read_text(encoding="utf-8")
