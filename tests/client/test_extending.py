"""docs/extending.md: each of its additions, made of the page's own blocks, works on a tiny catalog."""

import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml
from fusion_classifiers import run_fusion_stage, write_stage
from image_catalog import run_image_stage
from text_catalog import text_products

from components.client.parameters import parse_parameters
from components.data.probabilities import read_classifier, read_classifiers
from components.data.products import write_products
from components.fusion.config import FUSION_KINDS, decision_level_kinds
from components.text.config import TEXT_KINDS
from components.text.run import run_text

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"`([\w/.]+)`(?:, in place of `([^`]+)`)?:\n\n```python\n(.*?)```", re.DOTALL)
RUN_STAGE = """
import sys
from pathlib import Path
from types import SimpleNamespace
from components.lengths.component import lengths

artifacts = {name: SimpleNamespace(path=str(Path(name).resolve())) for name in ("products", "lengths_of")}
report, shown = SimpleNamespace(path="report"), SimpleNamespace(log_metric=print)
lengths.python_func(**artifacts, lengths_metrics=shown, lengths_report=report)
"""


def blocks(folder: str) -> list[tuple[str, str, str]]:
    """Path, what is replaced ("" for a new file) and content of the blocks for files below a folder."""
    return [found for found in BLOCK.findall(PAGE) if found[0].startswith(folder)]


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, package: str) -> None:
    """Lays the page's new module of a package beside the package's own."""
    [(path, _, content)] = blocks(package.replace(".", "/"))
    (folder / Path(path).name).write_text(content, encoding="utf-8")
    kinds: ModuleType = importlib.import_module(package)
    monkeypatch.setattr(kinds, "__path__", [*kinds.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, f"{package}.{Path(path).stem}", raising=False)


def test_a_kind_of_text_classifier_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch, tmp_path, "components.text.kinds")
    config = {"name": "nearest", "kind": "centroid", "temperature": 0.2}
    parse_parameters([f"text_configs={json.dumps([config])}"], {"text_configs": "List[Dict]"})
    write_products(text_products(), tmp_path / "products.parquet")
    outputs: dict[str, Any] = {name: tmp_path / name for name in ("probabilities", "features", "model")}
    inputs = (tmp_path / "products.parquet", TEXT_KINDS.parse(config))
    assert run_text(*inputs, fold=None, seed=0, **outputs).metrics["macro_f1"] > 0.8
    matrices = read_classifier(tmp_path / "probabilities").matrices["final"]
    assert set(matrices) == {"validation", "test"}
    model, products = TEXT_KINDS.load(tmp_path / "model", device=None), text_products()
    predicted = model.predict(products.table.iloc[products.rows("test")]).pred_probs
    np.testing.assert_allclose(predicted, matrices["test"].pred_probs, atol=1e-6)
    assert run_text(*inputs, fold=1, seed=0, **outputs).metrics["macro_f1"] > 0.8


def test_a_backbone_is_no_file(tmp_path: Path):
    [block] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    metrics, classifier, _ = run_image_stage(tmp_path, json.loads(block))
    assert np.isfinite(metrics["final_loss"])
    assert classifier.metadata["config"]["backbone"] == "convnext_atto"


def test_a_kind_of_fusion_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch, tmp_path, "components.fusion.kinds")
    assert "geometric" in decision_level_kinds()
    stage, _ = write_stage(tmp_path)
    metrics = run_fusion_stage(stage, tmp_path, [{"name": "geometric", "kind": "geometric"}])
    [member] = read_classifiers(tmp_path / "members")
    assert member.name == "geometric(text-0, image-0)"
    assert metrics["best_member_macro_f1"] > metrics["best_single_macro_f1"]
    loaded = FUSION_KINDS.load(tmp_path / "fusion-model" / "members" / "00")
    ids = member.matrices["chosen"]["test"].ids
    stacked = np.stack([read_classifier(each).chosen("test", ids) for each in (*stage.text, *stage.image)])
    np.testing.assert_allclose(loaded.predict(stacked), member.chosen("test", ids), atol=1e-6)


def test_a_stage_is_a_folder_a_row_and_a_task(tmp_path: Path):
    for name in ("components", "tests/support"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pipeline.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for path, replaced, content in [
        *blocks("components/lengths"),
        *blocks("components/core"),
        *blocks("pipeline.py"),
    ]:
        add(tmp_path / path, replaced, content)
    (tmp_path / "components" / "lengths" / "__init__.py").touch()
    command = [sys.executable, "pipeline.py", "compile", "--output", "compiled.yaml"]
    assert_done(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True))
    spec, _ = yaml.safe_load_all((tmp_path / "compiled.yaml").read_text(encoding="utf-8"))
    tasks = spec["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    assert tasks["lengths"]["dependentTasks"] == ["preprocess"]
    assert "lengths" in spec["deploymentSpec"]["executors"]["exec-lengths"]["container"]["image"]
    lint = Path(sys.executable).parent / "lint-imports"
    assert_done(subprocess.run([lint, "--no-cache"], cwd=tmp_path, capture_output=True, text=True))
    write_products(text_products(), tmp_path / "products")
    command = [sys.executable, "-c", RUN_STAGE]
    assert_done(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True))
    assert len(json.loads((tmp_path / "lengths_of").read_text())) == 102
    assert "letters a title" in (tmp_path / "report").read_text()


def add(path: Path, replaced: str, content: str) -> None:
    """Writes a new file, or puts the content in the place of what stands in the file once."""
    path.parent.mkdir(exist_ok=True)
    if replaced:
        text = path.read_text(encoding="utf-8")
        assert text.count(replaced) == 1, (path, replaced)
        content = text.replace(replaced, content.rstrip("\n"))
    path.write_text(content, encoding="utf-8")


def assert_done(process: subprocess.CompletedProcess[str]) -> None:
    assert process.returncode == 0, process.stdout + process.stderr
