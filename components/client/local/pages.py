"""The pages about whole runs: a run's index, and two runs side by side."""

import shlex
from pathlib import Path
from typing import Any

import click

from components.client.local.comparison import Comparison
from components.client.local.finished_run import FinishedRun, files
from components.client.local.reports import find_reports, in_lines, sortable
from components.core.artifacts import write_text
from components.modeling.metrics import ROWS
from components.reports.acceptance import accepted_sentence, review_sentence
from components.reports.charts import gain_bar
from components.reports.page import (
    MEANING,
    check,
    class_label_of,
    figure,
    many,
    most_changed,
    percent,
    render,
    words,
)

INDEX = "index.html"
WIDTH = 100  # characters of a line on the terminal


def write_index(run: FinishedRun) -> Path:
    """Draws the page that lists a run's reports and files; returns its path."""
    table = run.metrics["validation"]["rows"]
    test = run.metrics.get("test")
    chief = table["ensemble"]
    page = render(
        "index",
        name=run.name,
        answers=_answers(run),
        verdict=run.metrics.get("verdict", []),
        figures=[
            figure("macro-F1 of the ensemble", percent(chief["macro_f1"]), "%"),
            figure("accuracy", percent(chief["accuracy"]), "%"),
            figure("products evaluated", f"{run.metrics['validation']['products']:,}"),
            figure("minutes", f"{run.seconds / 60:.0f}"),
        ],
        rows=_rows(run),
        tested=test is not None,
        **_contents(run.folder),
        parameters={
            name: words(value) for name, value in run.parameters.items() if value not in ("", {}, [])
        },
    )
    write_text(run.folder / INDEX, sortable(page))
    return run.folder / INDEX


def write_partial_index(folder: Path, why: str) -> Path:
    """Draws the page of a run without figures: why it has none, and what is there; returns its path."""
    sections = {"answers": [], "figures": [], "rows": [], "tested": False, "parameters": {}}
    page = render("index", name=folder.resolve().name, verdict=[why], **sections, **_contents(folder))
    write_text(folder / INDEX, page)
    return folder / INDEX


def _contents(folder: Path) -> dict[str, Any]:
    """The reports and files of a run's folder."""
    reports = [
        {
            "links": [
                {"href": each.path.relative_to(folder).as_posix(), "fold": each.fold} for each in reports
            ],
            "title": reports[0].title if len(reports) == 1 else reports[0].title.rpartition(",")[0],
            "question": reports[0].question,
            "kilobytes": max(1, round(sum(each.path.stat().st_size for each in reports) / 1024)),
        }
        for reports in in_lines(find_reports(folder))
    ]
    return {"reports": reports, "files": [{"href": name, "what": what} for name, what in files(folder)]}


def ending(run: FinishedRun) -> str:
    """What a run prints at its end, for a terminal: the verdict, the results, the three answers."""
    test = run.metrics.get("test")
    lines = [click.wrap_text(sentence, WIDTH) for sentence in run.metrics.get("verdict", [])]
    lines += [
        "",
        f"{'macro-F1, %':24}{'validation':>11}  {'95 % interval':15}{'test' if test else '':>7}  classifier",
    ]
    for row in _rows(run):
        low, high = (percent(bound, 1) for bound in row["interval"])
        tested = "" if row["test"] is None else percent(row["test"])
        figures = f"{percent(row['macro_f1']):>11}  {f'{low} to {high}':15}{tested:>7}"
        lines.append(f"{row['name']:24}{figures}  {row['classifier']}".rstrip())
    for each in _answers(run):
        where = f" ({', '.join(each['links'])})" if each["links"] else ""
        answer = click.wrap_text(f"{each['answer']}{where}", WIDTH, "  ", "  ")
        lines += ["", each["question"], answer, *([f"  {each['command']}"] if each["command"] else [])]
    return "\n".join(lines)


def _answers(run: FinishedRun) -> list[dict[str, Any]]:
    """The three questions of whoever keeps the catalog, each with where to go on."""
    counts, issues = run.metrics.get("new_products"), run.metrics.get("label_issues")
    accepted = review = "The run had no products to categorize."
    if counts:
        accepted = accepted_sentence(counts, run.metrics["threshold"] or {})
        review = review_sentence(counts)
    wrong = "The run does not say."
    if issues:
        flagged = many(issues["flagged"], "label looks wrong", "labels look wrong")
        wrong = f"{flagged}; {issues['removed']:,} of them were left out of training."
    command = f"python pipeline.py review {shlex.quote(str(run.folder))}"
    to_do = {review: bool(counts and counts["to_review"]), wrong: bool(issues and issues["flagged"])}
    return [
        {
            "question": question,
            "answer": answer,
            "command": command if to_do.get(answer) else "",
            "links": [each for each in links if (run.folder / each).exists()],
        }
        for question, answer, links in (
            ("Which can I accept unseen?", accepted, ("predictions_detail.tsv", "reports/predict.html")),
            ("Which must I look at?", review, ("review_queue.tsv", "reports/predict.html")),
            ("Which labels of mine are wrong?", wrong, ("label_issues.xlsx", "reports/denoise.html")),
        )
    ]


def _rows(run: FinishedRun) -> list[dict[str, Any]]:
    """The results of a run, by row of the paper's table, on validation and where it is known on test."""
    tested = (run.metrics.get("test") or {}).get("rows", {})
    return [
        {
            "name": ROWS[key],
            "meaning": MEANING[key],
            "classifier": row["name"],
            "macro_f1": row["macro_f1"],
            "interval": row["macro_f1_interval"],
            "test": tested[key]["macro_f1"] if key in tested else None,
            "chief": key == "ensemble",
        }
        for key, row in run.metrics["validation"]["rows"].items()
    ]


def _product(mistake: dict[str, Any], compared: Comparison) -> dict[str, Any]:
    names = compared.class_names
    codes = {key: class_label_of(mistake[key], names, 40) for key in ("label", "predicted")}
    return {**mistake, **codes}


def write_comparison(compared: Comparison, path: Path) -> None:
    """Draws two runs side by side."""
    listed = most_changed(compared.classes, lambda change: change.points)
    most = max((abs(change.points) for change in listed), default=0.0)
    page = render(
        "compare",
        first=compared.first.name,
        second=compared.second.name,
        lead=compared.verdict,
        checks=[check(compared.same_products, compared.fairness)],
        same_products=compared.same_products,
        products={
            "newly right": [_product(each, compared) for each in compared.newly_right],
            "newly wrong": [_product(each, compared) for each in compared.newly_wrong],
        },
        parameters=compared.parameters,
        splits=[
            {
                "name": split,
                "rows": [{**vars(row), "called": ROWS[row.name], "points": row.points} for row in rows],
            }
            for split, rows in compared.tables.items()
        ],
        classes=[
            {
                **vars(change),
                "name": class_label_of(change.name, compared.class_names),
                "points": change.points,
                "drawn": gain_bar(change.points, most),
            }
            for change in listed
        ],
        class_count=len(compared.classes),
    )
    write_text(path, sortable(page))
