"""`runs`, `show` and `compare` with a server's runs, whose artifacts lie in a store as servers lay them out.

The first run made everything; the second took all but its evaluation from the cache, so its own path holds
nothing else.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from commands import command, server_command
from pipelines_server import PipelinesServer
from synthetic import Run, make_products, write_run

from components.core.artifacts import write_json
from components.evaluate.run import run_evaluate
from components.reports.page import render

# How the server writes where the store is, which is not how this machine reads it.
SERVER_ROOT = "minio://product-categorization/v2/artifacts"
OUTPUTS = {
    "images": "preprocess/1a/images",
    "products": "denoise/2b/cleaned",
    "label_issues": "denoise/2b/label_issues",
    "text": ["text/3c/probabilities", "text/4d/probabilities"],
    "image": ["image/5e/probabilities", "image/6f/probabilities"],
    "members": "fusion/7a/members",
    "feature_level": "fusion/7a/feature_level",
    "ensemble": "ensemble/8b/probabilities",
    "new_products": "preprocess-new/1c/new_products",
    "predictions": "predict/8c/predictions",
}


@dataclass
class Shop:
    """A server with two finished runs, and the store with what they left."""

    server: PipelinesServer
    store: Path
    made: dict[str, Any]
    cached: dict[str, Any]

    def ask(self, name: str, *arguments: object, status: int = 0) -> Result:
        options = ["--host", self.server.host, "--artifacts", self.store]
        browser = [] if name == "runs" else ["--no-browser"]
        return command(name, *options, *arguments, *browser, status=status)

    def folder(self, run: dict[str, Any]) -> Path:
        """What lies under a run's own path."""
        return self.store / "product-categorization" / run["run_id"]


@pytest.fixture
def shop(server: PipelinesServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.chdir(tmp_path)
    for name, seed in (("first", 0), ("second", 3)):
        server_command("submit", server.host, "--run-name", name, "--param", f"seed={seed}")
    made, cached = server.kept["runs"]
    for run in (made, cached):
        run |= {"state": "SUCCEEDED", "finished_at": "2026-01-05T04:30:00Z"}
    shop = Shop(server, tmp_path / "store", made, cached)
    stages = write_run(tmp_path / "stages", make_products(metadata={"class_names": {"10": "Books"}}))
    lay_out(stages, shop.folder(made))
    inputs = {
        name: [uri(made, each) for each in output] if isinstance(output, list) else uri(made, output)
        for name, output in OUTPUTS.items()
    }
    for run in (made, cached):
        results = shop.folder(run) / "evaluate" / "9c" / "results"
        run_evaluate(**stages.stages, seed=0, metadata={}, results=results)
        write_json(results / "lineage.json", {"run": run["run_id"], "inputs": inputs})
    return shop


def uri(run: dict[str, Any], output: str) -> str:
    return f"{SERVER_ROOT}/product-categorization/{run['run_id']}/{output}"


def lay_out(stages: Run, folder: Path) -> None:
    """Every task's outputs beside each other, as a server's launcher uploads them."""
    for name, paths in stages.stages.items():
        outputs = OUTPUTS[name]
        pairs = zip(paths, outputs, strict=True) if isinstance(outputs, list) else [(paths, outputs)]
        for path, output in pairs:
            target = folder / str(output)
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if path.is_dir() else shutil.copyfile)(path, target)
    for task in folder.glob("*/*"):
        report = task / f"{task.parent.name.replace('-', '_')}_report"
        report.write_text(render("failure", reason="none"), encoding="utf-8")
    (folder / "preprocess" / "1a" / "quarantine").write_text("file\tline\n")
    (folder / "preprocess" / "1a" / "profile").write_text("{}")
    (folder / "preprocess-new" / "1c" / "new_quarantine").write_text("file\tline\n")


def test_runs_shows_the_macro_f1_of_a_cached_run(shop: Shop):
    rows = [line.split() for line in shop.ask("runs").output.splitlines()[1:]]
    assert [row[-1] for row in rows] == ["second", "first"]
    assert rows[0][4] == rows[1][4]
    metrics = json.loads((shop.folder(shop.cached) / "evaluate/9c/results/metrics.json").read_text())
    assert rows[0][4] == f"{metrics['validation']['rows']['ensemble']['macro_f1']:.4f}"
    assert [path.name for path in shop.folder(shop.cached).iterdir()] == ["evaluate"]


def test_a_run_without_results_has_no_macro_f1(shop: Shop):
    shutil.rmtree(shop.folder(shop.cached))
    rows = [line.split() for line in shop.ask("runs").output.splitlines()[1:]]
    assert [len(row) for row in rows] == [6, 7]


