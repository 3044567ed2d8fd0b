"""The reports in a run's folder: gathered from its tasks, in the order of reading, and linked to each other.

As artifacts they have no links and no script: where the pipelines UI shows them there is nothing to lead to.
"""

import hashlib
import html
import itertools
import json
import re
import shutil
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from components.core.artifacts import MANIFEST, write_text
from components.core.project import LIFECYCLE, STAGES, TRAININGS

# Component -> outputs worth a look beside its report, and their names in a run's folder.
LISTS = {
    "preprocess_read": {"read_quarantine": "quarantine.tsv"},  # until a later task has one of all rows
    "preprocess": {"quarantine": "quarantine.tsv", "profile": "profile.json"},
    "preprocess_new": {"new_quarantine": "quarantine_new.tsv"},
    "monitor": {"plan": "plan.json"},
    "denoise": {f"label_issues/label_issues.{kind}": f"label_issues.{kind}" for kind in ("tsv", "xlsx")},
}
# In the order of reading: report -> the question that it answers. How it ended, and what came of it, first.
_TASKS = {stage.name: stage.question for stage in (*STAGES, *LIFECYCLE)}
QUESTIONS = {name: _TASKS[name] for name in dict.fromkeys(("evaluate", "predict", *_TASKS))}
OF_NEW = {"preprocess-new": "Are the new products sound, and how do they differ?"}  # by its report's name
FOLD = "-fold-"
SCRIPT = (Path(__file__).parent / "sorting.js").read_text(encoding="utf-8")
POLICY = 'img-src data:">'  # the end of every page's


@dataclass(frozen=True)
class Report:
    """One report of a run: its file, its title, the question it answers."""

    path: Path
    title: str
    question: str

    @property
    def fold(self) -> str:
        """The fold, or first and last of the folds, whose training it is of; "" for any other report."""
        return self.path.stem.partition(FOLD)[2]

    @property
    def folds_of(self) -> str:
        """What the reports of one classifier's folds have in common; no other report has it."""
        return self.path.stem.partition(FOLD)[0] + FOLD if self.fold else self.path.stem


def find_reports(folder: Path) -> list[Report]:
    """Every report in a run's folder, finished or not, in the order of reading."""
    found = []
    for path in sorted((folder / "reports").glob("*.html")):
        stage = path.stem.split("-")[0]
        if stage in QUESTIONS:
            found.append(Report(path, _title(path), OF_NEW.get(path.stem, QUESTIONS[stage])))
    return sorted(found, key=lambda report: _place(report.path.stem))


def gather_reports(folder: Path) -> None:
    """Copies the reports and lists that a run's tasks have left so far to where a person looks for them."""
    artifacts, gathered = folder / "artifacts", []
    for component, outputs in LISTS.items():
        for output, name in outputs.items():
            for path in artifacts.glob(f"*/{component.replace('_', '-')}/{output}"):
                shutil.copyfile(path, folder / name)
    for path in sorted(artifacts.glob("**/*_report")):
        target = folder / "reports" / f"{_report_name(path)}.html"
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
        gathered.append(target)
    link_reports(folder, gathered)


def in_lines(reports: Iterable[Report]) -> list[list[Report]]:
    """Reports as a list shows them: one a line, those of a classifier's folds in one."""
    return [list(group) for _, group in itertools.groupby(reports, lambda report: report.folds_of)]


def link_reports(folder: Path, fresh: Iterable[Path]) -> None:
    """Adds to the reports that are `fresh` copies of a task's the links to all others, and the script."""
    every = find_reports(folder)
    for path in fresh:
        page = path.read_text(encoding="utf-8")
        write_text(path, sortable(page.replace("<main>", f"<main>{_navigation(every, path)}", 1)))


def sortable(page: str) -> str:
    """A page whose tables sort by a click; its policy allows the one script that does so, by its hash."""
    digest = b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    allowed = page.replace(POLICY, f"{POLICY[:-2]}; script-src 'sha256-{digest}'\">", 1)
    body, end, rest = allowed.rpartition("</body>")
    return f"{body}<script>{SCRIPT}</script>{end}{rest}"


def _navigation(every: Iterable[Report], here: Path) -> str:
    others = "".join(
        f'<li><a href="{quote(report.path.name)}">{html.escape(report.title)}</a></li>'
        for report in every
        if report.path != here and not report.fold
    )
    folded = f"<details><summary>Other reports</summary><ul>{others}</ul></details>"
    return f'<nav aria-label="The run"><a href="../index.html">The run</a>{folded}</nav>'


def _report_name(report: Path) -> str:
    component = report.name.removesuffix("_report")
    manifest = report.parent / "probabilities" / MANIFEST
    if component not in TRAININGS or not manifest.is_file():
        return component.replace("_", "-")
    metadata = json.loads(manifest.read_text(encoding="utf-8"))
    fold, folds = metadata["metadata"].get("fold"), metadata["metadata"].get("folds")
    if folds:
        fold = f"{folds[0]}-{folds[-1]}"
    return f"{component}-{metadata['name']}" + ("" if fold is None else f"{FOLD}{fold}")


def _place(stem: str) -> tuple[int, bool, str]:
    return list(QUESTIONS).index(stem.split("-")[0]), FOLD in stem, stem


def _title(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        found = re.search("<title>(.*?)</title>", file.read(4_000))
    return html.unescape(found[1]) if found else path.stem