@pytest.mark.parametrize("name", ["made", "cached"])
def test_show_copies_a_runs_reports_and_lists_whoever_made_them(shop: Shop, name: str):
    run = getattr(shop, name)
    done = shop.ask("show", run["run_id"])
    assert "not found" not in done.output
    folder = Path("runs") / run["run_id"]
    assert {path.name for path in (folder / "reports").iterdir()} == {
        *("evaluate.html", "preprocess.html", "denoise.html", "fusion.html", "ensemble.html"),
        *("text-camembert.html", "text-words.html", "image-resnet.html", "image-small.html"),
        *("preprocess-new.html", "predict.html"),
    }
    for file in ("label_issues.tsv", "quarantine.tsv", "profile.json", "predictions.tsv", "summary.md"):
        assert (folder / file).is_file(), file
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert run["display_name"] in page
    links = [piece.split('"')[0] for piece in page.split('<a href="')[1:]]
    assert len(links) >= 14
    assert all((folder / link).is_file() for link in links)
    assert "The ensemble reaches a macro-F1 of" in done.output


def test_show_tells_every_parameter_with_the_preset_defaults(shop: Shop):
    shop.ask("show", shop.cached["run_id"])
    record = json.loads((Path("runs") / shop.cached["run_id"] / "run.json").read_text())
    assert record["parameters"]["seed"] == 3
    assert record["parameters"]["catalog_products"] == "s3://bucket/products.tsv"
    assert record["parameters"]["fusion_folds"] == 8
    assert record["seconds"] == 5400


def test_what_the_store_lacks_is_named(shop: Shop):
    (shop.folder(shop.made) / "fusion" / "7a" / "fusion_report").unlink()
    shutil.rmtree(shop.folder(shop.made) / "text" / "4d")
    lineage = shop.folder(shop.cached) / "evaluate/9c/results/lineage.json"
    record = json.loads(lineage.read_text())
    record["inputs"] |= {"ensemble": "s3://elsewhere/runs/ensemble", "label_issues": ""}
    lineage.write_text(json.dumps(record))
    output = shop.ask("show", shop.cached["run_id"]).output
    missing = [line for line in output.splitlines() if line.startswith("not found: ")]
    assert len(missing) == 4
    for part in ("7a/fusion_report", "4d/text_report", "s3://elsewhere/runs/ensemble", "label_issues"):
        assert any(part in line for line in missing), part
    assert "reports/text-camembert.html" in output


def test_compare_takes_two_runs_of_a_server(shop: Shop):
    output = shop.ask("compare", shop.made["run_id"], shop.cached["run_id"]).output
    assert "Both ensembles reach the same macro-F1" in output
    assert "seed: 0 → 3" in output
    page = Path("runs") / shop.cached["run_id"] / f"compare-{shop.made['run_id']}.html"
    assert "second" in page.read_text(encoding="utf-8")


def test_compare_takes_a_folder_beside_a_run_of_a_server(shop: Shop):
    shop.ask("show", shop.made["run_id"])
    shutil.move(Path("runs") / shop.made["run_id"], "mine")
    output = shop.ask("compare", "mine", shop.cached["run_id"], "--output", "page.html").output
    assert "Both ensembles reach the same macro-F1" in output
    assert Path("page.html").is_file()


def test_a_run_that_goes_on_says_so(shop: Shop):
    shop.made["state"] = "RUNNING"
    output = shop.ask("show", shop.made["run_id"], status=2).output
    assert f"run {shop.made['run_id']} (first) is RUNNING: look again when it has ended" in output


def test_a_run_that_failed_before_its_evaluation_says_where_was_looked(shop: Shop):
    shop.made["state"] = "FAILED"
    shutil.rmtree(shop.folder(shop.made) / "evaluate")
    output = shop.ask("show", shop.made["run_id"], status=2).output
    assert f"ended as FAILED and has no results under {shop.store}" in output


def test_an_unknown_run_and_a_missing_store_are_named(shop: Shop):
    assert "the server does not know this (404)" in shop.ask("show", "nothing", status=2).output
    output = command("show", "--host", shop.server.host, "nothing", "--no-browser", status=2).output
    assert "nothing: no folder here; to read it from" in output
    assert "add --artifacts" in output


def test_a_store_that_cannot_be_read_from_here_is_named(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    output = command("runs", "--host", shop.server.host, "--artifacts", "nosuch://bucket", status=2).output
    assert "--artifacts nosuch://bucket: cannot be read from here" in output

    def refuse(*_: object) -> None:
        raise RuntimeError("Unable to locate credentials")

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.glob", refuse)
    output = shop.ask("show", shop.made["run_id"], status=2).output
    assert f"--artifacts {shop.store}: cannot be read from here: Unable to locate credentials" in output
